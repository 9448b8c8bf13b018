"""Kendall's tau-b between the difference in a feature and the preference, per group, resampled by users.

A comparison counts as written down both ways, (d, y) and (−d, 1 − y), so it does not matter which response
stands first. Two comparisons i (decided) and j then agree by the sign s_i of the larger of |d_i| and |d_j|, and
the sum over all pairs is Wilcoxon's signed-rank statistic: S = 2 Σ_i w_i s_i R_i, where s_i is the sign of d
seen from the preferred response, and R_i the mid-rank of |d_i| with ties of the label weighing twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from plurality.analyses.factors.inputs import Ints, Rows, grouped_rows
from plurality.analyses.inference.bootstrap import Floats, count_blocks, interval
from plurality.arrays import floats
from plurality.errors import InputError

_ENTRIES = 250_000  # blocks of ties x draws held at once, few enough for a processor's cache
LABELS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Scores:
    """tau-b of G groups and F features, with its interval over users.

    tau       (G, F), in [−1, 1]
    lo, hi    (G, F) ends of the interval; NaN for one user, or without draws
    """

    tau: Floats
    lo: Floats
    hi: Floats


def tau_b(x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Kendall's tau-b (F,) of differences x (n, F) with labels y (n,), each comparison written down both ways.

    τ_b = S / √((N² − Σ m²)(N² − Σ m'²)/4), with m and m' the weights of tied values of d and of y and N their
    total. Labels are 0, ½ or 1; others raise InputError. NaN where no label is decided, or the feature never
    differs.

    x          (n, F) differences of features, first − second, in any unit: only their order counts
    y          (n,) labels: 1 if the first is preferred, 0 if the second, ½ for a tie
    weights    (n,) non-negative frequencies; equal by default

    >>> from plurality.analyses.factors import tau_b
    >>> tau_b([[1.0], [2.0], [-1.0], [0.5]], [1, 1, 0, 0]).round(3).tolist()
    [0.686]
    """
    user = np.zeros(len(np.asarray(y)), np.intp)
    return group_scores(x, y, user, weights=weights, n_groups=1, draws=0).tau[0]


