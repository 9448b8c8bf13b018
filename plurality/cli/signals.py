"""SIGTERM, which batch systems send before they kill, ends a command as Ctrl-C does: what is half-written goes."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(SystemExit):
    """Raised where a SIGTERM finds the program, so that everything that is open is closed on the way out."""


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `Terminated` inside the block; whatever answered it before does so again afterwards."""
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the clearing up
    raise Terminated(128 + number)
