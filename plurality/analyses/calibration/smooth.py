"""Smooth calibration error: the gap between stated and observed probability, blurred instead of binned.

r_s(t) = Σ_i w_i K_s(t, p_i) (y_i − p_i) / Σ w, with K_s a Gaussian of standard deviation s whose tails are
reflected at 0 and 1, and smECE_s = ∫₀¹ |r_s(t)| dt. It falls as s grows, so s = smECE_s has one solution:
the error that needs no bandwidth (Błasiok & Nakkiran 2023).
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import dct
from scipy.optimize import brentq

from plurality.analyses.calibration.binning import Binned, Floats, Orientation, bin_points
from plurality.errors import InputError

CELLS = 2**14  # of the grid on [0, 1]; the error stays below one cell, 6e-5


def smooth_ece(
    p: ArrayLike, y: ArrayLike, *, orientation: Orientation = "symmetrised", weights: ArrayLike | None = None
) -> float:
    """Smooth calibration error s* = smECE_{s*} of p (n,) against labels y (n,), in probability.

    Symmetrised is the natural order of writing: folded residuals would be blurred past .5, where no
    confidence lies. Like any error of a finite sample it is above 0 for a calibrated model: set it beside
    `smooth_ece_null`. NaN without rows or weight; bad rows raise InputError.

    orientation    "folded" to the side the model favours, "symmetrised" both ways round, or "presented" as stored
    weights        (n,) frequencies; equal by default
    """
    points = _oriented(p, y, weights, orientation)
    return _fixed_point(_residuals(points, points.observed - points.predicted, orientation))


def smooth_ece_at(
    p: ArrayLike,
    y: ArrayLike,
    width: float,
    *,
    orientation: Orientation = "symmetrised",
    weights: ArrayLike | None = None,
) -> float:
    """smECE_s at the kernel's standard deviation s = `width` ≥ 0, in probability; 0 blurs nothing.

    p              (n,) P(first preferred)
    y              (n,) labels in [0, 1]
    orientation    "folded" to the side the model favours, "symmetrised" both ways round, or "presented" as stored
    weights        (n,) frequencies; equal by default
    """
    if not width >= 0:
        raise InputError(f"width: {width}; give a standard deviation >= 0")
    points = _oriented(p, y, weights, orientation)
    return _blurred(_spectrum(_residuals(points, points.observed - points.predicted, orientation)), width)


def smooth_ece_null(
    p: ArrayLike,
    *,
    orientation: Orientation = "symmetrised",
    weights: ArrayLike | None = None,
    draws: int = 100,
    seed: int = 0,
) -> float:
    """Mean smooth ECE of a calibrated model with these p: labels redrawn as y* ~ Bernoulli(p), a row one draw.

    Consistency resampling of Bröcker & Smith (2007); it takes the rows as independent.

    p              (n,) P(first preferred)
    orientation    "folded" to the side the model favours, "symmetrised" both ways round, or "presented" as stored
    weights        (n,) frequencies; equal by default
    draws          simulated data sets, or resamples
    seed           of simulations and resamples
    """
    if draws < 1:
        raise InputError(f"draws: {draws}; give at least one")
    points = _oriented(p, np.full(np.shape(p), 0.5), weights, orientation)
    x, rng = points.predicted, np.random.default_rng(seed)
    tie = points.folded & (x == 0.5)  # a tie of the model has the label .5 whatever is drawn
    found = []
    for _ in range(draws):
        gap = np.where(tie, 0.0, (rng.random(len(x)) < x) - x)
        found.append(_fixed_point(_residuals(points, gap, orientation)))
    return float(np.mean(found))


def _oriented(p: ArrayLike, y: ArrayLike, weights: ArrayLike | None, orientation: Orientation) -> Binned:
    """Points of one bin; symmetrised ones are folded, and mirrored when they are on the grid."""
    return bin_points(p, y, weights, "folded" if orientation == "symmetrised" else orientation, 1, "width")


def _residuals(points: Binned, gap: Floats, orientation: Orientation) -> Floats:
    """Share of the residuals at each grid point (CELLS + 1,), a row split between its two neighbours."""
    total = points.weight.sum()
    if total == 0:
        return np.full(CELLS + 1, np.nan)
    place = points.predicted * CELLS
    below = np.minimum(place.astype(np.int64), CELLS - 1)
    right, mass = place - below, points.weight * gap / total
    grid: Floats = np.bincount(below, mass * (1 - right), minlength=CELLS + 1).astype(float)
    grid += np.bincount(below + 1, mass * right, minlength=CELLS + 1)
    return (grid - grid[::-1]) / 2 if orientation == "symmetrised" else grid


def _spectrum(residuals: Floats) -> Floats:
    """Cosine coefficients Σ_j m_j cos(πkj/CELLS), (CELLS + 1,): reflection at both ends is their symmetry."""
    ends = residuals.copy()
    ends[[0, -1]] *= 2  # the transform counts its ends once and all else twice
    return dct(ends, type=1) / 2


def _blurred(spectrum: Floats, width: float) -> float:
    """∫|r_s| by the trapezoid rule; a reflected Gaussian damps the k-th cosine by exp(−(πks)²/2)."""
    damped = spectrum * np.exp(-((np.pi * np.arange(CELLS + 1) * width) ** 2) / 2)
    height = np.abs(dct(damped, type=1))
    return float((height.sum() - (height[0] + height[-1]) / 2) / CELLS)


def _fixed_point(residuals: Floats) -> float:
    spectrum = _spectrum(residuals)
    start = _blurred(spectrum, 0.0)
    if not start > 1e-14:  # nothing but rounding, or nothing at all (NaN)
        return max(start, 0.0)
    # smECE_s ≤ Σ|residuals| ≤ 1, so the difference changes sign before `start`, up to rounding
    return float(brentq(lambda s: _blurred(spectrum, s) - s, 0.0, start * (1 + 1e-9), xtol=1e-12))
