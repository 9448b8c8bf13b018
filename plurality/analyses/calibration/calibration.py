"""Is a stated probability the frequency with which people agree? Plain functions on arrays of comparisons.

`p` (n,) is P(first preferred) as predicted, `y` (n,) as observed: 1, 0, ½ for a tie, or any soft label in [0,
1]. A weight is a frequency: a row of weight 3 counts as three rows. Orientation and bin edges: see `binning`.
An empty input has no calibration: the answer is NaN. Bad rows raise InputError.
"""

import warnings

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.special import xlogy
from scipy.stats import norm

from plurality.analyses.calibration.binning import Binned, Floats, Mass, Orientation, bin_points, checked
from plurality.analyses.calibration.cumulative import Kuiper, kuiper
from plurality.analyses.inference.bootstrap import cluster_draws, interval
from plurality.analyses.levels import labels
from plurality.arrays import floats
from plurality.errors import InputError, InputWarning

__all__ = [
    "Kuiper",
    "brier",
    "debiased_l2",
    "ece",
    "ece_null",
    "kuiper",
    "log_loss",
    "reliability",
    "wilson",
]

_BLOCK = 4_000_000  # simulated labels held at once


def ece(
    p: ArrayLike,
    y: ArrayLike,
    *,
    orientation: Orientation = "folded",
    bins: int = 5,
    mass: Mass = "width",
    weights: ArrayLike | None = None,
) -> float:
    """Expected calibration error Σ_b q_b |Ȳ_b − P̄_b|, in probability.

    Biased upwards, the more so the fewer the rows: set it beside `ece_null`, and never rank groups by it.

    p              (n,) P(first preferred)
    y              (n,) labels in [0, 1]
    orientation    "folded" to the side the model favours, "symmetrised" both ways round, or "presented" as stored
    bins           number of bins at most
    mass           bins of equal mass rather than equal width
    weights        (n,) frequencies; equal by default

    >>> from plurality.analyses.calibration import ece
    >>> round(ece([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1]), 3)
    0.35
    """
    points = bin_points(p, y, weights, orientation, bins, mass)
    gaps = points.sums(points.observed - points.predicted)
    return _ratio(np.abs(gaps).sum(), points.weight.sum())


