"""Are the views that people hold on a prompt among the responses they get? Overton coverage."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plurality.analyses.agreement.agreement import codes_of
from plurality.analyses.agreement.pluralism import checked_weights, summed_draws
from plurality.analyses.inference.bootstrap import Floats, interval
from plurality.arrays import floats
from plurality.deprecation import renamed
from plurality.errors import InputError

_TIE = 1e-12  # a share this near to the threshold meets it


@dataclass(frozen=True)
class Overton:
    """Overton coverage with its interval, and what was counted; all NaN without rows of positive weight.

    coverage            covered share of cells (a viewpoint on a prompt) by their people, in [0, 1]
    lo, hi              ends of its interval over users
    unweighted          covered share of cells, each cell alike
    n_cells, n_users    cells and users with positive weight
    """

    coverage: float
    lo: float
    hi: float
    unweighted: float
    n_cells: int
    n_users: int


@renamed(draws="n_bootstrap")
def overton(
    user: ArrayLike,
    cell: ArrayLike,
    response: ArrayLike,
    accepts: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    threshold: float = 0.5,
    n_bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Overton:
    """Overton coverage Σ_c m_c 1[max_r a_cr ≥ threshold] / Σ_c m_c: views that some selected response serves.

    A row (n,) says how far (0 to 1) a user of a cell, one viewpoint on one prompt, accepts one of the responses that
    were selected for it. a_cr is the weighted mean of a cell's rows on response r, m_c the people of the cell, each by
    the most weight he has on one response of it. With few people a cell the maximum, and so the coverage, is biased
    upwards. Users are resampled. NaN without rows; InputError names a bad row. After the Overton pluralism of Sorensen
    et al. (2024).

    user           (n,) labels of users
    cell           (n,) labels of cells: one viewpoint on one prompt
    response       (n,) labels of the responses that were selected for the prompt
    accepts        (n,) how far the user accepts the response, from 0 to 1
    weights        (n,) non-negative weights of rows; equal by default
    threshold      mean acceptance from which on a response serves a cell, in (0, 1]; by default half
    n_bootstrap    resamples of users behind the interval, at least 1
    seed           makes the result the same again
    level          coverage of the interval, in (0, 1)
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold: {threshold}; give an acceptance in (0, 1], such as .5")
    y = floats(accepts)
    bad = np.flatnonzero(~((y >= 0) & (y <= 1)))
    if y.ndim != 1 or len(bad):
        raise InputError(f"accepts: shape {y.shape}, row {bad[:1].tolist()} is not in [0, 1]; give acceptance a row")
    w = checked_weights(weights, len(y), "row")
    codes = codes_of(len(y), (("user", user), ("cell", cell), ("response", response)))
    held = w > 0
    w, y = w[held], y[held]
    # numbered anew, so that people and cells without weight are no part of it
    people, cells, responses = (np.unique(code[held], return_inverse=True)[1] for code in codes)
    if not len(people):
        nan = float("nan")
        return Overton(nan, nan, nan, nan, 0, 0)
    n_users, n_cells, many = (int(code.max()) + 1 for code in (people, cells, responses))
    pairs, pair = np.unique(cells * many + responses, return_inverse=True)  # cell by cell
    start, k = np.flatnonzero(np.diff(pairs // many, prepend=-1)), len(pairs)
    seen, at = np.unique(people * k + pair, return_inverse=True)  # a person's cells lie together too
    member = seen // k * n_cells + (pairs // many)[seen % k]
    first = np.flatnonzero(np.diff(member, prepend=-1))
    mass = np.maximum.reduceat(np.bincount(at, w), first)

    def covered(sums: Floats) -> tuple[Floats, Floats]:
        rate = sums[:, :k] / np.where(sums[:, k : 2 * k] > 0, sums[:, k : 2 * k], np.inf)
        met, size = np.maximum.reduceat(rate, start, axis=1) >= threshold - _TIE, sums[:, 2 * k :]
        return (met * size).sum(axis=1) / size.sum(axis=1), met.mean(axis=1)

    place = np.concatenate([pair, pair + k, member[first] % n_cells + 2 * k])
    value, total = np.concatenate([w * y, w, mass]), 2 * k + n_cells
    estimate, unweighted = covered(np.bincount(place, value, minlength=total)[None].astype(float))
    blocks = summed_draws(
        np.concatenate([people, people, member[first] // n_cells]), place, value, total, n_bootstrap, seed
    )
    lo, hi = interval(np.concatenate([covered(sums)[0] for sums in blocks]), level, n_users=n_users)
    return Overton(float(estimate[0]), float(lo), float(hi), float(unweighted[0]), n_cells, n_users)
