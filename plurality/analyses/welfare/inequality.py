"""Welfare functions and inequality indices of people's utilities, beside the Gini coefficient of `welfare`.

All of them read utilities that are comparable between people, which is what a normalisation claims (see
`normalisations`). Ratios and powers need a true zero: a negative utility makes them NaN; Kolm and Pollak's
index, the absolute Gini, quantiles and CVaR accept any sign. A weight is a frequency; bad rows raise
InputError.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from plurality.analyses.calibration.cumulative import exceedance
from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.social_choice.candidate_sets import Codes, coded
from plurality.analyses.welfare.welfare_draws import WelfareDraws, ascending
from plurality.arrays import floats
from plurality.errors import InputError

_PERMUTED = 4_000_000  # people held at once, permutations x people
_MOST_PEOPLE = 20_000_000


def quantile(x: ArrayLike, q: float, weights: ArrayLike | None = None) -> float:
    """Quantile at q of utilities x (n,) of any sign: linear between order statistics (type 7, numpy's default).

    With weights the least x with weighted distribution F(x) ≥ q, whole or not. NaN without people; q outside [0, 1]
    raises InputError.

    q          in [0, 1]
    weights    non-negative weights; equal by default
    """
    return float(WelfareDraws.one(x, weights).quantile(q, "linear" if weights is None else "inverted_cdf")[0])


def cvar(x: ArrayLike, share: float = 0.1, weights: ArrayLike | None = None) -> float:
    """Mean utility of the worst-off `share` of people, the boundary person split: GL(share) / share.

    x (n,) of any sign. NaN without people; share outside (0, 1] raises InputError. Rockafellar & Uryasev (2000).

    weights    non-negative weights; equal by default

    >>> from plurality.analyses.welfare import cvar
    >>> round(cvar([0.2, 0.4, 0.9], share=0.5), 3)
    0.267
    """
    return float(WelfareDraws.one(x, weights).cvar(share)[0])


def power_mean(x: ArrayLike, p: float, weights: ArrayLike | None = None) -> float:
    """Power mean M_p = (E xᵖ)^(1/p) of utilities x (n,) ≥ 0: geometric at p = 0, least at −∞, greatest at ∞.

    The smaller p, the more the worst off count. With p ≤ 0 a single zero makes it 0. NaN without people or
    with a negative utility.

    p          the power
    weights    non-negative weights; equal by default

    >>> from plurality.analyses.welfare import power_mean
    >>> [round(power_mean([0.2, 0.4, 0.9], p), 3) for p in (1, 0, -1)]
    [0.5, 0.416, 0.348]
    """
    return float(WelfareDraws.one(x, weights).power_mean(p)[0])


def nash(x: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Nash welfare as an equivalent utility, exp(E ln x), for x (n,) ≥ 0; one zero makes it 0.

    Its ranking of outcomes does not change when one person's utilities are rescaled. NaN as in `power_mean`.

    weights    non-negative weights; equal by default
    """
    return power_mean(x, 0.0, weights)


def atkinson(x: ArrayLike, epsilon: float, weights: ArrayLike | None = None) -> float:
    """Atkinson index 1 − M_{1−ε} / x̄ of utilities x (n,) ≥ 0: the share of the mean that equality could spare.

    In [0, 1]; 1 where ε ≥ 1 and somebody has 0. NaN without people, with a negative utility or a mean of 0;
    ε < 0 raises InputError. Atkinson (1970).

    epsilon    ε ≥ 0, aversion to inequality
    weights    non-negative weights; equal by default

    >>> from plurality.analyses.welfare import atkinson
    >>> round(atkinson([0.2, 0.4, 0.9], epsilon=1.0), 3)
    0.168
    """
    return float(WelfareDraws.one(x, weights).atkinson(epsilon)[0])


def generalised_entropy(x: ArrayLike, alpha: float = 0.0, weights: ArrayLike | None = None) -> float:
    """Generalised entropy E[(x/x̄)^α − 1] / (α(α−1)) of utilities x (n,) ≥ 0; in nats for α 0 and 1.

    α = 0 is the mean log deviation −E ln(x/x̄) (infinite with a zero), 1 Theil's E[(x/x̄) ln(x/x̄)], 2 half
    the squared coefficient of variation. NaN without people, with a negative utility or a mean of 0.
    Shorrocks (1980).

    alpha      α; smaller is more sensitive at the bottom
    weights    non-negative weights; equal by default
    """
    return float(WelfareDraws.one(x, weights).generalised_entropy(alpha)[0])


@dataclass(frozen=True)
class KolmPollak:
    """Utility `ede` that is worth as much if everybody has it, and what inequality costs, `index` = x̄ − ede."""

    ede: float
    index: float


def kolm_pollak(x: ArrayLike, kappa: float, weights: ArrayLike | None = None) -> KolmPollak:
    """Equally distributed equivalent −(1/κ) ln E e^(−κx) of utilities x (n,) of any sign, in units of x.

    Adding a constant to everybody adds it to the equivalent and leaves the index, so it suits rewards whose
    zero is arbitrary; κ ≥ 0 has the unit 1/x, and 0 gives the mean. NaN without people; κ < 0 raises
    InputError. Kolm (1976), Pollak (1971).

    kappa      κ, aversion to inequality per unit of utility
    weights    non-negative weights; equal by default
    """
    draw = WelfareDraws.one(x, weights)
    mean, ede = float(draw.mean[0]), float(draw.kolm_pollak(kappa)[0])
    return KolmPollak(min(ede, mean), max(mean - ede, 0.0))


def generalised_lorenz(x: ArrayLike, weights: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Generalised Lorenz curve: cumulative share of people (n+1,), worst off first, and Σ w x so far / W (n+1,).

    In units of x, of any sign; it ends at the mean, and GL(p) = p · CVaR_p. One distribution has more welfare
    than another under every increasing and concave welfare function if its curve is nowhere lower (Shorrocks
    1983). Without people the curve is NaN at its end.

    x          (n,) utilities
    weights    non-negative weights; equal by default
    """
    x, w = ascending(x, weights)
    if not len(x):
        return np.array([0.0, 1.0]), np.array([0.0, np.nan])
    total = w.sum()
    return np.append(0.0, np.cumsum(w) / total), np.append(0.0, np.cumsum(w * x) / total)


def gini_absolute(x: ArrayLike, weights: ArrayLike | None = None, corrected: bool = True) -> float:
    """Absolute Gini Σ_ij w_i w_j |x_i − x_j| / (2W²), half the mean difference of two people, in units of x.

    x (n,) of any sign; adding a constant to everybody does not change it. `corrected` divides by W² − W
    instead of W². NaN without people, or for one person where corrected; InputError for weights of several people that
    add up to 1 or less where corrected.

    weights    non-negative weights; equal by default
    """
    draw = WelfareDraws.one(x, weights)
    draw.check_frequencies(corrected)
    if draw.total[0] <= (1 if corrected else 0):
        return float("nan")
    above = WelfareDraws.of(draw.x - draw.x[0], draw.counts)
    return float(above.gini(corrected)[0] * above.mean[0]) if above.x[-1] > 0 else 0.0


def gini_negative(x: ArrayLike, weights: ArrayLike | None = None, corrected: bool = True) -> float:
    """Gini for utilities of any sign, Σ_ij w_i w_j |x_i − x_j| / (2 (W−1) Σ w|x|), which stays in [0, 1].

    Equal to `gini` where no x (n,) is negative. Without `corrected` the divisor has W instead of W − 1. NaN
    without people, for one person where corrected, or where every x is 0. Raffinetti, Siletti & Vernizzi
    (2015).

    weights    non-negative weights; equal by default
    """
    ordered, w = ascending(x, weights)
    size = float(w @ np.abs(ordered))
    return gini_absolute(ordered, w, corrected) * float(w.sum()) / size if size > 0 else float("nan")


@dataclass(frozen=True)
class Decomposition:
    """Inequality within groups and between them, by the entropy of index alpha, beside what chance gives.

    alpha            α of the generalised entropy
    groups           (G,) names, ascending
    total            entropy of all people, within + between
    within           part within groups
    between          part between them, ≥ 0
    between_share    between / total, which is positive by chance alone
    null             (permutations,) between_share of people put into groups at random
    excess           between_share less the mean of null
    p_value          share of permutations with as much, the data counted as one
    """

    alpha: float
    groups: tuple[str, ...]
    total: float
    within: float
    between: float
    between_share: float
    null: Floats
    excess: float
    p_value: float


def decompose(
    x: ArrayLike,
    groups: ArrayLike,
    alpha: float = 0.0,
    weights: ArrayLike | None = None,
    permutations: int = 1000,
    seed: int = 0,
) -> Decomposition:
    """Inequality within groups, Σ_g p_g (x̄_g/x̄)^α GE_α(g), and between them, GE_α of the group means.

    x (n,) ≥ 0, groups (n,) labels. The null puts people into groups of the same sizes at random, a whole
    weight w being w people; with other weights rows move with theirs. Values are NaN as in
    `generalised_entropy`; the share is NaN where the total is 0 or infinite. Shorrocks (1980).

    x               (n,) utilities ≥ 0
    groups          (n,) label of each person's group
    alpha           α of the generalised entropy; by default 0, the mean log deviation
    weights         (n,) non-negative frequencies; equal by default
    permutations    shuffles of the groups; 0 gives no null
    seed            makes the result the same again
    """
    x, w = floats(x), np.ones(len(np.asarray(x))) if weights is None else floats(weights)
    ascending(x, w)
    names, code = coded(groups, "groups")
    if len(code) != len(x):
        raise InputError(f"groups: {len(code)} labels for {len(x)} utilities; give one a person")
    x, w, code = x[w > 0], w[w > 0], code[w > 0]
    total = generalised_entropy(x, alpha, w)
    if np.isnan(total):
        nan = float("nan")
        return Decomposition(alpha, names, nan, nan, nan, nan, np.full(permutations, np.nan), nan, nan)
    mass, amount = (np.bincount(code, values).astype(float) for values in (w, w * x))
    present = mass > 0
    between = float(_between(amount[present], mass[present], alpha))
    with np.errstate(divide="ignore", invalid="ignore"):
        within = _within(x, w, (amount / mass)[code], alpha)
    if not 0 < total < np.inf or x.min() == x.max():
        nan = float("nan")
        return Decomposition(alpha, names, total, within, between, nan, np.full(permutations, np.nan), nan, nan)
    null = _permuted(x, w, code, alpha, permutations, seed) / total
    share, chance = between / total, float(null.mean()) if permutations else float("nan")
    p_value = exceedance(share - 1e-12, null)  # the same arrangement again counts, whatever its rounding
    return Decomposition(alpha, names, total, within, between, share, null, share - chance, p_value)


def _within(x: Floats, w: Floats, own: Floats, alpha: float) -> float:
    """Entropy of people around the mean of their group, `own` (n,); a group where all have 0 is equal."""
    mean = (w @ x) / w.sum()
    if alpha == 0:
        terms = np.log(own) - np.log(x)
    elif alpha == 1:
        terms = xlogy(x, x / own) / mean
    else:
        terms = ((x / mean) ** alpha - (own / mean) ** alpha) / (alpha * (alpha - 1))
    return max(float(w @ np.where(own > 0, terms, 0.0) / w.sum()), 0.0)


def _between(amount: Floats, mass: Floats, alpha: float) -> Floats:
    """Entropy (...,) of group means, from sums of utility and of weight (..., G)."""
    weight = mass / mass.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = amount / mass * (mass.sum(axis=-1) / amount.sum(axis=-1))[..., None]
        if alpha == 0:
            terms = -np.log(ratio)
        elif alpha == 1:
            terms = xlogy(ratio, ratio)
        else:
            terms = np.expm1(alpha * np.log(ratio)) / (alpha * (alpha - 1))
    return np.maximum((weight * terms).sum(axis=-1), 0)


def _permuted(x: Floats, w: Floats, code: Codes, alpha: float, permutations: int, seed: int) -> Floats:
    """Between-group entropy (permutations,) of people put into groups at random."""
    if (w == np.rint(w)).all():
        if w.sum() > _MOST_PEOPLE:
            raise InputError(f"weights: they stand for {w.sum():.0f} people; give permutations=0, or smaller weights")
        times = w.astype(np.int64)
        x, code, w = np.repeat(x, times), np.repeat(code, times), np.ones(int(times.sum()))
    start = np.flatnonzero(np.diff(np.sort(code), prepend=-1))
    rng, size = np.random.default_rng(seed), max(1, _PERMUTED // len(x))
    parts = [np.empty(0)]
    for at in range(0, permutations, size):
        row = np.tile(np.arange(len(x)), (min(size, permutations - at), 1))
        row = rng.permuted(row, axis=1)
        amount, mass = (np.add.reduceat(values[row], start, axis=1) for values in (w * x, w))
        parts.append(_between(amount, mass, alpha))
    return np.concatenate(parts)