def ece_null(
    p: ArrayLike,
    *,
    orientation: Orientation = "folded",
    bins: int = 5,
    mass: Mass = "width",
    weights: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> float:
    """Mean ECE of a perfectly calibrated model with these p: labels redrawn as y* ~ Bernoulli(p), a row one
    draw.

    Consistency resampling of Bröcker & Smith (2007).

    p              (n,) P(first preferred)
    orientation    "folded" to the side the model favours, "symmetrised" both ways round, or "presented" as stored
    bins           number of bins at most
    mass           bins of equal mass rather than equal width
    weights        (n,) frequencies; equal by default
    draws          simulated data sets, or resamples
    seed           of simulations and resamples
    """
    points = bin_points(p, np.full(np.shape(p), 0.5), weights, orientation, bins, mass)
    gaps = consistency_sums(points, draws, seed)
    return _ratio(np.abs(gaps).sum(axis=1).mean(), points.weight.sum())


def consistency_sums(points: Binned, draws: int, seed: int) -> Floats:
    """Weighted sums of y* − p per bin, (draws, B), for labels y* ~ Bernoulli(p) drawn once a comparison."""
    n = len(points.predicted) // points.copies
    x, member = points.predicted[:n], np.zeros((n, points.n_bins))
    flip = points.folded & (x == 0.5)  # a tie of the model has the label .5 whatever is drawn
    member[np.arange(n), points.index[:n]] = np.where(flip, 0.0, points.weight[:n])
    if points.copies == 2:  # the same draw seen from the other side
        member[np.arange(n), points.index[n:]] -= np.where(flip, 0.0, points.weight[n:])
    rng, size = np.random.default_rng(seed), max(1, _BLOCK // max(n, 1))
    blocks = (min(size, draws - at) for at in range(0, draws, size))
    return np.concatenate([((rng.random((block, n)) < x) - x) @ member for block in blocks])


def debiased_l2(
    p: ArrayLike,
    y: ArrayLike,
    *,
    orientation: Orientation = "folded",
    bins: int = 5,
    mass: Mass = "width",
    weights: ArrayLike | None = None,
) -> float:
    """Signed squared calibration error Σ_b q_b [(P̄_b − Ȳ_b)² − s_b²/(n_b − 1)], in squared probability.

    Zero on average for a calibrated model with independent rows, so it may be negative and may be averaged
    and compared between groups. Bins with fewer than two rows are left out. Kumar et al. (2019), Bröcker
    (2012).

    p              (n,) P(first preferred)
    y              (n,) labels in [0, 1]
    orientation    "folded" to the side the model favours, "symmetrised" both ways round, or "presented" as stored
    bins           number of bins at most
    mass           bins of equal mass rather than equal width
    weights        (n,) frequencies; equal by default
    """
    points = bin_points(p, y, weights, orientation, bins, mass)
    return float(
        l2_from_sums(
            weight=points.sums(np.ones(len(points.predicted))),
            gap=points.sums(points.observed - points.predicted),
            outcome=points.sums(points.observed),
            square=points.sums(points.observed**2),
        )
    )


def l2_from_sums(weight: Floats, gap: Floats, outcome: Floats, square: Floats) -> Floats:
    """Debiased L2 (...,) from sums (..., B) per bin of 1, z − c, z and z²; NaN if no bin holds two rows."""
    used = weight >= 2
    n = np.where(used, weight, 2.0)
    variance = np.maximum(square / n - (outcome / n) ** 2, 0)
    terms = np.where(used, n * ((gap / n) ** 2 - variance / (n - 1)), 0.0)
    total = np.where(used, weight, 0.0).sum(axis=-1)
    return terms.sum(axis=-1) / np.where(total > 0, total, np.nan)


def brier(p: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Brier score, the mean of (p − y)²; the same in every orientation.

    p          (n,) P(first preferred)
    y          (n,) labels in [0, 1]
    weights    (n,) frequencies; equal by default
    """
    p, y, w = checked(p, y, weights)
    return _ratio((w * (p - y) ** 2).sum(), w.sum())


def log_loss(
    p: ArrayLike | None, y: ArrayLike, *, gap: ArrayLike | None = None, weights: ArrayLike | None = None
) -> float:
    """Mean cross-entropy in nats, −y log p − (1−y) log(1−p), from the gap in log-odds where it is given.

    Nothing is clipped: where p is exactly 0 or 1 against the label the loss is infinite, and an InputWarning
    says so.

    p          (n,) P(first preferred)
    y          (n,) labels in [0, 1]
    gap        (n,) log-odds
    weights    (n,) frequencies; equal by default
    """
    if p is None and gap is None:
        raise InputError("log_loss: neither p nor gap is given; give one of them")
    p, y, w = checked(np.full(np.shape(y), 0.5) if p is None else p, y, weights)
    rows = log_loss_rows(p, y, None if gap is None else floats(gap))
    infinite = np.flatnonzero(np.isinf(rows) & (w > 0))
    if len(infinite):
        warnings.warn(
            f"p: row {infinite[0]} is {p[infinite[0]]} against its label ({len(infinite)} such rows), so the "
            "log-loss is infinite; give gap= (log-odds)",
            InputWarning,
            stacklevel=2,
        )
    return _ratio((w * rows)[w > 0].sum(), w.sum())


def log_loss_rows(p: Floats, y: Floats, gap: Floats | None) -> Floats:
    """Cross-entropy of each row in nats, (n,); by the softplus of the gap where there is one: it never
    saturates.
    """
    if gap is None:
        with np.errstate(divide="ignore"):
            return -(xlogy(y, p) + xlogy(1 - y, 1 - p))
    if gap.shape != y.shape or not np.isfinite(gap).all():
        raise InputError("gap: give one finite number of log-odds a comparison")
    return y * np.logaddexp(0, -gap) + (1 - y) * np.logaddexp(0, gap)


def reliability(  # noqa: PLR0913 - the arguments of ece and of the bands
    p: ArrayLike,
    y: ArrayLike,
    *,
    orientation: Orientation = "folded",
    bins: int = 5,
    mass: Mass = "equal",
    weights: ArrayLike | None = None,
    users: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pl.DataFrame:
    """Points of a reliability diagram, a row a bin that holds data.

    `predicted` and `observed` are means, `n` rows, `weight` their sum. `lo`, `hi` is the confidence interval
    of `observed`: by resampling `users` (n,) where given, else Wilson's for independent rows. `null_lo`,
    `null_hi` is the consistency band around `predicted`: where a calibrated model would fall.

    p              (n,) P(first preferred)
    y              (n,) labels in [0, 1]
    orientation    "folded" to the side the model favours, "symmetrised" both ways round, or "presented" as stored
    bins           number of bins at most
    mass           bins of equal mass rather than equal width
    weights        (n,) frequencies; equal by default
    draws          simulated data sets, or resamples
    seed           of simulations and resamples
    level          coverage of the interval, in (0, 1)
    """
    points = bin_points(p, y, weights, orientation, bins, mass)
    weight = points.sums(np.ones(len(points.predicted)))
    held = weight > 0
    weight = np.where(held, weight, 1.0)
    predicted, observed = points.sums(points.predicted) / weight, points.sums(points.observed) / weight
    if users is None:
        lo, hi = wilson(observed * weight, weight, level)
    else:
        lo, hi = _user_interval(points, labels(users, "users"), draws, seed, level)
    null = predicted + consistency_sums(points, draws, seed) / weight
    null_lo, null_hi = np.quantile(null, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    columns = {
        "left": points.edges[:-1],
        "right": points.edges[1:],
        "n": np.bincount(points.index, minlength=points.n_bins),
        "weight": weight,
        "predicted": predicted,
        "observed": observed,
        "lo": lo,
        "hi": hi,
        "null_lo": null_lo,
        "null_hi": null_hi,
    }
    return pl.DataFrame(columns).filter(pl.Series(held))


def _user_interval(points: Binned, users: np.ndarray, draws: int, seed: int, level: float) -> tuple[Floats, Floats]:
    ids, codes = np.unique(users, return_inverse=True)
    if len(codes) * points.copies != len(points.index):
        raise InputError(f"users: {len(codes)} for {len(points.index) // points.copies} comparisons; align the rows")
    cell = np.tile(codes, points.copies) * points.n_bins + points.index
    shape, cells = (len(ids), points.n_bins), len(ids) * points.n_bins
    outcome = np.bincount(cell, points.weight * points.observed, minlength=cells).reshape(shape)
    weight = np.bincount(cell, points.weight, minlength=cells).reshape(shape)
    drawn = cluster_draws(outcome, weight, draws=draws, seed=seed)
    return interval(drawn, level, n_users=(weight > 0).sum(axis=0))


def wilson(successes: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson (1927) interval of a proportion; n may be an effective number. NaN where n = 0.

    successes    number of successes
    n            number of trials
    level        coverage of the interval, in (0, 1)
    """
    successes, n = floats(successes), floats(n)
    z2 = norm.ppf(0.5 + level / 2) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        share = successes / n
        centre = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2) / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    return centre - half, centre + half


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else float("nan")
