"""Welfare rules: from all users' utilities of a batch of completions to one reward a completion.

Every rule takes utilities (U, n), population weights (U,) and group codes (U,), and gives rewards (n,) in the units of
the utilities. A weight of 3 means the same as the person three times, and one of 0 as no person.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from plurality.errors import InputError

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def checked(utilities: Float, weights: Float, groups: Int) -> tuple[Float, Float, Int]:
    """People who count: utilities (U, n), weights that sum to 1 (U,), groups (U,); those of weight 0 are left out.

    Raises InputError for shapes that do not match, NaN or infinite utilities, or weights that are negative or all 0.
    """
    utilities, weights, groups = np.asarray(utilities, float), np.asarray(weights, float), np.asarray(groups)
    if utilities.ndim != 2 or weights.shape != utilities.shape[:1] or groups.shape != utilities.shape[:1]:
        raise InputError(
            f"a rule takes utilities (people, completions) with a weight and a group a person, not shapes "
            f"{utilities.shape}, {weights.shape} and {groups.shape}"
        )
    if not np.isfinite(utilities.sum()) and not (finite := np.isfinite(utilities)).all():
        person, completion = np.argwhere(~finite)[0]
        raise InputError(
            f"the utility of person {person} for completion {completion} (from 0) is "
            f"{utilities[person, completion]}; look for NaN or infinite values in embeddings or reference"
        )
    if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.sum() > 0:
        raise InputError("population weights must be 0 or more, finite, and not all 0; give one a person")
    if not (weights > 0).all():
        some = weights > 0
        utilities, weights, groups = utilities[some], weights[some], groups[some]
    return utilities, weights / weights.sum(), groups


def group_means(utilities: Float, weights: Float, groups: Int) -> tuple[Int, Float]:
    """Groups that have somebody, ascending (G,), and their weighted mean utilities (G, n)."""
    utilities, weights, groups = checked(utilities, weights, groups)
    codes, member = np.unique(groups, return_inverse=True)
    share = weights / np.bincount(member, weights)[member]
    averaging = csr_array((share, (member, np.arange(len(member)))), shape=(len(codes), len(member)))
    return codes, averaging @ utilities


@dataclass(frozen=True)
class Mean:
    """Weighted mean, Σ_u w_u x_u / Σ w: the utilitarian reward."""

    @property
    def name(self) -> str:
        return "mean"

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        utilities, weights, _ = checked(utilities, weights, groups)
        return weights @ utilities


@dataclass(frozen=True)
class PowerMean:
    """Power mean (Σ w x^p / Σ w)^(1/p) of utilities x ≥ 0: p = 1 is the mean, p → 0 Nash's geometric mean, −∞ the
    least; the lower p, the more the worst off count. Somebody at 0 makes it 0 where p ≤ 0.

    Raises InputError for a negative utility, whose powers mean nothing.

    p    the power; lower means more weight on the worst off
    """

    p: float

    def __post_init__(self) -> None:
        if np.isnan(self.p):
            raise InputError("the power of a power mean is not a number; give one such as -1, or -inf")

    @property
    def name(self) -> str:
        return f"power:{self.p:g}"

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        utilities, weights, _ = checked(utilities, weights, groups)
        if utilities.size and utilities.min() < 0:
            raise InputError(
                f"{self.name} needs utilities of 0 or more, and the least is {utilities.min():.3g}; "
                'score with normalise="win", whose utilities are probabilities'
            )
        if self.p == 1:
            return weights @ utilities
        extreme = utilities.min(0) if self.p < 0 else utilities.max(0)
        if np.isinf(self.p):
            return extreme
        with np.errstate(divide="ignore", invalid="ignore"):  # zeros: their logarithm is −∞, and all at 0 are set below
            logs = utilities / extreme  # against the extreme no power overflows
            np.log(logs, out=logs)
            if self.p == 0:
                mean = weights @ logs
            else:
                logs *= self.p
                small = abs(self.p) < 1e-3  # 1 + small must not swallow the small
                power = weights @ (np.expm1 if small else np.exp)(logs, out=logs)
                mean = (np.log1p(power) if small else np.log(power)) / self.p
            return np.where(extreme > 0, extreme * np.exp(mean), 0.0)


@dataclass(frozen=True)
class Nash:
    """Geometric mean exp(Σ w log x / Σ w), the Nash welfare of utilities x ≥ 0: `PowerMean` at p = 0.

    What each person's utility is multiplied by does not change which completion is best.
    """

    @property
    def name(self) -> str:
        return "nash"

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        try:
            return PowerMean(0.0)(utilities, weights, groups)
        except InputError as error:
            raise InputError(str(error).replace("power:0", "nash")) from None


@dataclass(frozen=True)
class CVaR:
    """Mean utility of the worst-off `share` of the population's weight, for each completion its own worst-off.

    The person at the boundary counts with the part that is inside. share = 1 is the mean; towards 0 it is the least.
    Source: Rockafellar & Uryasev 2000, there of losses.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InputError(f"cvar: share {self.share:g} is outside (0, 1]; for the worst off alone use power:-inf")

    @property
    def name(self) -> str:
        return f"cvar:{self.share:g}"

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        utilities, weights, _ = checked(utilities, weights, groups)
        by_completion = np.ascontiguousarray(utilities.T)
        if (weights == weights[0]).all():  # the usual case, ten times quicker than sorting people with their weights
            people = self.share * len(weights)
            whole = int(np.ceil(people)) - 1
            worst = np.partition(by_completion, whole, axis=1)
            return (worst[:, :whole].sum(1) + (people - whole) * worst[:, whole]) / people
        order = np.argsort(by_completion, axis=1)
        weight = weights[order]
        before = np.cumsum(weight, axis=1) - weight
        inside = np.clip(self.share - before, 0, weight)
        return (np.take_along_axis(by_completion, order, 1) * inside).sum(1) / inside.sum(1)


@dataclass(frozen=True)
class WeightedGroups:
    """Σ_g s_g · (mean utility of group g) with given shares s, whatever the groups' numbers in the sample.

    `shares` maps group codes to margins, say of a census; they are divided by their sum. Raises InputError where the
    groups with people and those with a share are not the same.
    """

    shares: Mapping[int, float]

    def __post_init__(self) -> None:
        values = np.array(list(self.shares.values()), float)
        if not len(values) or not (np.isfinite(values) & (values >= 0)).all() or not values.sum() > 0:
            raise InputError(f"groups: the shares {dict(self.shares)} must be 0 or more, finite, and not all 0")

    @property
    def name(self) -> str:
        return "groups:" + ",".join(f"{g}={s:g}" for g, s in self.shares.items())

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        codes, means = group_means(utilities, weights, groups)
        there = set(codes.tolist())
        odd = sorted(there ^ self.shares.keys())
        odd = [g for g in odd if g in there or self.shares[g] > 0]
        if odd:
            what = "has people but no share" if odd[0] in there else "has a share but no user of weight"
            raise InputError(f"groups: group {odd[0]} {what}; give a share to every group there is, and no other")
        share = np.array([self.shares[g] for g in codes.tolist()], float)
        return share @ means / share.sum()
