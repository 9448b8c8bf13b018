"""Several models and their controls on one split, one table: who predicts whom, seen and unseen, how surely."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.data.comparisons import Comparisons
from plurality.data.splits import NewItemsFor
from plurality.deprecation import renamed
from plurality.errors import InputError, InputWarning
from plurality.evaluation import controls
from plurality.evaluation.comparison_table import Comparison, tabulate
from plurality.evaluation.cost import metered
from plurality.io.progress import stages
from plurality.models.bradley_terry import BradleyTerry
from plurality.models.family import Spec
from plurality.reward.predictions import prediction_rows
from plurality.reward.reward_model import RewardModel
from plurality.reward.tensors import check_device

__all__ = ["compare"]

BASELINE = "bradley_terry"
TEMPERATURE = "bradley_terry · per-user temperature"


@dataclass(frozen=True)
class Entry:
    """One line of the table: a model, or a control of it."""

    line: str
    model: str
    log_odds: dict[str, NDArray[np.float64]]  # cell -> (N,)

    @property
    def control(self) -> bool:
        """Whether the line is there for others to beat."""
        return self.line != self.model or self.line == TEMPERATURE


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
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> Comparison:
    """Fit every model on one training part, adapt to unseen users' supports, and score four cells.

    Cells are {seen, unseen} user × {seen, unseen} `split` unit ("prompt", "group", "item", "row"). Bradley–Terry and
    Bradley–Terry with a per-user temperature always take part; every model with codes brings its controls: the
    population's code for all users, another user's code, and (`shuffled`) the same model fitted on shuffled users.
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
    fits: list[dict[str, Any]] = []
    by_fold: list[dict[str, tuple[str, pl.DataFrame]]] = []
    with stages("compare", folds * len(specs) * (1 + shuffled), show=progress) as bar:
        for fold in range(folds):
            cells = data.cells(split, test_size, unseen_users, support, seed, fold=fold)
            new_items_for: NewItemsFor = "user" if split in ("item", "row") else "anybody"
            tests = {k: v for k, v in cells.tests.items() if len(v)}
            job = _Job(cells.train, cells.support, tests, new_items_for, seed, device)
            for name, spec in list(specs.items()) if fold == 0 else []:
                try:  # whoever cannot work on the data says so before the first long fit
                    spec.ready(job.train)
                except InputError as reason:
                    if not leave_out:
                        raise
                    left_out[name] = str(reason)
                    del specs[name]
            by_fold.append({})
            for name, spec in specs.items():
                bar(name)
                with metered() as cost:
                    model = job.fitted(spec, job.train)
                fits.append({"model": name, "fold": fold, **vars(cost), "users": len(model.user_ids)})
                entries = job.entries(name, model)
                if shuffled and model.head.n_codes and name != TEMPERATURE:
                    bar(f"{name}, shuffled users")
                    entries.append(job.shuffled(name, spec))
                by_fold[-1] |= {entry.line: (name, job.predictions(entry, fold)) for entry in entries}
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
    return Comparison(table, gains, predictions, pl.DataFrame(fits), about)


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
    baselines: dict[str, Spec] = {BASELINE: BradleyTerry(), TEMPERATURE: BradleyTerry(temperature=True)}
    for name in baselines.keys() & named.keys():
        if named[name] != baselines[name]:
            raise InputError(
                f"compare: {name!r} is the baseline {baselines[name]!r}; give {named[name]!r} under another name, "
                "in a mapping of names to specs"
            )
    return {**baselines, **named}


@dataclass(frozen=True)
class _Job:
    """One split and how to fit on it."""

    train: Comparisons
    support: Comparisons
    tests: dict[str, Comparisons]
    new_items_for: NewItemsFor
    seed: int
    device: str

    def fitted(self, spec: Spec, train: Comparisons) -> RewardModel:
        return spec.fit(train, seed=self.seed, new_items_for=self.new_items_for, device=self.device, diagnostics=False)

    def entries(self, name: str, model: RewardModel) -> list[Entry]:
        """The model under users' own codes and, where it has codes, under the population's and another user's."""
        known = self._adapted(model, self.support)
        lines = [Entry(name, name, self._log_odds(known))]
        if model.head.n_codes and name != TEMPERATURE:
            for label, beliefs in (
                (controls.POPULATION, lambda test: controls.population_beliefs(known, test)),
                (controls.ANOTHER, lambda test: controls.another_users_beliefs(known, test, self.seed)),
            ):
                odds = {cell: known.log_odds(test, beliefs=beliefs(test)) for cell, test in self.tests.items()}
                lines.append(Entry(f"{name} · {label}", name, odds))
        return lines

    def shuffled(self, name: str, spec: Spec) -> Entry:
        """The model fitted and adapted on comparisons dealt out to users at random."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # that it finds nothing personal there is the point
            model = self.fitted(spec, controls.shuffled_users(self.train, self.seed))
        model = self._adapted(model, controls.shuffled_users(self.support, self.seed))
        return Entry(f"{name} · {controls.SHUFFLED}", name, self._log_odds(model))

    def _adapted(self, model: RewardModel, support: Comparisons) -> RewardModel:
        """The model that also knows the users, or units, of the support it did not know."""
        if not len(support) or not model.head.n_codes:
            return model
        new = model.unknown_users(support)
        return model.adapt(new) if len(new) else model

    def _log_odds(self, model: RewardModel) -> dict[str, NDArray[np.float64]]:
        return {cell: model.log_odds(test, unknown="population") for cell, test in self.tests.items()}

    def predictions(self, entry: Entry, fold: int) -> pl.DataFrame:
        """Tidy rows: model, control, fold, cell, and those of `prediction_rows`."""
        about = {"model": entry.line, "control": entry.control, "fold": fold}
        parts = [
            prediction_rows(test, entry.log_odds[cell]).select(
                *[pl.lit(value).alias(name) for name, value in (about | {"cell": cell}).items()], pl.all()
            )
            for cell, test in self.tests.items()
        ]
        return pl.concat(parts)
