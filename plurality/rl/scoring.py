"""From features to rewards, for each completion's own user or by a rule over rows of utilities; no text in sight.

Shapes: n completions, F features, P rows (people, members or objectives), R reference items, C code width.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, as_tensor, cat

from plurality.errors import InputError
from plurality.reward.heads import Head
from plurality.reward.links import prob
from plurality.reward.spread import CELLS, jacobian, spread
from plurality.rl.people import KnownUsers, UserPopulation
from plurality.rl.rules.rows import Rule, batch_of, by_prompt, rows_of
from plurality.rl.scales import Normalise, Scale

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Embedded:
    """n completions to score.

    features    (n, F)
    opponents   (n, F) of what each is compared with, or None
    centre      (1, F) or (n, F) of the mean item, to which raw utilities are a gap where a shift would matter
    who         (n,) row of each one's user among those known, or None where nobody's own reward is asked for
    prompt      (n,) code of each one's prompt, or None for rules that do not look at it
    """

    features: Tensor
    opponents: Tensor | None
    centre: Tensor | None
    who: Int | None
    prompt: Int | None


class Scorer(Protocol):
    """Rewards (n,) of completions, and metrics of the call by name."""

    def rewards(self, batch: Embedded) -> tuple[Float, dict[str, float]]: ...


@dataclass(frozen=True, eq=False)
class Personal:
    """Utilities on a scale, each person's own, `lower` standard deviations below what is expected of them.

    The standard deviation is that of the scaled utility, to first order in the code; of a raw one, which has a shift
    that nobody knows, that of its gap to the centre.
    """

    head: Head
    how: Normalise
    reference: Tensor | None  # (R, F)
    lower: float

    def scale(self, codes: Tensor) -> Scale:
        """The scale of people with codes (P, C)."""
        if self.reference is None:
            return Scale.of("raw", None)
        slopes = jacobian(self.head, self.reference, codes) if self.lower else None
        return Scale.of(self.how, self.head.population(self.reference, codes), slopes)

    def scaled(self, scale: Scale, codes: Tensor, covariance: Tensor, batch: Embedded) -> Tensor:
        """Of every completion to everybody: (P, n) for people with codes (P, C) and covariance (P, C, C)."""
        width = batch.features.shape[-1] + codes.shape[-1]
        step = max(1, CELLS // (max(1, len(batch.features)) * width) if self.lower else len(codes))
        blocks = [slice(start, start + step) for start in range(0, len(codes), step)]
        parts = (batch.features, batch.opponents, batch.centre)
        each = [self._lowered(scale.of_people(b), codes[b], covariance[b], *parts) for b in blocks]
        return cat(each) if each else batch.features.new_zeros(0, len(batch.features))

    def own(self, codes: Tensor, covariance: Tensor, batch: Embedded) -> Tensor:
        """Of every completion to its own user: (n, 1) for users with codes (n, C) and covariance (n, C, C)."""
        features = batch.features[:, None]
        opponents = None if batch.opponents is None else batch.opponents[:, None]
        centre = batch.centre if batch.centre is None or len(batch.centre) == 1 else batch.centre[:, None]
        return self._lowered(self.scale(codes), codes, covariance, features, opponents, centre)

    def _lowered(
        self,
        scale: Scale,
        codes: Tensor,
        covariance: Tensor,
        features: Tensor,
        opponents: Tensor | None,
        centre: Tensor | None,
    ) -> Tensor:
        """Features (M, F), or each person's own (P, M, F), and likewise of opponents and centre: (P, M)."""
        utility = self._utility(features, codes)
        value = scale(utility) if opponents is None else prob(utility - self._utility(opponents, codes))
        if not self.lower:
            return value
        slopes = jacobian(self.head, features, codes)
        if opponents is not None:
            slopes = (value * (1 - value))[..., None] * (slopes - jacobian(self.head, opponents, codes))
        elif scale.against is not None:
            slopes = scale.slope(utility, slopes)
        elif centre is not None:
            slopes = slopes - jacobian(self.head, centre, codes)
        return value - self.lower * spread(slopes, covariance)

    def _utility(self, features: Tensor, codes: Tensor) -> Tensor:
        if features.dim() == 2:
            return self.head.population(features, codes)
        return self.head.utility(features[:, 0], codes)[:, None]


@dataclass(frozen=True, eq=False)
class UserScorer:
    """Rewards of completions, each for its own user."""

    people: KnownUsers
    personal: Personal

    def rewards(self, batch: Embedded) -> tuple[Float, dict[str, float]]:
        assert batch.who is not None
        who = as_tensor(batch.who)
        codes = self.people.codes[who]
        covariance = self.people.covariance[who] if self.personal.lower else self.people.covariance
        return self.personal.own(codes, covariance, batch)[:, 0].double().numpy(), {}


