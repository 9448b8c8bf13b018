"""Calibration without bins: the cumulative gap between what people chose and what was predicted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from plurality.analyses.calibration.binning import Floats, Orientation, bin_index, bin_points, edges_of
from plurality.analyses.inference.bootstrap import cluster_draws
from plurality.analyses.levels import labels
from plurality.arrays import floats
from plurality.errors import InputError

KNOTS = 256  # points at which the resampled process is followed
BROWNIAN_RANGE = 2 * np.sqrt(2 / np.pi)  # mean range of Brownian motion on [0, 1]


@dataclass(frozen=True)
class Kuiper:
    """Kuiper's statistic of calibration and what it is held against.

    statistic    range of the cumulative gap, in probability
    sigma        its scale for a calibrated model with independent rows, in probability
    ratio        statistic / sigma
    p_value      chance of as much for a calibrated model
    null_mean    mean of the ratio for a calibrated model, 1.596 with independent rows
    """

    statistic: float
    sigma: float
    ratio: float
    p_value: float
    null_mean: float


def kuiper(
    p: ArrayLike,
    y: ArrayLike,
    *,
    orientation: Orientation = "folded",
    weights: ArrayLike | None = None,
    users: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Kuiper:
    """Range of the cumulative gap C_k = Σ_{i≤k} w_i (y_i − p_i) / W in order of p.

    sigma = √(Σ w p(1−p)) / W is its scale for a calibrated model with independent rows; the ratio then is the
    range of Brownian motion (mean 1.596), with Feller's p-value. With `users` (n,) the null instead resamples
    users, as the range of C* − C, which allows for what one person's rows share. Tied p are one step. ECCE-R
    of Arrieta-Ibarra et al. (2022). All values are NaN without rows; ratio and p-value are NaN where every p
    is 0 or 1.

    p              (n,) P(first preferred)
    y              (n,) labels in [0, 1]
    orientation    "folded" to the side the model favours, "symmetrised" both ways round, or "presented" as stored
    weights        (n,) frequencies; equal by default
    users          (n,) user of each comparison, for the null by resampled users; independent rows by default
    draws          resamples of users; 0 gives none; without users the p-value needs none
    seed           of the resamples
    """
    if orientation == "symmetrised":
        raise InputError('orientation: symmetrised gaps cancel in the cumulative sum; use "folded"')
    points = bin_points(p, y, weights, orientation, 1, "width")
    x, w, total = points.predicted, points.weight, points.weight.sum()
    if total == 0:
        return Kuiper(*[float("nan")] * 5)
    residual = w * (points.observed - x)
    _, step = np.unique(x, return_inverse=True)
    statistic = float(cumulative_range(np.bincount(step, residual).astype(float)) / total)
    sigma = float(np.sqrt((w * x * (1 - x)).sum()) / total)
    if sigma == 0:
        return Kuiper(statistic, 0.0, float("nan"), float("nan"), float("nan"))
    ratio = statistic / sigma
    if users is None:
        return Kuiper(statistic, sigma, ratio, float(brownian_range_tail(ratio)), float(BROWNIAN_RANGE))
    null, coarse = _user_null(labels(users, "users"), knot_index(x, w), residual, w, draws, seed)
    return Kuiper(statistic, sigma, ratio, exceedance(coarse, null), float(null.mean() / sigma))


def knot_index(x: Floats, weight: Floats, most: int = KNOTS) -> NDArray[np.intp]:
    """Knot (n,) of each x: equal-mass steps that keep ties together, every distinct x its own while there are
    few.
    """
    values = np.unique(x)
    if len(values) <= most:
        return np.searchsorted(values, x)
    return bin_index(x, edges_of(x, weight, most, "equal", float(values[0])))


def _user_null(
    users: NDArray[np.generic],
    knot: NDArray[np.intp],
    residual: Floats,
    weight: Floats,
    draws: int,
    seed: int,
) -> tuple[Floats, float]:
    """Ranges of C* − C over draws (draws,), and the observed range at the same knots."""
    ids, codes = np.unique(users, return_inverse=True)
    if len(codes) != len(knot):
        raise InputError(f"users: {len(codes)} for {len(knot)} comparisons; give one a comparison")
    steps = int(knot.max()) + 1
    table = np.bincount(codes * steps + knot, residual, minlength=len(ids) * steps).reshape(len(ids), steps)
    totals = np.bincount(codes, weight, minlength=len(ids))
    observed = table.sum(axis=0) / totals.sum()
    ranges = cumulative_range(cluster_draws(table, totals, draws=draws, seed=seed) - observed)
    return ranges * small_sample(len(ids)), float(cumulative_range(observed))


def small_sample(n_users: int) -> float:
    """√(n/(n−1)), by which resampling n users falls short of their spread; NaN for one user."""
    return float(np.sqrt(n_users / (n_users - 1))) if n_users > 1 else float("nan")


def exceedance(value: float, null: Floats) -> float:
    """p-value (1 + #{null ≥ value}) / (1 + draws); NaN without a usable null."""
    usable = null[~np.isnan(null)]
    return float((1 + (usable >= value).sum()) / (1 + len(usable))) if len(usable) else float("nan")


def cumulative_range(steps: Floats) -> Floats:
    """Range of the running sum along the last axis, its start at 0 included."""
    running = np.cumsum(steps, axis=-1)
    return running.max(axis=-1, initial=0.0) - running.min(axis=-1, initial=0.0)


def brownian_range_tail(ratio: ArrayLike) -> Floats:
    """P(range of Brownian motion on [0, 1] > ratio) = 8 Σ_k (−1)^(k−1) k Φ̄(k·ratio).

    The density is in Feller (1951).

    ratio    (...,) range over the standard deviation at 1; below .3 the tail is 1 to double precision
    """
    x = floats(ratio)
    k = np.arange(1, 100)
    terms = np.where(k % 2, 1, -1) * k * norm.sf(k * np.maximum(x, 0.3)[..., None])
    return np.clip(8 * terms.sum(axis=-1), 0, 1)  # below .3 the tail is 1 to double precision
