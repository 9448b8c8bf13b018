"""The same work on the same tasks, here or on a Ray cluster: the same results in the same order.

Scheduling, retries and machines are Ray Data's. https://docs.ray.io/en/latest/data/transforming-data.html
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from plurality.errors import InputError, InputWarning

__all__ = ["LOCAL", "Engine", "in_order"]

Kind = Literal["local", "ray"]
Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Engine:
    """Where work is done. Raises InputError for another kind.

    kind       "local" here, one task after another; "ray" on the cluster of RAY_ADDRESS, or a local one without it
    workers    actors of "ray"; None: one a GPU of the cluster, or a CPU where it has no GPU
    """

    kind: Kind = "local"
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"engine {self.kind!r} is unknown; choose {' or '.join(map(repr, get_args(Kind)))}")
        if self.workers is not None and (self.kind == "local" or self.workers < 1):
            raise InputError(f"{self.workers} workers are for engine ray, one or more; leave them out")


LOCAL = Engine()


def in_order(work: Callable[[Task], Result], tasks: Iterable[Task], engine: Engine = LOCAL) -> Iterator[Result]:
    """work(task) of every task, in order, as they are done.

    work       what is done, picklable for "ray"; an actor has one copy of it for all of its tasks
    tasks      what it is done to, picklable for "ray"
    engine     where

    Raises InputError where ray is not installed or has no cluster, and what `work` raises of that kind.
    """
    if engine.kind == "ray":
        return _by_ray(work, list(tasks), engine.workers)
    return (work(task) for task in tasks)


@dataclass(frozen=True)
class _Done:
    """What came of a task: its result, or the fault that it has, and what was warned of."""

    result: Any
    fault: str | None
    notes: list[str]


class _Worker:
    """What an actor does: a task in, its result and what was warned of out."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.work = work

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", InputWarning)
            try:
                result, fault = self.work(row["task"]), None
            except InputError as error:  # as a value, which Ray does not wrap or try again
                result, fault = None, str(error)
        notes = [str(note.message) for note in caught if issubclass(note.category, InputWarning)]
        return {"done": _Done(result, fault, notes)}


def _by_ray(work: Callable[[Task], Result], tasks: list[Task], workers: int | None) -> Iterator[Result]:
    ray = _started()
    here = not ray.is_initialized()
    try:
        if here:
            _connect(ray)
        has = ray.cluster_resources()
        gpus = int(has.get("GPU", 0))
        count = min(workers or gpus or int(has.get("CPU", 1)), max(len(tasks), 1))
        options = ray.data.DataContext.get_current()
        options.execution_options.preserve_order = True
        options.enable_progress_bars = False  # there is one already
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = ray.data.from_items([{"task": task} for task in tasks], override_num_blocks=max(len(tasks), 1))
        made = rows.map(
            _Worker,
            fn_constructor_args=(work,),
            compute=ray.data.ActorPoolStrategy(size=count),
            num_gpus=1 if gpus else 0,
            num_cpus=0 if gpus else 1,
        )
        for row in made.iter_rows():
            done: _Done = row["done"]
            for note in done.notes:
                warnings.warn(InputWarning(note), stacklevel=3)
            if done.fault is not None:
                raise InputError(done.fault)
            yield done.result
    finally:
        if here:
            ray.shutdown()


def _started() -> Any:
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError("engine ray needs ray: pip install 'plurality-rm[ray]'") from None
    return ray


def _connect(ray: Any) -> None:
    """Join the cluster of RAY_ADDRESS, or start one here."""
    try:
        ray.init(log_to_driver=False, logging_level="error", include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        cause = " ".join(str(error).split())[:200]
        raise InputError(f"ray has no cluster ({cause}); start one, or mend RAY_ADDRESS") from None
