"""What else can stand in the table of `compare`: scores, fitted rewards, classifiers, objects that fit and prefer.

Scores have no unit, so that a log-loss needs one: a ≥ 0 in P(first ≻ second) = σ(a (b₁ − b₂)), fitted on the training
part. Everything else gives probabilities of its own.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from scipy.special import logit
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from plurality.arrays import Array, Float
from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.evaluation import controls
from plurality.evaluation.cost import Cost, metered
from plurality.evaluation.fold import TRAIN, Entry, Fold, Scorer, Stood
from plurality.evaluation.scores import comparison_scores
from plurality.fitting.base_scale import base_scale
from plurality.models.family import Spec
from plurality.reward.reward_model import RewardModel

__all__ = ["scale_of", "scorers_of"]

SURE = 1e-6  # probabilities are kept this far from 0 and 1, where one mistake is an endless loss


@runtime_checkable
class Prefers(Protocol):
    """Says P(first preferred) of comparisons."""

    def prefer(self, data: Comparisons) -> Any:
        """(N,) probabilities."""


@runtime_checkable
class Fits(Protocol):
    """Learns from comparisons."""

    def fit(self, data: Comparisons) -> Any:
        """Itself, or what it learned."""


@runtime_checkable
class Classifies(Protocol):
    """A classifier as scikit-learn has them."""

    def fit(self, X: Any, y: Any) -> Any:
        """Itself."""

    def predict_proba(self, X: Any) -> Any:
        """(n, classes) probabilities."""


def scorers_of(scorers: Mapping[str, Any] | None, taken: Mapping[str, Spec], data: Comparisons) -> dict[str, Scorer]:
    """Scorers by name, each of what was given; texts are scored here, before anything is fitted.

    scorers    name -> scores, or something that scores; see `compare`
    taken      models whose names are given away
    data       all comparisons

    Raises InputError for what cannot score these comparisons, scores that are missing, not finite or of another number,
    and a name that is taken.
    """
    if scorers is None:
        return {}
    if not isinstance(scorers, Mapping):
        raise InputError(f'compare: scorers={scorers!r:.80} is no mapping; give {{"name": scores}}')
    for name in scorers:
        if not isinstance(name, str) or not name or " · " in name:
            raise InputError(f"compare: the scorer's name {name!r:.80} is not usable; give a word without ' · '")
        if name in taken:
            raise InputError(f"compare: a scorer and a model are both called {name!r}; rename one of them")
    return {name: _scorer(name, value, data) for name, value in scorers.items()}


def _scorer(name: str, value: Any, data: Comparisons) -> Scorer:
    match value:
        case Spec():
            raise InputError(f"compare: the scorer {name!r} is a spec; give it among models, where it is fitted")
        case RewardModel():
            value.check(data)
            return FittedReward(value)
        case type():
            raise InputError(f"compare: the scorer {name!r} is a class; give an object of it, {value.__name__}(…)")
        case Prefers():
            return Learner(value)
        case Classifies():
            if getattr(value, "predict_proba", None) is None:  # of some settings, as of SVC(probability=False)
                raise InputError(f"compare: the scorer {name!r} gives no probabilities; set it so that it does")
            return Classifier(value)
        case torch.nn.Module():
            raise InputError(
                f"compare: the scorer {name!r} is a module; give its scores of data.items, or a spec that fits it"
            )
    with metered() as cost:
        scores = comparison_scores(name, value, data)
    return Scores(scores[:, 0] - scores[:, 1], cost)


@dataclass(frozen=True, eq=False)
class Scores(Scorer):
    """Raw scores, the same for all users.

    gap     (N,) score of the first less that of the second, of every comparison
    cost    of getting them
    """

    gap: Float
    cost: Cost

    def stand(self, name: str, fold: Fold) -> Stood:
        train, rows = fold.train, fold.rows
        with metered() as cost:
            scale = scale_of(self.gap[rows[TRAIN]], train)
        cost.seconds, cost.cpu_seconds = cost.seconds + self.cost.seconds, cost.cpu_seconds + self.cost.cpu_seconds
        cost.peak_mib = max(cost.peak_mib, self.cost.peak_mib)
        note = "raw scores, times a scale of 0 or more that is fitted on the training part"
        if not scale:
            note += "; it is 0, as they run against what people prefer or say nothing of it"
        odds = {cell: scale * self.gap[rows[cell]] for cell in fold.tests}
        return Stood([Entry(name, name, odds)], cost, scale=scale, notes=(note,))


@dataclass(frozen=True, eq=False)
class FittedReward(Scorer):
    """A reward model that is fitted already: users it does not know are adapted on their supports."""

    reward: RewardModel

    def stand(self, name: str, fold: Fold) -> Stood:
        with metered() as cost:
            entries = fold.entries(name, self.reward)
        known = len(set(self.reward.user_ids).intersection(fold.train.by_unit(self.reward.spec.unit).user_ids))
        note = (
            "fitted before, perhaps on the very rows it is tested on; no line on shuffled users, as nothing is fitted"
        )
        return Stood(entries, cost, self.reward, known, notes=(note,))


@dataclass(frozen=True, eq=False)
class Learner(Scorer):
    """An object with `prefer(data)`, fitted on the training part if it has `fit(data)`.

    Whether it knows users is seen from what it says of the same rows under other users: if that differs it has the
    controls of another user's rows and, if it can be fitted, of shuffled users.
    """

    model: Prefers

    def stand(self, name: str, fold: Fold) -> Stood:
        fits = isinstance(self.model, Fits)
        with metered() as cost:
            known = self._fitted(fold.train)
        own = {cell: _log_odds(name, known, test) for cell, test in fold.tests.items()}
        others = {c: _log_odds(name, known, controls.exchanged_users(t, fold.seed)) for c, t in fold.tests.items()}
        lines = {name: own}
        notes: tuple[str, ...] = () if fits else ("has no fit, so it may have seen the very rows it is tested on",)
        if any(not np.array_equal(own[cell], others[cell]) for cell in own):
            lines[f"{name} · {controls.ANOTHER}"] = others
            if fits and fold.shuffled:
                dealt = self._fitted(controls.shuffled_users(fold.train, fold.seed))
                lines[f"{name} · {controls.SHUFFLED}"] = {
                    cell: _log_odds(name, dealt, test) for cell, test in fold.tests.items()
                }
            notes += ("knows users, but no population's code that could be given to all of them; nor is it adapted",)
        return Stood([Entry(line, name, odds) for line, odds in lines.items()], cost, notes=notes)

    def _fitted(self, train: Comparisons) -> Prefers:
        model = copy.deepcopy(self.model)  # as it was given, whatever a fit does to it
        if not isinstance(model, Fits):
            return model
        found = model.fit(train)
        return found if isinstance(found, Prefers) else model


@dataclass(frozen=True, eq=False)
class Classifier(Scorer):
    """A classifier of differences of embeddings x₁ − x₂, the same for all users.

    Every training row is there in both orders, and P is the mean of both orders, ½ (p(δ) + 1 − p(−δ)), so that no
    intercept and no tree says which side is the first.
    """

    model: Classifies

    def stand(self, name: str, fold: Fold) -> Stood:
        weighs = has_fit_parameter(self.model, "sample_weight")
        with metered() as cost:
            model = self._fitted(fold, weighs)
        odds = {}
        for cell, test in fold.tests.items():
            p, back = (model.predict_proba(sign * _differences(test))[:, 1] for sign in (1, -1))
            odds[cell] = _bounded(name, (p + 1 - back) / 2, len(test))
        notes = () if weighs else ("takes no sample_weight, so ties are left out and weights are not looked at",)
        return Stood([Entry(name, name, odds)], cost, notes=notes)

    def _fitted(self, fold: Fold, weighs: bool) -> Any:
        train = fold.train
        label = np.concatenate([np.ones(len(train)), np.zeros(len(train))])
        weight = np.concatenate([train.weight * train.label, train.weight * (1 - train.label)])
        keep = weight > 0 if weighs else np.concatenate([train.label > 0.5, train.label < 0.5])
        delta = _differences(train)
        delta, label, weight = np.concatenate([delta, delta])[keep], label[keep], weight[keep]
        both, labels = np.concatenate([delta, -delta]), np.concatenate([label, 1 - label])
        model = clone(self.model)
        random = [name for name, value in model.get_params().items() if name.endswith("random_state") and value is None]
        model.set_params(**dict.fromkeys(random, fold.seed))
        if weighs:
            model.fit(both, labels, sample_weight=np.concatenate([weight, weight]))
        else:
            model.fit(both, labels)
        return model


def _differences(data: Comparisons) -> Array:
    return np.asarray(data.items[data.first], dtype=np.float32) - np.asarray(data.items[data.second], dtype=np.float32)


def _log_odds(name: str, model: Prefers, data: Comparisons) -> Float:
    return _bounded(name, model.prefer(data), len(data))


def _bounded(name: str, prob: Any, count: int) -> Float:
    """Log-odds of probabilities that are checked, and kept SURE from 0 and 1."""
    p = np.asarray(prob, dtype=np.float64)
    if p.shape != (count,):
        raise InputError(f"compare: the scorer {name!r} gave {p.shape} for {count} comparisons; it must give one each")
    bad = ~((p >= 0) & (p <= 1))
    if bad.any():
        raise InputError(
            f"compare: the scorer {name!r} gave {p[bad][0]} for a comparison; give P(first preferred), 0 to 1"
        )
    odds: Float = logit(np.clip(p, SURE, 1 - SURE))
    return odds


def scale_of(gap: Float, data: Comparisons) -> float:
    """The scale a ≥ 0 under which score differences are log-odds, as a base reward has it: `base_scale`.

    0 where scores do not differ, or run against the labels. Warns (InputWarning) where they tell all labels.

    gap     (N,) differences of scores
    data    the comparisons that they are of
    """
    n = len(data)
    scored = replace(data, first=np.arange(n), second=np.arange(n, 2 * n), base=np.concatenate([gap, np.zeros(n)]))
    return base_scale(scored)
