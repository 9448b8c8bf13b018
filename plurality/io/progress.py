"""Progress of work in stages, on stderr: a bar in a terminal, a line a stage in a log file."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Bar = Callable[[str], None]
"""Call with what comes next; the stage before it is then done."""
SHORT_S = 2.0  # work that is done by then leaves no line in a log file


@contextmanager
def stages(what: str, total: int, *, show: bool) -> Iterator[Bar]:
    """Yield a `Bar` over `total` stages of `what`; silent unless `show`.

    A terminal gets a bar. A log file gets "what: stage, 2/9 done, 12 s" as each stage ends, elapsed seconds since the
    beginning; stages that end within the first two seconds leave none, so that short work is silent.
    """
    if not show:
        yield lambda stage: None
    elif sys.stderr.isatty():
        with _live(what, total) as bar:
            yield bar
    else:
        yield from _lines(what, total)


@contextmanager
def _live(what: str, total: int) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    left = (TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *left, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        started = False

        def bar(stage: str) -> None:
            nonlocal started
            progress.update(task, advance=int(started), description=f"{what}: {stage}")
            started = True

        yield bar


def _lines(what: str, total: int) -> Iterator[Bar]:
    start, done, current = time.monotonic(), 0, ""

    def ended() -> None:
        nonlocal done
        done += 1
        elapsed = time.monotonic() - start
        if elapsed >= SHORT_S:
            sys.stderr.write(f"{what}: {current}, {done}/{max(total, done)} done, {elapsed:.0f} s\n")
            sys.stderr.flush()

    def bar(stage: str) -> None:
        nonlocal current
        if current:
            ended()
        current = stage

    yield bar
    if current:
        ended()
