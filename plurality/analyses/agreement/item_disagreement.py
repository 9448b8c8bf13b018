"""How divided people are on an item, from counts of choices: everybody's, and those of groups."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plurality.analyses.agreement.agreement import ZERO
from plurality.analyses.inference.bootstrap import Floats
from plurality.arrays import floats
from plurality.errors import InputError


@dataclass(frozen=True)
class Disagreement:
    """How divided people are on items, (...,) each, from 0 where all agree to 1 where they split evenly.

    margin      1 − |2p − 1| for the share p that prefers the first response
    variance    4p(1 − p)
    unbiased    4p(1 − p)·n/(n − 1), which may exceed 1 in a small sample; NaN below two people
    """

    margin: Floats
    variance: Floats
    unbiased: Floats


def disagreement(first: ArrayLike, n: ArrayLike, *, effective: ArrayLike | None = None) -> Disagreement:
    """Disagreement on items where `first` (...,) of n people (...,) prefer the first response, p = first/n.

    0 where all agree, 1 where they split evenly. `unbiased` is 4p(1 − p)·n/(n − 1), NaN below two people, and right
    on average for independent people whatever n; `margin` and `variance` fall with few people. Where people weigh w,
    `first` and n are sums of weights and (Σw)²/Σw² takes the place of n: with labels of 0 and 1, `unbiased` is then
    twice the mean of |difference| over pairs of different people, each pair counted w_i w_j.

    first        (...,) how many people prefer the first response, 0 ≤ first ≤ n; a tie counts half
    n            (...,) how many people answered, or the sum of their weights; NaN is returned where it is 0
    effective    (...,) Kish's number (Σw)²/Σw² of people of unequal weights; n by default
    """
    k, size = _choices(first, n)
    p = k / np.where(size > 0, size, np.nan)
    spread = 4 * p * (1 - p)
    people = _effective(size, effective)
    return Disagreement(1 - np.abs(2 * p - 1), spread, spread * people / np.where(people > 0, people - 1, np.nan))


def controversy(
    first: ArrayLike, n: ArrayLike, weights: ArrayLike | None = None, *, effective: ArrayLike | None = None
) -> Floats:
    """Variance (items,) between groups of their share p_g that prefers the first response, without sampling noise.

    Formula: [Σ w_g (p_g − p̄)² − Σ w_g(1 − w_g) p_g(1 − p_g)/(n_g − 1)] / (1 − Σ w_g²), w of sum one over groups of two
    people or more, p̄ = Σ w p; with equal w, var_g(p_g) minus the mean sampling variance. `first` and `n` are (items,
    groups), `weights` (groups,). Where people weigh differently, `first` and `n` are sums of their weights and
    `effective` (items, groups) Kish's (Σw)²/Σw², which takes the place of n_g. Unbiased, so it may be negative. NaN
    with fewer than two such groups.

    >>> from plurality.analyses.agreement import controversy
    >>> controversy([[9, 1], [5, 5]], [[10, 10], [10, 10]]).round(3).tolist()  # two items, two groups
    [0.31, -0.028]
    """
    k, size = _choices(first, n)
    if k.ndim != 2:
        raise InputError(f"first: shape {k.shape}; give counts (items, groups)")
    w = np.ones(k.shape[1]) if weights is None else floats(weights)
    if w.shape != k.shape[1:] or not (np.isfinite(w) & (w >= 0)).all():
        raise InputError(f"weights: {w.tolist()} for {k.shape[1]} groups; give each a finite weight >= 0")
    people = np.nan_to_num(_effective(size, effective))
    used = people > 0
    held = np.where(used, w, 0.0)
    held = held / np.where(held.sum(axis=1) > 0, held.sum(axis=1), np.nan)[:, None]
    p = np.where(used, k / np.where(used, size, 1.0), 0.0)
    noise = p * (1 - p) / np.where(used, people - 1, 1.0)
    off = (held * (p - (held * p).sum(axis=1, keepdims=True)) ** 2).sum(axis=1)
    scale = 1 - (held**2).sum(axis=1)
    return (off - (held * (1 - held) * noise).sum(axis=1)) / np.where(scale > ZERO, scale, np.nan)


def _effective(size: Floats, effective: ArrayLike | None) -> Floats:
    """How many people of equal weight (...,) tell as much; NaN where they are fewer than two."""
    if effective is None:
        return np.where(size >= 2, size, np.nan)
    people = floats(effective)
    if people.shape != size.shape or not (np.isfinite(people) & (people >= 0)).all():
        raise InputError(f"effective: shape {people.shape} for {size.shape} items; give each (sum w)²/(sum w²), finite")
    return np.where(people > 1 + ZERO, people, np.nan)


def _choices(first: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    k, size = floats(first), floats(n)
    bad = np.argwhere(~(np.isfinite(size) & (k >= 0) & (k <= size))) if k.shape == size.shape else np.zeros((1, 1))
    if len(bad):
        raise InputError(
            f"first, n: shapes {k.shape}, {size.shape}, at {bad[0].tolist()}; give 0 <= first <= n, finite"
        )
    return k, size
