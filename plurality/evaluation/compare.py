"""Several models and their controls on one split, one table: who predicts whom, seen and unseen, how surely."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import polars as pl
from sklearn.utils.parallel import Parallel, delayed

from plurality.data.comparisons import Comparisons
from plurality.data.splits import NewItemsFor
from plurality.deprecation import renamed
from plurality.errors import InputError
from plurality.evaluation.comparison_table import Comparison, tabulate
from plurality.evaluation.fold import BASELINE, BASELINES, Fold, ModelLines
from plurality.io.progress import Bar, stages
from plurality.models.family import Spec
from plurality.reward.reward_model import RewardModel
from plurality.reward.tensors import check_device

__all__ = ["compare"]


@renamed(test="test_size", draws="n_bootstrap")
def compare(  # noqa: PLR0913 - each argument is a decision of the protocol
    data: Comparisons,
    models: Mapping[str, Spec] | Sequence[Spec] | None = None,
    *,
    split: str = "prompt",
    test_size: float = 0.2,
    unseen_users: float = 0.2,
    support: int = 20,
    folds: int = 1,
    shuffled: bool = True,
    leave_out: bool = False,
    n_bootstrap: int = 1000,
    n_jobs: int = 1,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> Comparison:
    """Fit every model on one training part, adapt to unseen users' supports, and score four cells.

    Cells are {seen, unseen} user × {seen, unseen} `split` unit ("prompt", "group", "item", "row", "time").
    Bradley–Terry and Bradley–Terry with a per-user temperature always take part; every model with codes brings its
    controls: the population's code for all users, another user's, and (`shuffled`) itself fitted on shuffled users.
    `folds` > 1 repeats on disjoint test parts and pools the predictions. A model that cannot work on the data is an
    error before anything is fitted; with `leave_out` it is left out, and why is said below the table. With
    split="item", settings are chosen on items new to the user, as they are judged; otherwise on items new to all users.
    Raises InputError for an empty split or a model that cannot use the data.

    data            comparisons
    models          specs, or name -> spec; they must be given
    test_size       share of each test part, in (0, 1)
    unseen_users    share of users held out
    support         comparisons of each unseen user to infer a code from
    n_bootstrap     resamples of users behind the intervals
    n_jobs          models that are fitted side by side, each in a process of its own; -1 for one a core
    seed            of the split, the fits and the resamples
    device          where torch computes, such as "cpu" or "cuda"
    progress        show a progress bar; off by default

    >>> import plurality as pl8
    >>> from plurality.datasets.simulated.populations import taste_groups
    >>> population, _ = taste_groups(n_users=20, shares=(0.5, 0.5), width=4)  # two opposed tastes
    >>> data = population.sample(40, seed=0).data
    >>> found = pl8.compare(data, [pl8.LowRank(rank=1)], split="row", support=5, shuffled=False, n_bootstrap=20)
    >>> gain = found.gains.filter(cell="seen user, unseen row", metric="accuracy")["gain"][0]
    >>> gain > 0.1  # own codes over the population's
    True
    """
    check_device(device)
    specs, left_out = _with_baselines(models), {}
    if 0 < test_size < 1 and not 1 <= folds <= round(1 / test_size):  # said before the first of them is fitted
        raise InputError(
            f"compare: folds={folds}, but a test share of {test_size} has 1 to {round(1 / test_size)}; change either"
        )
    parts = []
    for number in range(folds):
        cells = data.cells(split, test_size, unseen_users, support, seed, fold=number)
        tests = {k: v for k, v in cells.tests.items() if len(v)}
        new_items_for: NewItemsFor = "user" if split in ("item", "row") else "anybody"
        parts.append(Fold(number, cells.train, cells.support, tests, new_items_for, shuffled, seed, device))
    for name, spec in list(specs.items()):
        try:  # whoever cannot work on the data says so before the first long fit
            spec.ready(parts[0].train)
        except InputError as reason:
            if not leave_out:
                raise
            left_out[name] = str(reason)
            del specs[name]
    with stages("compare", folds * len(specs), show=progress) as bar:
        found = list(_side_by_side(parts, specs, n_jobs, bar))
    by_fold: list[dict[str, tuple[str, pl.DataFrame]]] = [{} for _ in parts]
    for lines in found:
        by_fold[lines.fit["fold"]] |= {line: (lines.model, frame) for line, frame in lines.frames.items()}
    for message in {str(said): said for lines in found for said in lines.warnings}.values():  # each of them once
        warnings.warn(message, stacklevel=3)
    predictions = pl.concat(_same_lines(by_fold))
    about = {
        "split": split,
        "test": test_size,
        "unseen_users": unseen_users,
        "support": support,
        "folds": folds,
        "seed": seed,
        "draws": n_bootstrap,
        "source": data.source,
        "comparisons": len(data),
        "users": len(data.present),
        "models": {name: repr(spec) for name, spec in specs.items()},
        "left_out": left_out,
    }
    table, gains = tabulate(predictions, baseline=BASELINE, n_bootstrap=n_bootstrap, seed=seed)
    return Comparison(table, gains, predictions, pl.DataFrame([lines.fit for lines in found]), about)


def _side_by_side(parts: Sequence[Fold], specs: Mapping[str, Spec], n_jobs: int, bar: Bar) -> Iterator[ModelLines]:
    def work() -> Iterator[Any]:
        for fold in parts:
            for name, spec in specs.items():
                bar(name)
                yield delayed(Fold.lines)(fold, name, spec)

    try:  # large arrays are shared through files; nothing is handed out before somebody is there to take it
        yield from Parallel(n_jobs=n_jobs, pre_dispatch="n_jobs", return_as="generator")(work())
    except BrokenProcessPool as error:
        raise InputError(
            f"compare: n_jobs={n_jobs}: a process could not take its work over, or was ended for want of memory "
            f"({str(error).splitlines()[0]}); give n_jobs=1"
        ) from error


def _same_lines(by_fold: Sequence[Mapping[str, tuple[str, pl.DataFrame]]]) -> list[pl.DataFrame]:
    """Frames of all folds with the same lines in each.

    A model that chose one reward for all users in some folds alone is its own control in those.
    """
    models = {line: model for fold in by_fold for line, (model, _) in fold.items()}
    return [
        fold[line][1] if line in fold else fold[model][1].with_columns(model=pl.lit(line), control=pl.lit(True))
        for fold in by_fold
        for line, model in models.items()
    ]


def _with_baselines(models: Mapping[str, Spec] | Sequence[Spec] | None) -> dict[str, Spec]:
    if models is None or isinstance(models, str | Spec | RewardModel):
        raise InputError(f"compare: models={models!r:.80} is not a list of specs; give one, such as [LowRank(rank=2)]")
    for model in models.values() if isinstance(models, Mapping) else models:
        if isinstance(model, str):
            raise InputError(f"compare: {model!r} is a name; give the family's spec, such as LowRank(rank=2)")
        if isinstance(model, RewardModel):
            raise InputError(f"compare: {model!r} is fitted already, perhaps on what it is tested on; give its spec")
        if not isinstance(model, Spec):
            raise InputError(f"compare: {model!r:.80} is not a spec; give an object such as LowRank(rank=2)")
    named = dict(models) if isinstance(models, Mapping) else {}
    if not isinstance(models, Mapping):
        for spec in models:
            if spec.name in named:
                raise InputError(f"compare: two models are called {spec.name}; give a mapping of names to specs")
            named[spec.name] = spec
    for name in BASELINES.keys() & named.keys():
        if named[name] != BASELINES[name]:
            raise InputError(
                f"compare: {name!r} is the baseline {BASELINES[name]!r}; give {named[name]!r} under another name, "
                "in a mapping of names to specs"
            )
    return {**BASELINES, **named}
