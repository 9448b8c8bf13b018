"""How evenly utility is spread over people, and who has least of it.

A utility here is already comparable between people, which is a choice made by its normalisation and not a
fact of the data: the audit uses the probability that the person prefers the response that is served. A weight
is a frequency.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import norm
from scipy.stats import t as student

from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.welfare.welfare_draws import WelfareDraws, ascending
from plurality.arrays import floats
from plurality.errors import InputError

_ROUNDING = 1e-12  # of the largest estimate, below which an error says nothing
_BLOCK = 4_000_000  # simulated users held at once


def gini(x: ArrayLike, weights: ArrayLike | None = None, corrected: bool = True) -> float:
    """Gini coefficient Σ_ij w_i w_j |x_i − x_j| / (2 W² x̄) of utilities x (n,) ≥ 0; higher is less equal.

    `corrected` divides by W² − W instead of W², which is n/(n−1) without weights. NaN for one person or a
    mean of 0. It is not symmetric: gini(x) ≠ gini(1 − x). Negative x raise InputError, since the ratio has no
    meaning there, and so do corrected weights of several people that add up to 1 or less: these are shares.

    x            (n,) utilities ≥ 0
    weights      (n,) non-negative frequencies, people a row stands for; 1 each by default
    corrected    remove the bias of few people (default); say False for weights that are shares and no numbers of people

    >>> from plurality.analyses.welfare import gini
    >>> round(gini([0.2, 0.4, 0.9]), 3)
    0.467
    """
    draw = WelfareDraws.one(x, weights)
    draw.check_frequencies(corrected)
    if draw.x[0] < 0:
        raise InputError(f"utility: {draw.x[0]} is negative; Gini needs a true zero, such as a win probability has")
    return float(draw.gini(corrected)[0])


def gini_noise(n: ArrayLike, mean: float, *, draws: int = 200, seed: int = 0, corrected: bool = True) -> Floats:
    """Gini (draws,) of people whose true utility is all `mean`, seen through n (users,) comparisons each.

    x*_u ~ Binomial(n_u, mean) / n_u. NaN for one person or a mean of 0.

    n            (users,) comparisons of each user, rounded to whole numbers of at least 1
    mean         true utility of everybody, in (0, 1]
    draws        simulated samples, at least 1
    seed         of the simulation
    corrected    remove the bias of few people, as in `gini`; by default True
    """
    users = len(np.asarray(n))
    if users < 2 or not 0 < mean <= 1:
        return np.full(draws, np.nan)
    seen = equal_people(n, mean, draws, seed)
    return np.concatenate([WelfareDraws.of(x, once).gini(corrected) for x, once in seen])


def equal_people(
    n: ArrayLike, mean: float, draws: int, seed: int, people: ArrayLike | None = None
) -> Iterator[tuple[Floats, Floats]]:
    """Ascending utilities (block, users) that people of true utility `mean` show in n comparisons each, and their
    weights, (1, users) or in the same order.

    n         (users,) comparisons of each user, rounded to whole numbers of at least 1
    mean      true utility of everybody, in [0, 1]
    draws     how many rows there are in all blocks together, at least 1
    seed      of the simulation
    people    (users,) what each person weighs; 1 by default
    """
    if draws < 1:
        raise InputError(f"draws: {draws}; give at least 1")
    trials = np.maximum(np.rint(floats(n)), 1).astype(np.int64)
    rng, size = np.random.default_rng(seed), max(1, _BLOCK // max(len(trials), 1))
    for at in range(0, draws, size):
        shape = (min(size, draws - at), len(trials))
        x = rng.binomial(trials, mean, size=shape) / trials
        if people is None:
            yield np.sort(x, axis=1), np.ones((1, len(trials)))
        else:
            order = np.argsort(x, axis=1, kind="stable")
            yield np.take_along_axis(x, order, axis=1), floats(people)[order]


def gini_noise_floor(n: ArrayLike, mean: float, *, draws: int = 200, seed: int = 0, corrected: bool = True) -> float:
    """Mean Gini that noise alone gives when everybody's true utility is the same: see `gini_noise`.

    n            (users,) comparisons of each user, rounded to whole numbers of at least 1
    mean         true utility of everybody, in (0, 1]
    draws        simulated samples, at least 1
    seed         of the simulation
    corrected    remove the bias of few people, as in `gini`; by default True
    """
    return float(np.mean(gini_noise(n, mean, draws=draws, seed=seed, corrected=corrected)))


def gini_shrunk(x: ArrayLike, noise_variance: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Gini of the true utilities behind noisy ones, √r · gini(x), reliability r = 1 − E[noise variance] / Var(x).

    Each x is an average with a sampling variance of its own; shrinking x towards its mean by √r gives it the variance
    of the truth and leaves its mean, so Gini shrinks by √r too. The shape stays that of the noisy values, so with few
    items it is near the truth, not at it. NaN for one person, or where no variance is known.

    x                 (n,) noisy utilities ≥ 0
    noise_variance    (n,) sampling variance of each, in the unit of x squared, NaN where unknown
    weights           (n,) non-negative frequencies; equal by default
    """
    x, noise = floats(x), floats(noise_variance)
    w = np.ones(len(x)) if weights is None else floats(weights)
    if not x.shape == noise.shape == w.shape or x.ndim != 1:
        raise InputError(
            f"utility: shapes {x.shape}, {noise.shape} and {w.shape}; give one utility, variance and weight a person"
        )
    known = ~np.isnan(noise)
    if len(x) < 2 or not known.any():
        return float("nan")
    variance = np.cov(x, aweights=w) if weights is not None else np.var(x, ddof=1)
    if variance == 0:
        return gini(x, weights)
    reliability = max(0.0, 1 - float(np.average(noise[known], weights=w[known])) / float(variance))
    return float(np.sqrt(reliability)) * gini(x, weights)


