"""Models fitted one after the other or in processes of their own, for as long as there is time."""

import time
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from sklearn.utils.parallel import Parallel, delayed

from plurality.errors import InputError
from plurality.evaluation.fold import Fold, ModelLines, Scorer
from plurality.io.experiment_log import note
from plurality.io.progress import Bar
from plurality.models.family import Spec


def side_by_side(
    parts: Sequence[Fold],
    models: Mapping[str, Spec | Scorer],
    n_jobs: int,
    bar: Bar,
    time_limit: float | None,
    always: Container[str],
) -> Iterator[ModelLines]:
    """What each model does in each fold, as it is done.

    parts         folds
    models        by name
    n_jobs        processes
    bar           is told what begins
    time_limit    seconds after which nothing further begins; None: no limit
    always        names that stand in the first fold whatever the time
    """
    start = time.monotonic()

    def in_time(fold: Fold, name: str) -> bool:
        first = fold is parts[0] and name in always
        return first or time_limit is None or time.monotonic() - start < time_limit

    def work() -> Iterator[Any]:
        for fold in parts:
            for name, model in models.items():
                if in_time(fold, name):
                    bar(name)
                    yield delayed(Fold.lines)(fold, name, model)

    try:  # large arrays are shared through files; nothing is handed out before somebody is there to take it
        for lines in Parallel(n_jobs=n_jobs, pre_dispatch="n_jobs", return_as="generator")(work()):
            note({"model": lines.model, "fold": lines.fit["fold"], "seconds": lines.fit["seconds"]})
            yield lines
    except BrokenProcessPool as error:
        raise InputError(
            f"compare: n_jobs={n_jobs}: a process could not take its work over, or was ended for want of memory "
            f"({str(error).splitlines()[0]}); give n_jobs=1"
        ) from error


def whole_folds(found: Sequence[ModelLines], names: Sequence[str]) -> tuple[list[ModelLines], list[str]]:
    """What was found in folds that all models went through, or else in the first, and who is missing there.

    found    in the order of folds
    names    of all models
    """
    by_fold: dict[int, list[ModelLines]] = {}
    for lines in found:
        by_fold.setdefault(lines.fit["fold"], []).append(lines)
    whole = [lines for part in by_fold.values() if len(part) == len(names) for lines in part]
    kept = whole or next(iter(by_fold.values()))
    there = {lines.model for lines in kept}
    return kept, [name for name in names if name not in there]
