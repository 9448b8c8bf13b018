"""Many tests by one set of permutations: how often chance alone has something as striking anywhere among them."""

import numpy as np
from numpy.typing import ArrayLike

from plurality.analyses.inference.bootstrap import Floats
from plurality.arrays import floats
from plurality.errors import InputError


def single_step(observed: ArrayLike, null: ArrayLike, *, two_sided: bool = True) -> Floats:
    """p-values (T,) corrected for the search: p_t = (1 + #{max_s z*_s ≥ z_t}) / (1 + P), z in sd of permutations.

    z = (x − mean) / sd by the mean and sd of the statistic over permutations and the data, its size if `two_sided`.
    Under permutations that exchange all tests at once, the chance that any of T true nulls is below α is at most α. NaN
    where a statistic is, and where it never varies. Raises InputError for shapes that do not match. Source: Westfall &
    Young (1993), single-step maxT.

    observed     (T,) statistics
    null         (P, T) the same under P permutations
    two_sided    whether small values are as striking as large ones

    >>> single_step([5.0, 0.1], [[1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]]).tolist()
    [0.25, 1.0]
    """
    x, draws = floats(observed), floats(null)
    if x.ndim != 1 or draws.ndim != 2 or draws.shape[1] != len(x) or not len(draws):
        raise InputError(f"single_step: {x.shape} statistics and {draws.shape} of permutations; give (T,) and (P, T)")
    every = np.concatenate([x[None], draws])  # the data among them, or they would not be exchangeable
    mean, sd = every.mean(axis=0), every.std(axis=0)
    usable = np.isfinite(x) & (sd > 0)
    p = np.full(len(x), np.nan)
    if usable.any():
        z = (every[:, usable] - mean[usable]) / sd[usable]
        z = np.abs(z) if two_sided else z
        p[usable] = (z.max(axis=1)[:, None] >= z[0] - 1e-12).mean(axis=0)
    return p
