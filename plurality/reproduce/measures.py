"""What a recipe measures of a model fitted to a planted population, and the same of the planted truth."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_rand_score

from plurality.analyses.calibration.calibration import ece
from plurality.data.comparisons import Comparisons
from plurality.datasets.simulated import demographics as planted_people
from plurality.datasets.simulated import low_rank as planted_rank
from plurality.datasets.simulated import populations as planted
from plurality.datasets.simulated import sources as planted_sources
from plurality.datasets.simulated import two_modes as planted_modes
from plurality.errors import InputError
from plurality.models import spec_class
from plurality.models.bradley_terry import BradleyTerry
from plurality.models.family import Spec
from plurality.models.more import MORE
from plurality.reward.links import nll
from plurality.reward.reward_model import RewardModel

POPULATIONS: dict[str, Callable[..., tuple[planted.Population, planted.Population]]] = {
    "pal": planted.pal,
    "low_rank": planted.low_rank,
    "taste_groups": planted.taste_groups,
    "careless": planted.careless,
    "objectives": planted.objectives,
    "signed": planted_rank.signed,
    "simplex": planted_rank.simplex,
    "deviations": planted_rank.deviations,
    "sources": planted_sources.sources,
    "two_modes": planted_modes.two_modes,
    "people": planted_people.people,
}


@dataclass(frozen=True)
class Measured:
    """A number, the same of the planted truth (NaN where there is none), and which way is better."""

    value: float
    truth: float = math.nan
    better: str = "more"


@dataclass(frozen=True)
class RecipeRun:
    """A spec, the planted users it is fitted to and judged on, and others it has never seen."""

    spec: Spec
    seed: int
    seen: planted.Population
    new: planted.Population
    each: int
    supports: int

    @staticmethod
    def of(model: str, case: dict[str, Any], seed: int) -> "RecipeRun":
        """A case of recipe.toml: name, population, planted, settings, and comparisons a user and supports if others."""
        given, settings = ({k: _tuples(v) for k, v in case[part].items()} for part in ("planted", "settings"))
        if case["population"] not in POPULATIONS:
            raise InputError(f"population {case['population']!r} is unknown; choose one of {', '.join(POPULATIONS)}")
        try:
            seen, new = POPULATIONS[case["population"]](seed=seed, **given)
            spec = spec_class(model)(**settings)
        except (TypeError, AttributeError) as error:
            what = f"case {case['name']!r} has a setting that there is not, or of another type ({error})"
            raise InputError(f"{what}; correct the recipe") from None
        return RecipeRun(spec, seed, seen, new, case.get("comparisons", 100), case.get("supports", 20))

    @cached_property
    def train(self) -> planted.Sample:
        return self.seen.sample(self.each, seed=self.seed + 1)

    @cached_property
    def test(self) -> planted.Sample:
        return self.seen.sample(100, seed=self.seed + 2)

    @cached_property
    def support(self) -> planted.Sample:
        return self.new.sample(self.supports, seed=self.seed + 3)

    @cached_property
    def query(self) -> planted.Sample:
        return self.new.sample(100, seed=self.seed + 4)

    @cached_property
    def model(self) -> RewardModel:
        return self.spec.fit(self.train.data, seed=self.seed)

    def adapted(self, n: int) -> RewardModel:
        """The model after n supports of every unseen user."""
        data = self.support.data
        return self.model.adapt(data.take(np.arange(len(data)) % self.supports < n)) if n else self.model


def accuracy(log_odds: np.ndarray, data: Comparisons) -> float:
    """Share of labels on the likelier side."""
    return float(np.mean((log_odds > 0) == (data.label > 0.5)))


def log_loss(log_odds: np.ndarray, data: Comparisons) -> float:
    """Mean nats a comparison."""
    return float(nll(torch.as_tensor(log_odds), torch.as_tensor(data.label)).mean())


def seen(run: RecipeRun) -> Measured:
    """Accuracy on new items of the users fitted to."""
    return Measured(accuracy(run.model.log_odds(run.test.data), run.test.data), run.test.accuracy())


def unseen(run: RecipeRun, n: int | None = None) -> Measured:
    """Accuracy on unseen users after n supports, all of them by default."""
    odds = run.adapted(run.supports if n is None else n).log_odds(run.query.data, unknown="population")
    return Measured(accuracy(odds, run.query.data), run.query.accuracy())


def against_ideal(run: RecipeRun, n: int) -> Measured:
    """Accuracy on unseen users after n supports, and the ideal observer's, who knows the groups but not whose."""
    odds = run.adapted(n).log_odds(run.query.data, unknown="population")
    ideal = planted_modes.ideal_observer(run.new, run.support, run.query, n)
    return Measured(accuracy(odds, run.query.data), accuracy(ideal, run.query.data))


