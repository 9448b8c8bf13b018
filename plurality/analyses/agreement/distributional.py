"""How much of a distributional reward's spread lies between responses, and how much within each."""

import numpy as np
from numpy.typing import ArrayLike

from plurality.analyses.agreement.pluralism import checked_weights, shares
from plurality.analyses.inference.bootstrap import Floats
from plurality.errors import InputError


def dpl_r2(mean: ArrayLike, variance: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Share r² = Var(μ) / (Var(μ) + E σ²) of a distributional reward's spread that lies between responses, ddof 0.

    `mean` and `variance` (n,) of the predicted distributions, chosen and rejected responses pooled. Low r² points
    to hidden context; it is no explained variance of people's choices. NaN where nothing varies. Siththaranjan et
    al. (2023), arXiv 2312.08358.
    """
    mu, spread = np.asarray(mean, dtype=float), np.asarray(variance, dtype=float)
    if mu.ndim != 1 or mu.shape != spread.shape:
        raise InputError(f"means {mu.shape}, variances {spread.shape}; give one of each a response")
    w = checked_weights(weights, len(mu), "row")
    bad = np.flatnonzero(~(np.isfinite(mu) & np.isfinite(spread) & (spread >= 0)))
    if len(bad):
        raise InputError(
            f"row {bad[0]}: mean {mu[bad[0]]}, variance {spread[bad[0]]}; give finite ones, the variance >= 0"
        )
    if w.sum() == 0:
        return float("nan")
    between = float(np.average((mu - np.average(mu, weights=w)) ** 2, weights=w))
    total = between + float(np.average(spread, weights=w))
    return between / total if total > 0 else float("nan")


def categorical_moments(probabilities: ArrayLike, atoms: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Mean and variance (n,) of distributions (n, K) over `atoms` (K,), evenly from 0 to 1 unless given."""
    p = shares(probabilities)
    x = np.linspace(0, 1, p.shape[-1]) if atoms is None else np.asarray(atoms, dtype=float)
    if x.shape != p.shape[-1:] or not np.isfinite(x).all():
        raise InputError(f"atoms: shape {x.shape} for {p.shape[-1]} categories; give a finite value each")
    mean = p @ x
    return mean, (p * (x - mean[..., None]) ** 2).sum(axis=-1)
