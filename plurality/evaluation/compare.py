"""Several models and their controls on one split, one table: who predicts whom, seen and unseen, how surely."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import polars as pl

from plurality.argument_kinds import check_kinds
from plurality.arrays import Int
from plurality.data.comparisons import Comparisons
from plurality.data.splits import NewItemsFor
from plurality.deprecation import renamed
from plurality.errors import InputError, InputWarning, check_whole
from plurality.evaluation.answers import tabulate_answers
from plurality.evaluation.comparison_table import POPULATION, Comparison, tabulate
from plurality.evaluation.few_shot import Supports, curve_table, sizes_of
from plurality.evaluation.fold import BASE, BASELINE, BASELINES, TRAIN, Fold, ModelLines
from plurality.evaluation.harm import harmed_table
from plurality.evaluation.scorers import scorers_of
from plurality.evaluation.side_by_side import side_by_side, whole_folds
from plurality.io.experiment_log import Log, logged, note
from plurality.io.progress import stages
from plurality.models.family import Spec
from plurality.reward.reward_model import RewardModel
from plurality.reward.tensors import check_device

__all__ = ["compare"]

ROW = "\x1frow"  # attribute that says which row of all the data one of a part is


@renamed(test="test_size", draws="n_bootstrap")
def compare(  # noqa: PLR0913 - each argument is a decision of the protocol
    data: Comparisons,
    models: Mapping[str, Spec] | Sequence[Spec] | None = None,
    *,
    scorers: Mapping[str, Any] | None = None,
    split: str = "prompt",
    test_size: float = 0.2,
    unseen_users: float = 0.2,
    support: int | Sequence[int] = 20,
    support_draws: int = 20,
    folds: int = 1,
    shuffled: bool = True,
    leave_out: bool = False,
    n_bootstrap: int = 1000,
    n_jobs: int = 1,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
    time_limit: float | None = None,
    log: Log | str | None = None,
) -> Comparison:
    """Fit every model on one training part, adapt to unseen users' supports, and score four cells.

    Cells are {seen, unseen} user × {seen, unseen} `split` unit ("prompt", "group", "item", "row", "time").
    Comparisons with base scores have them as a line, "base", which all others start from and are compared with.
    Bradley–Terry and Bradley–Terry with a per-user temperature always take part; every model with codes brings its
    controls: the population's code for all users, another user's, and (`shuffled`) itself fitted on shuffled users.
    `folds` > 1 repeats on disjoint test parts and pools the predictions. A model that cannot work on the data is an
    error before anything is fitted; with `leave_out` it is left out, and why is said below the table. With
    split="item", settings are chosen on items new to the user, as they are judged; otherwise on items new to all users.
    Raises InputError for an empty split or a model that cannot use the data.

    `scorers` are whatever else is to stand in the table, by name: raw scores, which get one scale a ≥ 0 fitted on the
    training part, P = σ(a (b₁ − b₂)); they may be (M,) scores of `data.items`, (N, 2) scores of both sides of each
    comparison, a polars frame with prompt, completion and score, or a function that is called with prompts= and
    completions= as TRL calls it. Or a classifier of scikit-learn, fitted to differences of embeddings in both orders
    and read in both; a `RewardModel` that is fitted already, which may have seen the tests; an object with
    `prefer(data)`, fitted on the training part if it has `fit(data)`. What is to be known of each is said below the
    table.
    With several sizes as `support`, few-shot curves (`Comparison.curves`) of unseen users on new units: the same people
    and rows at every size; who has fewer answers gives all of them. Cells then have the largest.

    data            comparisons
    models          specs, or name -> spec; they must be given
    scorers         name -> what scores
    test_size       share of each test part, in (0, 1)
    unseen_users    share of users held out
    support         comparisons of each unseen user to infer a code from; several sizes give curves
    support_draws   random orders of each unseen user's answers behind the curves
    n_bootstrap     resamples of users behind the intervals
    n_jobs          models that are fitted side by side, each in a process of its own; -1 for one a core
    seed            of the split, the fits and the resamples
    device          where torch computes, such as "cpu" or "cuda"
    progress        show a progress bar, with the time left; off by default
    time_limit      seconds after which no further model or fold is begun; what is left out is said; None: no limit
    log             called with a step and values of each stage of a fit (with n_jobs=1), of each model that is done and
                    of the table;
                    or the name of an installed tracker, "trackio", "wandb" or "mlflow"; None: nobody

    >>> import plurality as pl8
    >>> from plurality.datasets.simulated.populations import taste_groups
    >>> population, _ = taste_groups(n_users=20, shares=(0.5, 0.5), width=4)  # two opposed tastes
    >>> data = population.sample(40, seed=0).data
    >>> found = pl8.compare(data, [pl8.LowRank(rank=1)], split="row", support=5, shuffled=False, n_bootstrap=20)
    >>> gain = found.gains.filter(cell="seen user, unseen row", metric="accuracy")["gain"][0]
    >>> gain > 0.1  # own codes over the population's
    True
    """
    asked = {"split": split, "test_size": test_size, "unseen_users": unseen_users, "support_draws": support_draws}
    asked |= {"folds": folds, "shuffled": shuffled, "leave_out": leave_out, "n_bootstrap": n_bootstrap}
    asked |= {"n_jobs": n_jobs, "seed": seed, "device": device, "progress": progress, "time_limit": time_limit}
    check_kinds("compare", compare, asked)
    if not isinstance(data, Comparisons):
        raise InputError(f"compare takes Comparisons, not a {type(data).__name__}; make them by read()")
    check_device(device)
    check_whole("folds", folds)
    check_whole("n_bootstrap", n_bootstrap, 1)
    check_whole("seed", seed)
    if n_jobs == 0:
        raise InputError("compare: n_jobs=0 fits nothing; give 1 or more, or -1 for one a core")
    specs, left_out, sizes = _with_baselines(models), {}, sizes_of(support, support_draws)
    if 0 < test_size < 1 and not 1 <= folds <= round(1 / test_size):  # said before the first of them is fitted
        raise InputError(
            f"compare: folds={folds}, but a test share of {test_size} has 1 to {round(1 / test_size)}; change either"
        )
    standing = scorers_of(_with_base(scorers, data), specs, data)
    baseline = BASELINE if data.base is None else BASE
    most = sizes[-1] if sizes else cast(int, support)
    parts = []
    for number in range(folds):
        cells = _numbered(data).cells(split, test_size, unseen_users, most, seed, fold=number)
        rows = {TRAIN: _rows(cells.train)} | {name: _rows(test) for name, test in cells.tests.items() if len(test)}
        tests = {name: data.take(rows[name]) for name in cells.tests if name in rows}
        supports = _supports(data, tests, split, test_size, unseen_users, sizes, support_draws, seed, number)
        new_items_for: NewItemsFor = "user" if split in ("item", "row") else "anybody"
        train, given = data.take(rows[TRAIN]), data.take(_rows(cells.support))
        parts.append(Fold(number, train, given, tests, rows, new_items_for, shuffled, seed, device, supports))
    for name, spec in list(specs.items()):
        try:  # whoever cannot work on the data says so before the first long fit
            spec.ready(parts[0].train)
        except InputError as reason:
            if not leave_out:
                raise
            left_out[name] = str(reason)
            del specs[name]
    everybody = specs | standing
    always = {BASE, *BASELINES}
    with logged(log):
        with stages("compare", folds * len(everybody), show=progress) as bar:
            found = list(side_by_side(parts, everybody, n_jobs, bar, time_limit, always))
        found, late = whole_folds(found, list(everybody))
        left_out |= dict.fromkeys(late, f"the time limit of {time_limit} s had passed")
        for message in {str(said): said for lines in found for said in lines.warnings}.values():  # each of them once
            warnings.warn(message, stacklevel=3)
        predictions = _same_lines(found, lambda lines: lines.frames)
        notes = {lines.model: "; ".join(lines.notes) for lines in reversed(found) if lines.notes}
        if not any(name.endswith(f", unseen {split}") for part in parts for name in part.tests):
            told = f"no test comparison is of an unseen {split}, so all are of what was trained on"
            notes["split"] = told + ("; try item" if split in ("prompt", "group") else "")
        about = {
            "split": split,
            "test": test_size,
            "unseen_users": unseen_users,
            "support": most,
            "supports": list(sizes),
            "support_draws": support_draws,
            "folds": len({lines.fit["fold"] for lines in found}),
            "seed": seed,
            "draws": n_bootstrap,
            "source": data.source,
            "comparisons": len(data),
            "users": len(data.present),
            "models": {name: repr(spec) for name, spec in specs.items()},
            "scorers": {name: type(scorer).__name__ for name, scorer in standing.items()},
            "left_out": left_out,
            "baseline": baseline,
            "notes": notes,
        }
        drawn = {"n_bootstrap": n_bootstrap, "seed": seed}
        table, gains = tabulate(predictions, baseline=baseline, **drawn)
        fits = pl.DataFrame([lines.fit for lines in found], schema_overrides={"scale": pl.Float64})
        harmed = harmed_table(predictions, population=POPULATION, **drawn)
        curves = pl.DataFrame()
        if sizes:
            curves = _same_lines(found, lambda lines: lines.curves)
            curves = curve_table(curves, baseline=BASELINE, population=POPULATION, **drawn)
        answers = tabulate_answers(predictions, baseline=baseline, **drawn)
        comparison = Comparison(table, gains, predictions, fits, about, harmed, curves, answers)
        note(comparison.headline)
    return comparison


def _with_base(scorers: Mapping[str, Any] | None, data: Comparisons) -> Mapping[str, Any] | None:
    """The scorers and, where all models start from a base reward, that alone."""
    if data.base is None or (scorers is not None and not isinstance(scorers, Mapping)):
        return scorers
    if scorers and BASE in scorers:
        raise InputError(f"compare: {BASE!r} is the base reward of these comparisons; give the scorer another name")
    return {BASE: data.base} | dict(scorers or {})


def _numbered(data: Comparisons) -> Comparisons:
    """The comparisons, each with its row among their attributes, so that parts tell which they are."""
    rows = pl.DataFrame({ROW: np.arange(len(data))})
    return replace(data, attributes=rows if data.attributes is None else data.attributes.hstack(rows))


def _rows(part: Comparisons) -> Int:
    assert part.attributes is not None
    return part.attributes[ROW].to_numpy()


def _supports(
    data: Comparisons,
    tests: Mapping[str, Comparisons],
    split: str,
    test_size: float,
    unseen_users: float,
    sizes: tuple[int, ...],
    draws: int,
    seed: int,
    number: int,
) -> Supports | None:
    if not sizes:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # said of the same split already
        pool = data.cells(split, test_size, unseen_users, len(data), seed, fold=number).support
    cell = f"unseen user, unseen {split}"
    answers = int(np.isin(pool.user, tests[cell].user).sum()) if cell in tests else 0
    if not answers:
        raise InputError(
            f"compare: support={list(sizes)} asks for curves, but no unseen user has both answers and tests where "
            f"{split} is new; split by item, or hold out more users"
        )
    return Supports(sizes, draws, pool, tests[cell], cell, seed)


def _same_lines(found: Sequence[ModelLines], frames: Callable[[ModelLines], dict[str, pl.DataFrame]]) -> pl.DataFrame:
    """Frames of all folds with the same lines in each.

    A model that chose one reward for all users in some folds alone is its own control in those.
    """
    by_fold: dict[int, dict[str, pl.DataFrame]] = {}
    models: dict[str, str] = {}
    for lines in found:
        by_fold.setdefault(lines.fit["fold"], {}).update(frames(lines))
        models |= dict.fromkeys(frames(lines), lines.model)
    return pl.concat(
        fold[line] if line in fold else fold[model].with_columns(model=pl.lit(line), control=pl.lit(True))
        for _, fold in sorted(by_fold.items())
        for line, model in models.items()
    )


def _with_baselines(models: Mapping[str, Spec] | Sequence[Spec] | None) -> dict[str, Spec]:
    if models is None or isinstance(models, str | Spec | RewardModel):
        raise InputError(f"compare: models={models!r:.80} is not a list of specs; give one, such as [LowRank(rank=2)]")
    for model in models.values() if isinstance(models, Mapping) else models:
        if isinstance(model, str):
            raise InputError(f"compare: {model!r} is a name; give the family's spec, such as LowRank(rank=2)")
        if isinstance(model, RewardModel):
            raise InputError(
                f"compare: {model!r} is fitted already, perhaps on what it is tested on; give its spec, "
                "or give it among scorers"
            )
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