class PopulationScorer:
    """Rewards of completions by a rule over a population; one matrix product scores all users."""

    def __init__(self, personal: Personal, people: UserPopulation, rule: Rule) -> None:
        self.personal, self.people, self.rule = personal, people, rule
        self._scale = personal.scale(people.codes)
        self._shares = _shares(people)

    def rewards(self, batch: Embedded) -> tuple[Float, dict[str, float]]:
        """And every group's mean normalised utility of this batch, by name."""
        people = self.people
        each = self.personal.scaled(self._scale, people.codes, people.covariance, batch).double().numpy()
        rewards = ruled(self.rule, each, people.weights, people.groups, batch.prompt)
        total = np.bincount(people.groups, self._shares * each.mean(1), len(people.names))
        return rewards, {f"group/{name}": v for name, v in zip(people.names, total.tolist(), strict=True)}


@dataclass(frozen=True, eq=False)
class MemberScorer:
    """Rewards by a rule over the members of an ensemble, each completion's by its own user."""

    people: KnownUsers
    personal: Personal
    rule: Rule

    def rewards(self, batch: Embedded) -> tuple[Float, dict[str, float]]:
        assert batch.who is not None
        head, codes = self.personal.head, self.people.codes[as_tensor(batch.who)]
        each, pool = head.by_member(batch.features, codes), self.personal.reference
        if batch.opponents is not None:
            each = prob(each - head.by_member(batch.opponents, codes))
        elif pool is not None:
            n, count = len(codes), len(pool)
            against = head.by_member(pool.expand(n, count, -1), codes[:, None].expand(n, count, -1))
            each = Scale.of(self.personal.how, against.flatten(0, 1))(each.reshape(-1, 1)).view_as(each)
        elif batch.centre is not None:
            each = each - head.by_member(batch.centre.expand(len(codes), -1), codes)
        k = len(each)
        return ruled(self.rule, each.double().numpy(), np.ones(k), np.arange(k), batch.prompt), {}


class ObjectiveScorer:
    """Rewards by a rule over a model's objectives, whoever the user is."""

    def __init__(self, personal: Personal, rule: Rule) -> None:
        self.head, self.rule = personal.head, rule
        pool = personal.reference
        self._scale = Scale.of(personal.how, None if pool is None else self.head.by_objective(pool).T)

    def rewards(self, batch: Embedded) -> tuple[Float, dict[str, float]]:
        """And the mean of every objective in this batch, by name."""
        each = self.head.by_objective(batch.features).T
        if batch.opponents is not None:
            each = prob(each - self.head.by_objective(batch.opponents).T)
        else:
            each = self._scale(each)
        rows, k = each.double().numpy(), len(each)
        means = {f"objective/{name}": v for name, v in zip(self.head.objectives, rows.mean(1).tolist(), strict=True)}
        return ruled(self.rule, rows, np.ones(k), np.arange(k), batch.prompt), means


def scorer_of(personal: Personal, rule: Rule | None, people: KnownUsers, population: UserPopulation | None) -> Scorer:
    """What scores completions by this rule, or without one by each one's own user."""
    if rule is None:
        return UserScorer(people, personal)
    if rows_of(rule) == "members":
        return MemberScorer(people, personal, rule)
    if rows_of(rule) == "objectives":
        return ObjectiveScorer(personal, rule)
    assert population is not None
    return PopulationScorer(personal, population, rule)


def ruled(rule: Rule, each: Float, weights: Float, groups: Int, prompt: Int | None) -> Float:
    """Rewards (n,) of rows (P, n) by a rule, a prompt at a time where it compares a prompt's candidates.

    Raises InputError where the rule gives another shape, or numbers that are not finite.
    """

    def apply(columns: Int) -> Float:
        rewards = np.asarray(rule(each[:, columns], weights, groups), dtype=np.float64)
        if rewards.shape != columns.shape or not np.isfinite(rewards).all():
            raise InputError(
                f"rule {rule.name!r} gave rewards of shape {rewards.shape} for {len(columns)} completions, or "
                "NaN or infinite ones; it must give each a finite one"
            )
        return rewards

    if batch_of(rule) == "prompt" and prompt is not None:
        return by_prompt(apply, prompt)
    return apply(np.arange(each.shape[1]))


def _shares(people: UserPopulation) -> Float:
    """Weight of each person within their group: (P,), of sum 1 in every group, or 0 where no one counts."""
    mass = np.bincount(people.groups, people.weights, len(people.names))
    return people.weights / np.maximum(mass, np.finfo(float).tiny)[people.groups]
