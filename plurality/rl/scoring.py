"""From features to rewards, for each completion's own user or by a rule over a population; no text in sight.

Shapes: n completions, F features, P people, R reference items.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurality.errors import InputError
from plurality.reward.heads import Head
from plurality.reward.links import prob, win
from plurality.rl.people import UserPopulation
from plurality.rl.rules.registry import Rule

Normalise = Literal["raw", "win", "z"]
Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scale:
    """How utilities of P people are made comparable; raw ones are log-odds up to a shift a person and prompt.

    win   mean probability to beat a reference item, in [0, 1]; source: VPL-SPO, arXiv 2408.10075, §4.3
    z     (u − mean) / sd over the reference items, each person's own
    """

    against: Tensor | None  # (P, R) utilities of the reference items, for win
    mean: Tensor | None  # (P, 1), for z
    sd: Tensor | None

    @staticmethod
    def of(how: Normalise, against: Tensor | None) -> "Scale":
        """The scale that reference utilities (P, R) set. Raises InputError where they do not vary, for z."""
        if how == "raw" or against is None:
            return Scale(None, None, None)
        if how == "win":
            return Scale(against, None, None)
        mean, sd = against.mean(1, keepdim=True), against.std(1, correction=0, keepdim=True)
        if not (sd > 1e-6 * mean.abs()).all():
            raise InputError(
                'normalise="z": somebody\'s utility is the same for all reference items, so there is no scale to be '
                "had from them; give more and more varied reference items"
            )
        return Scale(None, mean, sd)

    def __call__(self, utilities: Tensor) -> Tensor:
        """(P, M) -> (P, M)."""
        if self.against is not None:
            return win(utilities, self.against)
        return utilities if self.mean is None or self.sd is None else (utilities - self.mean) / self.sd


@dataclass(frozen=True, eq=False)
class UserScorer:
    """Rewards of completions, each for its own user; reference features (R, F) set the users' scales."""

    head: Head
    codes: Tensor  # (P, C)
    how: Normalise
    reference: Tensor | None

    def rewards(self, features: Tensor, who: NDArray[np.int64], opponents: Tensor | None) -> Float:
        """Features (n, F) for the users at rows `who` (n,), and opponents' (n, F) where each has one: (n,)."""
        codes = self.codes[torch.as_tensor(who)]
        utilities = self.head.utility(features, codes)[:, None]
        if opponents is not None:
            scaled = prob(utilities - self.head.utility(opponents, codes)[:, None])
        else:
            against = None if self.reference is None else self.head.population(self.reference, codes)
            scaled = Scale.of(self.how, against)(utilities)
        return scaled[:, 0].double().numpy()


class PopulationScorer:
    """Rewards of completions by a rule over a population; one matrix product scores all users."""

    def __init__(
        self, head: Head, people: UserPopulation, rule: Rule, how: Normalise, reference: Tensor | None = None
    ) -> None:
        self.head, self.people, self.rule, self.how = head, people, rule, how
        against = None if reference is None else head.population(reference, people.codes)
        self._scale = Scale.of(how, against)
        self._shares = _shares(people)

    def rewards(self, features: Tensor, opponents: Tensor | None) -> tuple[Float, dict[str, float]]:
        """Features (n, F) -> rewards (n,), and every group's mean normalised utility of this batch, by name."""
        utilities = self.head.population(features, self.people.codes)  # (P, n)
        if opponents is not None:
            scaled = prob(utilities - self.head.population(opponents, self.people.codes))
        else:
            scaled = self._scale(utilities)
        each = scaled.double().numpy()
        rewards = np.asarray(self.rule(each, self.people.weights, self.people.groups), dtype=np.float64)
        if rewards.shape != (len(features),) or not np.isfinite(rewards).all():
            raise InputError(
                f"rule {self.rule.name!r} gave rewards of shape {rewards.shape} for {len(features)} completions, or "
                "NaN or infinite ones; it must give each a finite one"
            )
        total = np.bincount(self.people.groups, self._shares * each.mean(1), len(self.people.names))
        return rewards, dict(zip(self.people.names, total.tolist(), strict=True))


def _shares(people: UserPopulation) -> Float:
    """Weight of each person within their group: (P,), of sum 1 in every group, or 0 where no one counts."""
    mass = np.bincount(people.groups, people.weights, len(people.names))
    return people.weights / np.maximum(mass, np.finfo(float).tiny)[people.groups]