def group_scores(
    x: ArrayLike,
    y: ArrayLike,
    user: ArrayLike,
    group: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    n_groups: int | None = None,
    draws: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> Scores:
    """`tau_b` of every group, with percentile intervals by drawing users with replacement.

    `x` (n, F), `y` (n,), `user` (n,) labels of any kind, `group` (n,) codes from 0, negative for rows of no group.
    A group of one user has the interval NaN, and so have all with `draws` of 0. Raises InputError for labels other
    than 0, ½ and 1 and for rows that are no comparisons.

    weights     (n,) non-negative frequencies; equal by default
    n_groups    number of groups G; the largest code + 1 by default
    draws       resamples of users behind the intervals; 0 gives none
    seed        of the resamples
    level       coverage of the intervals, in (0, 1)
    """
    rows = grouped_rows(x, y, user, group, weights, n_groups)
    label = floats(y)
    odd = np.flatnonzero(~np.isin(label, LABELS))
    if len(odd):
        raise InputError(f"y: row {odd[0]} is {label[odd[0]]}; tau needs labels of 0, 0.5 or 1, so round them")
    tau, lo, hi = (np.full((rows.n_groups, rows.x.shape[1]), np.nan) for _ in range(3))
    if not len(rows.y):
        return Scores(tau, lo, hi)
    cells = _Cells(rows)
    for k in range(rows.x.shape[1]):
        ranked = _Ranked(cells, rows.x[:, k])
        tau[:, k] = ranked.tau(np.ones((cells.people, 1)))[:, 0]
        drawn = [ranked.tau(counts).T for counts in _counts(cells.people, draws, seed, ranked.height)]
        if drawn:
            lo[:, k], hi[:, k] = interval(np.concatenate(drawn), level, n_users=cells.n_users)
    return Scores(tau, lo, hi)


def _counts(n_users: int, draws: int, seed: int, height: int) -> Iterator[Floats]:
    """Counts of users (U, draws), so many draws at a time as memory bears."""
    if draws:
        size = max(1, _ENTRIES // max(height, n_users))
        for block in count_blocks(n_users, draws, seed, entries=size * n_users):
            yield block.T.astype(np.float64)


def _sparse(values: Floats, row: Ints, column: Ints, shape: tuple[int, int]) -> sparse.csr_array:
    return sparse.coo_array((values, (row, column)), shape=shape).tocsr()


class _Cells:
    """Rows of positive weight (n,), and their cells (K,): the users of each group.

    `user` (K,) is the user of a cell; sparse (G, K): `group` sums cells, `decided` and `tied` their weights.
    """

    def __init__(self, rows: Rows) -> None:
        self.y, self.w, self.of_row, self.n_groups = y, w, _, n_groups = rows.y, rows.w, rows.group, rows.n_groups
        self.people = int(rows.user.max()) + 1
        pairs, self.cell = np.unique(rows.group.astype(np.int64) * self.people + rows.user, return_inverse=True)
        home, self.user = pairs // self.people, pairs % self.people
        self.n_users = np.bincount(home, minlength=n_groups)
        shape, place = (n_groups, len(pairs)), np.arange(len(pairs))
        self.group = _sparse(np.ones(len(pairs)), home, place, shape)
        half = np.bincount(self.cell, np.where(y == 0.5, w, 0), minlength=len(pairs)).astype(float)
        self.tied = _sparse(half, home, place, shape)
        self.decided = _sparse(np.bincount(self.cell, w, minlength=len(pairs)).astype(float) - half, home, place, shape)


class _Ranked:
    """One feature: blocks of equal |d| within each group, ascending; sums per block (B) and cell (K), sparse.

    `rank` (B, K): weights, those of tied labels twice. `signed` (K, B): weights with the sign of d seen from the
    preferred response. Σ m² of the values of d needs the blocks that several cells share, `shared` (S, K), and
    for all others no more than `alone` (G, K), sums of squares.
    """

    def __init__(self, cells: _Cells, d: Floats) -> None:
        self.cells = cells
        size = np.abs(d)
        order = np.lexsort((size, cells.of_row))
        g, m = cells.of_row[order], size[order]
        new = np.append(True, (g[1:] != g[:-1]) | (m[1:] != m[:-1]))
        block = np.empty(len(order), np.intp)
        block[order] = np.cumsum(new) - 1
        owner, zero = g[new], m[new] == 0
        self.height, width = len(owner), len(cells.user)
        shape = (self.height, width)
        self.rank = _sparse(np.where(cells.y == 0.5, 2, 1) * cells.w, block, cells.cell, shape)
        sign = cells.w * np.sign(d) * (2 * cells.y - 1)
        self.signed = _sparse(sign, cells.cell, block, (width, self.height))
        mass = _sparse(cells.w, block, cells.cell, shape)
        several = np.diff(mass.indptr) > 1
        self.shared = mass[np.flatnonzero(several)]
        self.double = np.where(zero, 2.0, 1.0)  # the blocks at +|d| and −|d| are one at 0
        self.shared_owner = _sparse(
            self.double[several], owner[several], np.arange(several.sum()), (cells.n_groups, int(several.sum()))
        )
        single = mass.tocoo()
        mine = ~several[single.row]
        squares = self.double[single.row[mine]] * single.data[mine] ** 2
        self.alone = _sparse(squares, owner[single.row[mine]], single.col[mine], (cells.n_groups, width))
        self.starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
        self.owner = owner[self.starts]

    def tau(self, counts: Floats) -> Floats:
        """tau-b (G, draws) for counts of users (U, draws)."""
        cells = self.cells
        drawn = counts[cells.user]
        rank = self.rank @ drawn
        before = np.zeros((cells.n_groups, counts.shape[1]))
        middle = np.cumsum(rank, axis=0)
        before[self.owner] = middle[self.starts] - rank[self.starts]  # ranks begin anew in each group
        rank *= 0.5
        middle -= rank
        own = drawn * (self.signed @ middle)
        total_sign = cells.group @ (drawn * np.asarray(self.signed.sum(axis=1)).reshape(-1, 1))
        score = 2 * (cells.group @ own - before * total_sign)
        decided, tied = cells.decided @ drawn, cells.tied @ drawn
        labels = decided**2 + 4 * decided * tied  # half of N² − Σ m'²
        total = decided + tied
        values = 2 * total**2 - self.alone @ drawn**2 - self.shared_owner @ (self.shared @ drawn) ** 2
        good = (labels > 0) & (values > 1e-12 * total**2)
        return np.where(good, score / np.sqrt(np.where(good, values * labels, 1.0)), np.nan)
