"""One fold of a comparison: every model is fitted on its training part and predicts its tests, beside its controls."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.arrays import Int
from plurality.data.comparisons import Comparisons
from plurality.data.splits import NewItemsFor
from plurality.errors import InputWarning
from plurality.evaluation import controls
from plurality.evaluation.cost import Cost, metered
from plurality.evaluation.few_shot import Supports
from plurality.models.bradley_terry import BradleyTerry
from plurality.models.family import Spec
from plurality.reward.predictions import prediction_rows
from plurality.reward.reward_model import RewardModel

BASELINE = "bradley_terry"
BASE = "base"  # line of the reward that models start from
TEMPERATURE = "bradley_terry · per-user temperature"
TRAIN = "train"  # the training part among the rows of a fold
BASELINES: dict[str, Spec] = {BASELINE: BradleyTerry(), TEMPERATURE: BradleyTerry(temperature=True)}


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


@dataclass(frozen=True)
class Stood:
    """What stood in a fold: its lines, what they cost, and whose codes further answers would change.

    entries    its line and those of its controls
    cost       of fitting or scoring
    reward     the model before it is adapted to anybody; None: answers change nothing
    users      whom it learned from
    scale      of raw scores
    notes      what a reader of the table must know of it
    """

    entries: list[Entry]
    cost: Cost
    reward: RewardModel | None = None
    users: int = 0
    scale: float | None = None
    notes: tuple[str, ...] = ()


class Scorer(ABC):
    """Something that can stand in the table and is no spec."""

    @abstractmethod
    def stand(self, name: str, fold: "Fold") -> Stood:
        """Its lines on the tests of a fold, fitted on the training part where it can be.

        name    of its line
        fold    the split
        """


@dataclass(frozen=True)
class ModelLines:
    """What a model, or a scorer, does in one fold.

    model       its name
    fit         a row of costs: model, fold, seconds, cpu_seconds, peak_mib, users, scale
    frames      line of the table -> its predictions
    curves      line of the table -> its few-shot curve; empty where none was asked for
    notes       what a reader of the table must know of it
    warnings    what the fit warned of
    """

    model: str
    fit: dict[str, Any]
    frames: dict[str, pl.DataFrame]
    curves: dict[str, pl.DataFrame]
    notes: tuple[str, ...]
    warnings: tuple[Warning | str, ...]


@dataclass(frozen=True)
class Fold:
    """One split and how to fit on it.

    number            of the fold, from 0
    train             comparisons to fit on
    support           comparisons that unseen users are adapted on
    tests             cell -> comparisons, none of them empty
    rows              TRAIN and cell -> rows of these comparisons in all the data
    new_items_for     whom the items are new to on which settings are chosen
    shuffled          whether models with codes are fitted on shuffled users too
    seed, device      of every fit
    supports          what few-shot curves are drawn from; None: no curves
    """

    number: int
    train: Comparisons
    support: Comparisons
    tests: dict[str, Comparisons]
    rows: dict[str, Int]
    new_items_for: NewItemsFor
    shuffled: bool
    seed: int
    device: str
    supports: Supports | None = None

    def lines(self, name: str, model: Spec | Scorer) -> "ModelLines":
        """A model or scorer and its controls, put to the tests. Warnings come back with the rest.

        name     of the model
        model    its settings, or what scores
        """
        with warnings.catch_warnings(record=True) as said:  # another process would keep them to itself
            warnings.simplefilter("always", InputWarning)  # of others as many as the caller's filters let through
            stood = self.stand(name, model) if isinstance(model, Spec) else model.stand(name, self)
            curves = self.curves(stood)
        fit = {"model": name, "fold": self.number, **vars(stood.cost), "users": stood.users, "scale": stood.scale}
        frames = {entry.line: self.predictions(entry) for entry in stood.entries}
        return ModelLines(name, fit, frames, curves, stood.notes, tuple(warning.message for warning in said))

    def stand(self, name: str, spec: Spec) -> Stood:
        """A model fitted and adapted, and its controls.

        name    of the model
        spec    its settings
        """
        with metered() as cost:
            model = self.fitted(spec, self.train)
        entries = self.entries(name, model)
        if self.shuffled and model.head.n_codes and name != TEMPERATURE:
            entries.append(self.on_shuffled_users(name, spec))
        return Stood(entries, cost, model, len(model.user_ids))

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

    def on_shuffled_users(self, name: str, spec: Spec) -> Entry:
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

    def curves(self, stood: Stood) -> dict[str, pl.DataFrame]:
        """Few-shot curves: that of the model's own line as answers come, and those of the others, which none change."""
        if self.supports is None:
            return {}
        curves, reward = {}, stood.reward
        for entry in stood.entries:
            if entry.line.endswith(f" · {controls.POPULATION}") or entry.line == entry.model:
                if entry.line == entry.model and reward is not None and reward.head.n_codes:
                    found = self.supports.adapted(reward)
                else:
                    found = self.supports.flat(entry.log_odds[self.supports.cell])
                curves[entry.line] = found.select(
                    pl.lit(entry.line).alias("model"), pl.lit(entry.control).alias("control"), pl.all()
                )
        return curves

    def predictions(self, entry: Entry) -> pl.DataFrame:
        """Tidy rows: model, control, fold, cell, and those of `prediction_rows`."""
        about = {"model": entry.line, "control": entry.control, "fold": self.number}
        parts = [
            prediction_rows(test, entry.log_odds[cell]).select(
                *[pl.lit(value).alias(name) for name, value in (about | {"cell": cell}).items()], pl.all()
            )
            for cell, test in self.tests.items()
        ]
        return pl.concat(parts)