def nats_against_ideal(run: RecipeRun, n: int) -> Measured:
    """The same in nats a comparison."""
    odds = run.adapted(n).log_odds(run.query.data, unknown="population")
    ideal = planted_modes.ideal_observer(run.new, run.support, run.query, n)
    return Measured(log_loss(odds, run.query.data), log_loss(ideal, run.query.data), "less")


def by_demographics(run: RecipeRun) -> Measured:
    """Accuracy on unseen users from demographics alone, and that of the planted means given the same."""
    odds = run.model.log_odds(run.query.data, unknown="population")
    return Measured(accuracy(odds, run.query.data), accuracy(planted_people.told(run.new, run.query), run.query.data))


def demographics_help(run: RecipeRun) -> Measured:
    """Lower end of the interval of what demographics gain over the population, nats a comparison of users held out."""
    lo = run.model.report["demographics"]["lo"]
    return Measured(math.nan if lo is None else float(lo), 0.0)


def clusters(run: RecipeRun) -> Measured:
    """Adjusted Rand index of users' likeliest component and the planted group."""
    found = run.model.posterior.codes.argmax(1).numpy()
    group = run.seen.group[run.train.data.present]
    return Measured(float(adjusted_rand_score(group, found)), 1.0)


def minority(run: RecipeRun) -> Measured:
    """Accuracy on new items of the smallest planted group."""
    return _of_minority(run, run.model)


def minority_pooled(run: RecipeRun) -> Measured:
    """The same of one pooled Bradley–Terry reward, which a minority should not have to live with."""
    found = _of_minority(run, BradleyTerry().fit(run.train.data, seed=run.seed))
    return Measured(found.value, found.truth, "less")


def _of_minority(run: RecipeRun, model: RewardModel) -> Measured:
    data, smallest = run.test.data, np.bincount(run.seen.group).argmin()
    mine = run.seen.group[data.user] == smallest
    truth = np.mean((run.test.gap[mine] > 0) == (data.label[mine] > 0.5))
    return Measured(accuracy(model.log_odds(data)[mine], data.take(mine)), float(truth))


def reliabilities(run: RecipeRun) -> Measured:
    """Rank correlation of users' reliabilities with the planted ones."""
    flip = run.seen.flip[run.train.data.present]
    return Measured(float(spearmanr(run.model.users["reliability"], -flip).statistic), 1.0)


def flip_rate(run: RecipeRun) -> Measured:
    """Share of flipped labels, over all users, as the model reports it."""
    return Measured(float(run.model.report["flip_rate"]), float(run.seen.flip.mean()), "same")


def calibration(run: RecipeRun) -> Measured:
    """Mean over planted groups of the symmetrised calibration error, and the same of the plain mixture of sources."""
    if not isinstance(run.spec, MORE):
        raise InputError(f"calibration by source is a measure of more, not of {run.spec.name}")
    plain = replace(run.spec, balance="plain").fit(run.train.data, seed=run.seed)
    return Measured(_ece_by_group(run, run.model), _ece_by_group(run, plain), "less")


def _ece_by_group(run: RecipeRun, model: RewardModel) -> float:
    data = run.test.data
    p, group = model.prefer(data), run.seen.group[data.user]
    return float(
        np.mean(
            [ece(p[group == k], data.label[group == k], orientation="symmetrised", bins=10) for k in np.unique(group)]
        )
    )


def pooled_accuracy(run: RecipeRun) -> Measured:
    """Accuracy on new items, and a pooled Bradley–Terry's, which no reward without users can pass by much."""
    data = run.test.data
    pooled = BradleyTerry().fit(run.train.data, seed=run.seed)
    return Measured(accuracy(run.model.log_odds(data), data), accuracy(pooled.log_odds(data), data), "same")


MEASURES: dict[str, Callable[[RecipeRun], Measured]] = {
    "seen": seen,
    "unseen": unseen,
    "by demographics alone": by_demographics,
    "demographics help": demographics_help,
    "clusters": clusters,
    "minority": minority,
    "minority, pooled": minority_pooled,
    "reliabilities": reliabilities,
    "flip rate": flip_rate,
    "calibration by source": calibration,
    "as a pooled reward": pooled_accuracy,
}


AFTER: dict[str, Callable[[RecipeRun, int], Measured]] = {
    "unseen": unseen,
    "ideal observer": against_ideal,
    "nats of the ideal observer": nats_against_ideal,
}


def measure(name: str, run: RecipeRun) -> Measured:
    """A measure by name, "unseen@4" being "unseen" after 4 supports. Raises InputError for an unknown one."""
    base, at, n = name.partition("@")
    if at and base in AFTER:
        return AFTER[base](run, int(n))
    if name not in MEASURES:
        known = [*MEASURES, *(f"{name}@N" for name in AFTER)]
        raise InputError(f"measure {name!r} is unknown; choose one of {', '.join(known)}")
    return MEASURES[name](run)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
