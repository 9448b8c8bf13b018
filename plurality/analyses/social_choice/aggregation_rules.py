"""Rules that choose one response for many people: welfare of each candidate, and the candidate with most of it.

A rule takes utilities (U, P, K) of U users for the K candidates of P prompts (NaN where a user has none),
weights (U,) of users and `member` (U, G), the weight with which each counts in each group; it gives the
welfare (P, K). The classic trade-off: the mean serves the many, the minimum the worst off.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.welfare.normalisations import normalise_sets
from plurality.analyses.welfare.welfare_draws import WelfareDraws
from plurality.arrays import floats
from plurality.errors import InputError

Rule = Callable[[Floats, Floats, Floats], Floats]

_SAME = 1e-12  # welfare this close is a tie, whatever the order of its sums


def mean(utility: Floats, weights: Floats, member: Floats) -> Floats:
    """Mean utility over users (P, K), Σ_u w_u u_u / Σ_u w_u over those who have the candidate: the utilitarian rule.

    utility    (U, P, K) utilities of U users for the K candidates of P prompts, NaN where a user has none
    weights    (U,) how much each user counts, ≥ 0
    member     (U, G) weights in groups; plays no part
    """
    return column_means(utility, weights[:, None])[0]


def weighted(seats: ArrayLike) -> Rule:
    """Rule: mean utility over users by weights of their own, such as those of a census. InputError for a bad weight.

    seats    (U,) non-negative weight of each user, in place of the `weights` that the rule is called with
    """
    given = floats(seats)
    bad = ~(np.isfinite(given) & (given >= 0))
    if bad.any():
        raise InputError(f"seats: row {bad.argmax()} is {given[bad.argmax()]}; give finite weights >= 0")

    def rule(utility: Floats, weights: Floats, member: Floats) -> Floats:
        if given.shape != weights.shape:
            raise InputError(f"seats: shape {given.shape} for {len(weights)} users; give one weight a user")
        return column_means(utility, given[:, None])[0]

    return rule


def power(p: float) -> Rule:
    """Rule: power mean (E uᵖ)^(1/p) over users. Raises InputError for NaN, and when called with a negative utility.

    p    the power: 1 is the mean, 0 Nash's product, −∞ the worst-off user; the smaller, the more the worst off count
    """
    if np.isnan(p):
        raise InputError(f"p: {p}; give a number, or ±inf")

    def rule(utility: Floats, weights: Floats, member: Floats) -> Floats:
        if np.nanmin(utility, initial=0.0) < 0:
            raise InputError("power mean: a utility is negative; use a normalisation that gives none, such as min_max")
        return _audience(utility, weights).power_mean(p).reshape(utility.shape[1:])

    return rule


def worst_share(share: float) -> Rule:
    """Rule: mean utility of the worst-off users, the boundary user split (CVaR). InputError for a share out of range.

    share    share of users who count, in (0, 1]
    """
    if not 0 < share <= 1:
        raise InputError(f"share: {share}; give a share of users in (0, 1]")

    def rule(utility: Floats, weights: Floats, member: Floats) -> Floats:
        return _audience(utility, weights).cvar(share).reshape(utility.shape[1:])

    return rule


def maximin(utility: Floats, weights: Floats, member: Floats) -> Floats:
    """Mean utility of the group that has least, min_g Σ_u m_ug u_u / Σ_u m_ug (P, K), however few its users.

    A group without utilities of a candidate has no say in it; NaN where none has any.

    utility    (U, P, K) utilities of U users for the K candidates of P prompts, NaN where a user has none
    weights    (U,) weights of users; play no part
    member     (U, G) weight with which each user counts in each group, ≥ 0
    """
    means = column_means(utility, member)
    least = np.where(np.isnan(means), np.inf, means).min(axis=0, initial=np.inf)
    return np.where(np.isinf(least), np.nan, least)


def borda(utility: Floats, weights: Floats, member: Floats) -> Floats:
    """Mean over users of the share of other candidates that each prefers it to, ties half (P, K).

    utility    (U, P, K) utilities of U users for the K candidates of P prompts, NaN where a user has none
    weights    (U,) how much each user counts, ≥ 0
    member     (U, G) weights in groups; plays no part
    """
    return mean(normalise_sets(utility, "percentile").value, weights, member)


def approval(threshold: float) -> Rule:
    """Rule: share of users whose utility of a candidate is at least a threshold. Raises InputError for NaN.

    threshold    utility from which on a user approves, in the unit of the utilities
    """
    if np.isnan(threshold):
        raise InputError(f"threshold: {threshold}; give a utility")

    def rule(utility: Floats, weights: Floats, member: Floats) -> Floats:
        return mean(np.where(np.isnan(utility), np.nan, utility >= threshold), weights, member)

    return rule


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "mean": mean,
        "power_mean(-1)": power(-1.0),
        "nash": power(0.0),
        "cvar(0.2)": worst_share(0.2),
        "maximin": maximin,
        "borda": borda,
        "approval(0.5)": approval(0.5),
    }
)


def _audience(utility: Floats, weights: Floats) -> WelfareDraws:
    """A draw for each candidate, (P·K, U): all users by their utility of it; who has none counts for nothing."""
    rows = np.moveaxis(utility, 0, -1).reshape(int(np.prod(utility.shape[1:])), len(weights))
    order = np.argsort(rows, axis=1)  # NaN last
    ordered = np.take_along_axis(rows, order, axis=1)
    unknown = np.isnan(ordered)
    return WelfareDraws.of(
        np.where(unknown, np.nanmax(utility, initial=0.0), ordered), np.where(unknown, 0.0, weights[order])
    )


def column_means(utility: Floats, member: Floats) -> Floats:
    """Mean over users (G, P, K) of utilities, Σ_u m_ug u_u / Σ_u m_ug; users without the candidate are left out.

    utility    (U, P, K) utilities, NaN where a user has none
    member     (U, G) weight with which each user counts in each group, ≥ 0
    """
    known = ~np.isnan(utility)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = np.tensordot(member, np.where(known, utility, 0.0), axes=(0, 0))
        return total / np.tensordot(member, known.astype(float), axes=(0, 0))


def choices(welfare: Floats) -> Floats:
    """Probability (..., K) that each candidate is chosen: the one of greatest welfare (..., K), ties shared evenly.

    All NaN where there is no welfare to go by.

    welfare    (..., K) welfare of each candidate, NaN where there is no such candidate
    """
    known = ~np.isnan(welfare)
    top = np.where(known, welfare, -np.inf).max(axis=-1, keepdims=True, initial=-np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        best = known & (welfare >= top - _SAME * np.maximum(1, np.abs(top)))
        return best / best.sum(axis=-1, keepdims=True)
