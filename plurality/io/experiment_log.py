"""What a fit reports while it runs, to a callable or to an experiment tracker that is installed.

A report is a step, from 0, and values by name: of a fit its stage with weight decay, training loss and held-out nats.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from itertools import count

from plurality.errors import InputError

Values = Mapping[str, float | str]
Log = Callable[[int, Values], None]
TRACKERS = ("trackio", "wandb", "mlflow")
PROJECT = "plurality"
_listener: ContextVar[Callable[[Values], None] | None] = ContextVar("listener", default=None)


@contextmanager
def logged(log: Log | str | None) -> Iterator[None]:
    """Within, what is noted goes to `log` and nobody else; None leaves things as they are.

    log    called with a step and values; or the name of a tracker that is installed: "trackio" and "wandb" start a run
           in the project "plurality", "mlflow" logs to the active run or starts one

    Raises InputError for another name and for a tracker that is not installed.
    """
    if log is None:
        yield
        return
    with _opened(log) as write:
        steps = count()
        token = _listener.set(lambda values: write(next(steps), values))
        try:
            yield
        finally:
            _listener.reset(token)


def note(values: Values) -> None:
    """Report values to whoever listens; numbers that are not finite are left out.

    values    by name
    """
    listener = _listener.get()
    if listener is not None:
        listener({k: v for k, v in values.items() if isinstance(v, str) or math.isfinite(v)})


@contextmanager
def _opened(log: Log | str) -> Iterator[Log]:
    if not isinstance(log, str):
        yield log
        return
    if log not in TRACKERS:
        raise InputError(f"log={log!r} is no tracker; give one of {', '.join(TRACKERS)}, or a callable(step, values)")
    try:
        with _run_of(log) as write:
            yield write
    except ModuleNotFoundError as error:
        if error.name != log:
            raise
        raise InputError(f"log={log!r}: {log} is not installed; run pip install {log}, or give a callable") from None


@contextmanager
def _run_of(tracker: str) -> Iterator[Log]:
    """A run of a tracker, imported here alone."""
    if tracker == "mlflow":
        import mlflow

        with mlflow.start_run(run_name=PROJECT, nested=mlflow.active_run() is not None):
            yield lambda step, values: mlflow.log_metrics(_numbers(values), step=step)
        return
    if tracker == "wandb":
        import wandb

        run = wandb.init(project=PROJECT)
        try:
            yield lambda step, values: run.log(dict(values), step=step)
        finally:
            run.finish()
        return
    import trackio

    with redirect_stdout(sys.stderr):  # what it says is no result
        trackio.init(project=PROJECT)
    try:
        yield lambda step, values: trackio.log(dict(values), step=step)
    finally:
        with redirect_stdout(sys.stderr):
            trackio.finish()


def _numbers(values: Values) -> dict[str, float]:
    return {k: float(v) for k, v in values.items() if not isinstance(v, str)}
