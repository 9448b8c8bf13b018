"""A progress bar with rate and time left, for whoever watches."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int, int], None]
LINE_EVERY_S = 30.0
SHORT_S = 2.0


@contextmanager
def meter(what: str, texts: int, work: int, shown: bool) -> Iterator[Advance]:
    """Yield `advance(texts, work)`.

    The bar and the time left follow `work` (characters: long texts take longer), the rate counts texts.
    A terminal gets a bar; a log file gets one line every half minute, so a short job leaves none.
    """
    if not shown:
        yield lambda texts, work: None
    elif sys.stderr.isatty():
        with _bar(what, texts, work) as advance:
            yield advance
    else:
        yield _lines(what, texts, work)


@contextmanager
def spinner(what: str, shown: bool) -> Iterator[None]:
    """Say what is going on while it goes on, when its length cannot be foreseen; in a log file a line at its end.

    Work of less than two seconds leaves no line.
    """
    if not shown:
        yield
        return
    if not sys.stderr.isatty():
        start = time.monotonic()
        yield
        elapsed = time.monotonic() - start
        if elapsed >= SHORT_S:
            sys.stderr.write(f"{what}: done, {elapsed:.0f} s\n")
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def _bar(what: str, texts: int, work: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[done]}/{task.fields[texts]} texts, {task.fields[rate]:.0f}/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    start, done = time.monotonic(), 0
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=work, texts=texts, done=0, rate=0.0)

        def advance(more: int, work: int) -> None:
            nonlocal done
            done += more
            rate = done / max(time.monotonic() - start, 1e-9)
            progress.update(task, advance=work, done=done, rate=rate)

        yield advance


def _lines(what: str, texts: int, work: int) -> Advance:
    start = last = time.monotonic()
    done = worked = 0

    def advance(more: int, more_work: int) -> None:
        nonlocal done, worked, last
        done, worked, now = done + more, worked + more_work, time.monotonic()
        if now - last < LINE_EVERY_S:
            return
        last, elapsed = now, now - start
        left = elapsed * (work - worked) / max(worked, 1)
        sys.stderr.write(f"{what}: {done}/{texts} texts, {done / elapsed:.1f}/s, {left:.0f} s left\n")

    return advance
