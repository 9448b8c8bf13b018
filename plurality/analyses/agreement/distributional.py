"""How much of a distributional reward's spread lies between responses, and how much within each."""

import numpy as np
from numpy.typing import ArrayLike

from plurality.analyses.agreement.pluralism import checked_weights, shares
from plurality.analyses.inference.bootstrap import Floats
from plurality.arrays import floats
from plurality.errors import InputError


def dpl_r2(mean: ArrayLike, variance: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Share r² = Var(μ) / (Var(μ) + E σ²) of a distributional reward's spread that lies between responses, ddof 0.

    Chosen and rejected responses are pooled. Low r² points to hidden context; it is no explained variance of people's
    choices. NaN where nothing varies. Raises InputError for a mean that is not finite or a variance below 0.
    Siththaranjan et al. (2023), arXiv 2312.08358.

    mean        (n,) means of the predicted distributions, in the unit of the reward
    variance    (n,) their variances ≥ 0, in that unit squared
    weights     (n,) non-negative weights of responses; equal by default
    """
    mu, spread = floats(mean), floats(variance)
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
    """Mean and variance (n,) of distributions over K values, μ = Σ p_k x_k and Σ p_k (x_k − μ)².

    NaN for a row of zeros. Raises InputError for negative or infinite probabilities, and for atoms that do not fit.

    probabilities    (n, K) probabilities, or totals ≥ 0, which are scaled to one in each row
    atoms            (K,) value of each category, in the unit of the result; evenly spaced from 0 to 1 by default
    """
    p = shares(probabilities)
    x = np.linspace(0, 1, p.shape[-1]) if atoms is None else floats(atoms)
    if x.shape != p.shape[-1:] or not np.isfinite(x).all():
        raise InputError(f"atoms: shape {x.shape} for {p.shape[-1]} categories; give a finite value each")
    mean = p @ x
    return mean, (p * (x - mean[..., None]) ** 2).sum(axis=-1)
