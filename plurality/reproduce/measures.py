"""What a recipe measures of a model fitted to a planted population, and the same of the planted truth."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import log_expit
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
class Trial:
    """A spec, the planted users it is fitted to and judged on, and others it has never seen."""

    spec: Spec
    seed: int
    seen: planted.Population
    new: planted.Population
    each: int
    supports: int

    @staticmethod
    def of(model: str, case: dict[str, Any], seed: int) -> "Trial":
        """A case of recipe.toml: name, population, planted, settings, and comparisons a user and supports if others."""
        given, settings = ({k: _tuples(v) for k, v in case[part].items()} for part in ("planted", "settings"))
        if case["population"] not in POPULATIONS:
            raise InputError(f"population {case['population']!r} is unknown; choose one of {', '.join(POPULATIONS)}")
        seen, new = POPULATIONS[case["population"]](seed=seed, **given)
        return Trial(
            spec_class(model)(**settings), seed, seen, new, case.get("comparisons", 100), case.get("supports", 20)
        )

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
    return float(-np.mean(data.label * log_expit(log_odds) + (1 - data.label) * log_expit(-log_odds)))


def seen(trial: Trial) -> Measured:
    """Accuracy on new items of the users fitted to."""
    return Measured(accuracy(trial.model.log_odds(trial.test.data), trial.test.data), trial.test.accuracy())


def unseen(trial: Trial, n: int | None = None) -> Measured:
    """Accuracy on unseen users after n supports, all of them by default."""
    odds = trial.adapted(trial.supports if n is None else n).log_odds(trial.query.data, unknown="population")
    return Measured(accuracy(odds, trial.query.data), trial.query.accuracy())


def against_ideal(trial: Trial, n: int) -> Measured:
    """Accuracy on unseen users after n supports, and the ideal observer's, who knows the groups but not whose."""
    odds = trial.adapted(n).log_odds(trial.query.data, unknown="population")
    ideal = planted_modes.ideal_observer(trial.new, trial.support, trial.query, n)
    return Measured(accuracy(odds, trial.query.data), accuracy(ideal, trial.query.data))


def nats_against_ideal(trial: Trial, n: int) -> Measured:
    """The same in nats a comparison."""
    odds = trial.adapted(n).log_odds(trial.query.data, unknown="population")
    ideal = planted_modes.ideal_observer(trial.new, trial.support, trial.query, n)
    return Measured(log_loss(odds, trial.query.data), log_loss(ideal, trial.query.data), "less")


def by_demographics(trial: Trial) -> Measured:
    """Accuracy on unseen users from demographics alone, and that of the planted means given the same."""
    odds = trial.model.log_odds(trial.query.data, unknown="population")
    return Measured(
        accuracy(odds, trial.query.data), accuracy(planted_people.told(trial.new, trial.query), trial.query.data)
    )


def demographics_help(trial: Trial) -> Measured:
    """Lower end of the interval of what demographics gain over the population, nats a comparison of users held out."""
    lo = trial.model.report["demographics"]["lo"]
    return Measured(math.nan if lo is None else float(lo), 0.0)


def clusters(trial: Trial) -> Measured:
    """Adjusted Rand index of users' likeliest component and the planted group."""
    found = trial.model.posterior.codes.argmax(1).numpy()
    group = trial.seen.group[trial.train.data.present]
    return Measured(float(adjusted_rand_score(group, found)), 1.0)


def minority(trial: Trial) -> Measured:
    """Accuracy on new items of the smallest planted group."""
    return _of_minority(trial, trial.model)


def minority_pooled(trial: Trial) -> Measured:
    """The same of one pooled Bradley–Terry reward, which a minority should not have to live with."""
    found = _of_minority(trial, BradleyTerry().fit(trial.train.data, seed=trial.seed))
    return Measured(found.value, found.truth, "less")


def _of_minority(trial: Trial, model: RewardModel) -> Measured:
    data, smallest = trial.test.data, np.bincount(trial.seen.group).argmin()
    mine = trial.seen.group[data.user] == smallest
    truth = np.mean((trial.test.gap[mine] > 0) == (data.label[mine] > 0.5))
    return Measured(accuracy(model.log_odds(data)[mine], data.take(mine)), float(truth))


def reliabilities(trial: Trial) -> Measured:
    """Rank correlation of users' reliabilities with the planted ones."""
    flip = trial.seen.flip[trial.train.data.present]
    return Measured(float(spearmanr(trial.model.users["reliability"], -flip).statistic), 1.0)


def flip_rate(trial: Trial) -> Measured:
    """Share of labels turned round, over everybody, as the model reports it."""
    return Measured(float(trial.model.report["flip_rate"]), float(trial.seen.flip.mean()), "same")


def calibration(trial: Trial) -> Measured:
    """Mean over planted groups of the symmetrised calibration error, and the same of the plain mixture of sources."""
    if not isinstance(trial.spec, MORE):
        raise InputError(f"calibration by source is a measure of more, not of {trial.spec.name}")
    plain = replace(trial.spec, balance="plain").fit(trial.train.data, seed=trial.seed)
    return Measured(_ece_by_group(trial, trial.model), _ece_by_group(trial, plain), "less")


def _ece_by_group(trial: Trial, model: RewardModel) -> float:
    data = trial.test.data
    p, group = model.prefer(data), trial.seen.group[data.user]
    return float(
        np.mean(
            [ece(p[group == k], data.label[group == k], orientation="symmetrised", bins=10) for k in np.unique(group)]
        )
    )


def pooled_accuracy(trial: Trial) -> Measured:
    """Accuracy on new items, and a pooled Bradley–Terry's, which no reward without users can pass by much."""
    data = trial.test.data
    pooled = BradleyTerry().fit(trial.train.data, seed=trial.seed)
    return Measured(accuracy(trial.model.log_odds(data), data), accuracy(pooled.log_odds(data), data), "same")


MEASURES: dict[str, Callable[[Trial], Measured]] = {
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


AFTER: dict[str, Callable[[Trial, int], Measured]] = {
    "unseen": unseen,
    "ideal observer": against_ideal,
    "nats of the ideal observer": nats_against_ideal,
}


def measure(name: str, trial: Trial) -> Measured:
    """A measure by name, "unseen@4" being "unseen" after 4 supports. Raises InputError for an unknown one."""
    base, at, n = name.partition("@")
    if at and base in AFTER:
        return AFTER[base](trial, int(n))
    if name not in MEASURES:
        known = [*MEASURES, *(f"{name}@N" for name in AFTER)]
        raise InputError(f"measure {name!r} is unknown; choose one of {', '.join(known)}")
    return MEASURES[name](trial)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
