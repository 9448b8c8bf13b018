"""A progress bar for work in stages, on stderr, only for somebody who watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Bar = Callable[[str], None]
"""Call with what comes next; the stage before it is then done."""


@contextmanager
def stages(what: str, total: int, *, show: bool) -> Iterator[Bar]:
    """Yield a `Bar` over `total` stages; silent unless `show` and stderr is a terminal."""
    if not (show and sys.stderr.isatty()):
        yield lambda stage: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        started = False

        def bar(stage: str) -> None:
            nonlocal started
            progress.update(task, advance=int(started), description=f"{what}: {stage}")
            started = True

        yield bar