def lorenz(x: ArrayLike, weights: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Lorenz curve: cumulative share of people and of utility, (n+1,) each, worst off first.

    NaN at its end without people, with a negative utility or with a sum of 0.

    x          (n,) utilities ≥ 0
    weights    (n,) non-negative frequencies; equal by default
    """
    x, w = ascending(x, weights)
    if len(x) == 0 or (x * w).sum() <= 0 or x[0] < 0:
        return np.array([0.0, 1.0]), np.array([0.0, np.nan])
    people, utility = np.cumsum(w) / w.sum(), np.cumsum(w * x) / (w * x).sum()
    return np.concatenate([[0.0], people]), np.concatenate([[0.0], utility])


def lorenz_noise(
    n: ArrayLike,
    mean: float,
    shares: ArrayLike,
    *,
    people: ArrayLike | None = None,
    draws: int = 200,
    seed: int = 0,
) -> Floats:
    """Lorenz curves (draws, K) of people whose true utility is all the same, seen through noise: see `gini_noise`.

    n         (users,) comparisons of each user, rounded to whole numbers of at least 1
    mean      true utility of everybody, in [0, 1]
    shares    (K,) shares of people at which curves are read off, in [0, 1]
    people    (users,) what each person weighs; 1 by default
    draws     simulated samples, at least 1
    seed      of the simulation
    """
    grid = floats(shares)
    users = len(np.asarray(n))
    place = grid * users
    below = np.minimum(place.astype(np.int64), users - 1)
    curves = []
    for x, weight in equal_people(n, mean, draws, seed, people):
        running = np.concatenate([np.zeros((len(x), 1)), np.cumsum(weight * x, axis=1)], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            running /= running[:, -1:]
        if people is None:
            step = running[:, below + 1] - running[:, below]
            curves.append(running[:, below] + (place - below) * step)
        else:
            held = np.concatenate([np.zeros((len(x), 1)), np.cumsum(weight, axis=1)], axis=1)
            curves.append(np.stack([np.interp(grid, h / h[-1], r) for h, r in zip(held, running, strict=True)]))
    return np.concatenate(curves)


@dataclass(frozen=True)
class Shrunk:
    """Empirical-Bayes estimates of G groups, in the unit of the estimates.

    value    (G,) posterior means, between the estimate and the common mean
    error    (G,) posterior standard deviations
    mean     common mean m of the groups
    tau      standard deviation τ between groups; mean and tau are NaN with fewer than two known groups
    """

    value: Floats
    error: Floats
    mean: float
    tau: float


def _paired(estimates: ArrayLike, se: ArrayLike) -> tuple[Floats, Floats]:
    """Estimates and their errors (G,); InputError where they are not of one length, or an error is negative."""
    x, s = floats(estimates), floats(se)
    if x.ndim != 1 or x.shape != s.shape:
        raise InputError(f"estimates: shape {x.shape} and errors of shape {s.shape}; give one of each a group")
    if (s < 0).any():
        raise InputError(f"se: row {int(np.argmax(s < 0))} is {s[np.argmax(s < 0)]}; give standard errors >= 0")
    return x, s


def shrink(estimates: ArrayLike, se: ArrayLike) -> Shrunk:
    """Normal–normal shrinkage of group estimates (G,) towards their precision-weighted mean.

    x_g ~ N(θ_g, se_g²), θ_g ~ N(m, τ²), τ² by Paule & Mandel (1982): Σ (x_g − m)²/(se_g² + τ²) = G − 1.
    Groups with an unknown estimate or error stay NaN; fewer than two known groups are returned as they are.

    estimates    (G,) estimates x of groups, NaN where unknown
    se           (G,) their standard errors; one of 0 is given that of the most precise other group

    >>> from plurality.analyses.welfare import shrink
    >>> shrink([0.5, 0.7, 0.9], se=[0.1, 0.1, 0.1]).value.round(3).tolist()
    [0.55, 0.7, 0.85]
    """
    x, s = _paired(estimates, se)
    known = np.isfinite(x) & np.isfinite(s)
    if known.sum() < 2:
        return Shrunk(np.where(known, x, np.nan), np.where(known, s, np.nan), float("nan"), float("nan"))
    # an error of 0 (all users alike) would take all the weight: give it that of the most precise other group
    positive = s[known & (s > 0)]
    s = np.where(s > 0, s, positive.min() if len(positive) else 1e-12)
    s = np.maximum(s, max(_ROUNDING * float(np.abs(x[known]).max()), 1e-150))  # what rounding moves is no difference
    value, variance = x[known], s[known] ** 2

    def centre(tau2: float) -> float:
        return float(np.average(value, weights=1 / (variance + tau2)))

    def excess(tau2: float) -> float:
        return float(((value - centre(tau2)) ** 2 / (variance + tau2)).sum() - (len(value) - 1))

    tau2 = brentq(excess, 0.0, len(value) * np.ptp(value) ** 2 + 1e-300) if excess(0.0) > 0 else 0.0
    mean, keep = centre(tau2), tau2 / (tau2 + s**2)
    shrunk = np.where(known, mean + keep * (x - mean), np.nan)
    return Shrunk(shrunk, np.where(known, np.sqrt(keep) * s, np.nan), mean, float(np.sqrt(tau2)))


def posterior_draws(x: Floats, se: Floats, draws: int, seed: int) -> Floats:
    """Draws (draws, G) of true group values behind estimates x (G,), the spread τ between groups unknown too.

    x_g ~ N(θ_g, se_g²), θ_g ~ N(m, τ²), m flat, τ half-normal with the scale of the data, integrated on a
    grid (Gelman et al. 2013, section 5.4). Unlike one best τ, which is often 0, it leaves room for
    difference.

    x        (G,) finite estimates of groups
    se       (G,) their standard errors ≥ 0, in the same unit
    draws    how many draws
    seed     makes the result the same again
    """
    variance = np.maximum(se, np.max(se) * 1e-3 + 1e-12) ** 2
    scale = max(float(np.ptp(x)), float(np.sqrt(variance.mean())))
    tau = (np.arange(120) + 0.5) / 40 * scale
    precision = 1 / (variance + tau[:, None] ** 2)  # (T, G)
    centre = (precision @ x) / precision.sum(axis=1)
    residual = (precision * (x - centre[:, None]) ** 2).sum(axis=1)
    log_weight = 0.5 * (np.log(precision).sum(axis=1) - np.log(precision.sum(axis=1)) - residual - (tau / scale) ** 2)
    weight = np.exp(log_weight - log_weight.max())
    rng = np.random.default_rng(seed)
    at = rng.choice(len(tau), size=draws, p=weight / weight.sum())
    mean = centre[at] + rng.standard_normal(draws) / np.sqrt(precision[at].sum(axis=1))
    keep = tau[at, None] ** 2 * precision[at]
    noise = rng.standard_normal((draws, len(x)))
    # θ given m is N(m + keep·(x − m), keep·variance)
    return mean[:, None] + keep * (x - mean[:, None]) + np.sqrt(keep * variance) * noise


@dataclass(frozen=True)
class WorstGroup:
    """The group with the worst estimate, by how much, and how sure that is.

    index          number of the group, −1 where no group has an estimate and an error
    plug_in        its estimate, biased towards the bad end
    shrunk         worst of the shrunk values, biased towards the good end when groups truly differ
    lo, hi         interval that covers the worst true value
    probability    (G,) posterior chance that each group is the worst
    """

    index: int
    plug_in: float
    shrunk: float
    lo: float
    hi: float
    probability: Floats


def worst_group(
    estimates: ArrayLike,
    se: ArrayLike,
    *,
    n_users: ArrayLike | None = None,
    level: float = 0.95,
    higher_is_better: bool = True,
    draws: int = 4000,
    seed: int = 0,
) -> WorstGroup:
    """Which of G groups is worst, by how much, with an interval for the worst true value.

    For a minimum: lo = min_g LCB_g at α/2, which needs no correction, and hi = min_g UCB_g at α/(2G), which
    does, since the group was chosen for being lowest. `n_users` (G,) makes the bounds Student's t with n − 1
    degrees of freedom. Groups with a NaN estimate or error cannot be worst; none left gives NaN and index −1.

    estimates           (G,) estimates of groups, in any unit, NaN where unknown
    se                  (G,) their standard errors, in the same unit
    n_users             (G,) users behind each; by default many, so that bounds are normal
    level               coverage 1 − α of the interval, in (0, 1)
    higher_is_better    whether the worst is the lowest (default) or, for errors and the like, the highest
    draws               posterior draws behind `probability`
    seed                makes the result the same again

    >>> from plurality.analyses.welfare import worst_group
    >>> found = worst_group([0.6, 0.7, 0.4], se=[0.05, 0.05, 0.05])
    >>> found.index, round(found.lo, 3), round(found.hi, 3)
    (2, 0.302, 0.52)
    """
    if not 0 < level < 1:
        raise InputError(f"level: {level}; give a coverage between 0 and 1, such as .95")
    if draws < 1:
        raise InputError(f"draws: {draws}; give at least 1")
    sign = 1.0 if higher_is_better else -1.0
    x, s = _paired(estimates, se)
    x = sign * x
    usable = np.isfinite(x) & np.isfinite(s)
    if not usable.any():
        nan = float("nan")
        return WorstGroup(-1, nan, nan, nan, nan, np.full(len(x), np.nan))
    users = np.full(len(x), np.inf) if n_users is None else floats(n_users)
    if users.shape != x.shape:
        raise InputError(f"n_users: shape {users.shape} for {len(x)} groups; give one a group")
    freedom = np.maximum(users - 1, 1)
    alpha = 1 - level
    outer = _critical(alpha / 2, freedom)
    inner = _critical(alpha / (2 * usable.sum()), freedom)
    lo, hi = (
        np.nanmin(np.where(usable, x - outer * s, np.nan)),
        np.nanmin(np.where(usable, x + inner * s, np.nan)),
    )
    lowest = np.flatnonzero(usable)[posterior_draws(x[usable], s[usable], draws, seed).argmin(axis=1)]
    probability = np.bincount(lowest, minlength=len(x)) / draws
    index = int(np.nanargmin(np.where(usable, x, np.nan)))
    bounds = sorted((sign * float(lo), sign * float(hi)))
    shrunk = sign * float(np.nanmin(shrink(np.where(usable, x, np.nan), s).value))
    return WorstGroup(index, sign * float(x[index]), shrunk, bounds[0], bounds[1], probability)


def _critical(alpha: float, freedom: Floats) -> Floats:
    finite = np.isfinite(freedom)
    return np.where(finite, student.isf(alpha, np.where(finite, freedom, 1.0)), norm.isf(alpha))
