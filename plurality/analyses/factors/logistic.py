"""Logistic regressions of preferences on differences of features, of many groups at once, users the unit.

A comparison can be written down twice, (x, y) and (−x, 1 − y). Both have the same likelihood under
P(first preferred) = σ(⟨x, β⟩), and together they have no intercept: so there is none here, and it does not
matter which response stands first.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import expit

from plurality.analyses.factors.inputs import Ints, Rows, grouped_rows
from plurality.analyses.inference.bootstrap import Floats
from plurality.errors import InputError

Correction = Literal["CR1", "CR3"]

_ENTRIES = 4_000_000  # products of two features held at once
_STEPS = 60
_FLAT = 1e-7  # curvature, as a share of that at 0, below which an estimate has run away
_SINGULAR = 1e-9
FITTED, EMPTY, ONE_USER, TIED = "", "no comparisons", "one user", "all ties"
STILL, COLLINEAR = "no feature differs for two users", "collinear features: leave one out"
SEPARABLE = "separable: give ridge > 0"


@dataclass(frozen=True)
class GroupFits:
    """Coefficients (G, F) in log-odds per unit of x, covariance (G, F, F) with users as units, users (G,).

    `why` (G,) says why a group has no estimate, or is empty; what is not estimated is NaN. `used` (G, F):
    whether the feature differs in comparisons of at least two users, without which it is left out.
    """

    coefficient: Floats
    covariance: Floats
    n_users: Ints
    used: NDArray[np.bool_]
    why: tuple[str, ...]

    @property
    def error(self) -> Floats:
        """Standard errors (G, F)."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))


def fit_groups(
    x: ArrayLike,
    y: ArrayLike,
    user: ArrayLike,
    group: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    n_groups: int | None = None,
    ridge: float = 0.0,
    correction: Correction = "CR3",
) -> GroupFits:
    """Maximise Σ_i w_i [y_i log σ(⟨x_i, β_g⟩) + (1 − y_i) log σ(−⟨x_i, β_g⟩)] − ridge·|β_g|²/2 in every group g.

    `x` (n, F) are differences first − second, `y` (n,) in [0, 1], `user` (n,) labels of any kind, `group` (n,) codes
    from 0, negative for rows of no group. All groups take Newton's steps together, on sums. The covariance is
    the sandwich of Liang & Zeger (1986) with users as clusters: H⁻¹ (Σ_u s_u s_uᵀ) H⁻¹ · U/(U − 1) as "CR1";
    "CR3" takes (H − H_u)⁻¹ s_u and (U − 1)/U instead, one step of the jackknife over users, which few users
    need. Data that features separate have no finite estimate without a ridge: NaN, and `why` says so. Raises
    InputError for rows that are no comparisons.
    """
    rows = grouped_rows(x, y, user, group, weights, n_groups)
    if not (np.isfinite(ridge) and ridge >= 0):
        raise InputError(f"ridge: {ridge}; give a finite number >= 0")
    if correction not in ("CR1", "CR3"):
        raise InputError(f'correction: {correction!r}; use "CR1" or "CR3"')
    return _fit(_Rows(rows), ridge, correction)


class _Rows:
    """Rows with `cell` (n,), which numbers the users within each group, and their groups, `home` (K,)."""

    def __init__(self, rows: Rows) -> None:
        self.x, self.y, self.w, self.group, self.n_groups = rows.x, rows.y, rows.w, rows.group, rows.n_groups
        span = int(rows.user.max(initial=0)) + 1
        pairs, self.cell = np.unique(rows.group.astype(np.int64) * span + rows.user, return_inverse=True)
        self.home = pairs // span
        self.n_users = np.bincount(self.home, minlength=rows.n_groups)

    def used(self) -> NDArray[np.bool_]:
        """(G, F): whether at least two users of the group saw the feature differ."""
        moved = sums(self.cell, self.w, self.x**2, len(self.home)) > 0
        return sums(self.home, np.ones(len(self.home)), moved.astype(float), self.n_groups) >= 2


def sums(code: Ints, weight: Floats, values: Floats, n: int) -> Floats:
    """Weighted sums of values (m, K) per code, (n, K)."""
    matrix = sparse.csr_array((weight, (code, np.arange(len(code)))), shape=(n, len(code)))
    return np.asarray(matrix @ values)


def outer_sums(code: Ints, weight: Floats, x: Floats, n: int) -> Floats:
    """Weighted sums of x xᵀ per code, (n, F, F), in blocks of bounded memory."""
    width = x.shape[1]
    i, j = np.triu_indices(width)
    packed = np.zeros((n, len(i)))
    size = max(1, _ENTRIES // max(len(i), 1))
    for at in range(0, len(x), size):
        part = slice(at, at + size)
        packed += sums(code[part], weight[part], x[part][:, i] * x[part][:, j], n)
    full = np.empty((n, width, width))
    full[:, i, j] = full[:, j, i] = packed
    return full


def _fit(rows: _Rows, ridge: float, correction: Correction) -> GroupFits:
    n, width = rows.n_groups, rows.x.shape[1]
    used = rows.used()
    start = _bread(outer_sums(rows.group, rows.w / 4, rows.x, n), used, ridge)
    why = np.full(n, FITTED, dtype=object)
    why[_smallest_correlation(start) < _SINGULAR] = COLLINEAR
    why[~used.any(axis=1)] = STILL
    why[np.bincount(rows.group, rows.y != 0.5, minlength=n) == 0] = TIED  # all coefficients would be 0 without error
    why[rows.n_users == 1] = ONE_USER
    why[rows.n_users == 0] = EMPTY
    beta, bread, why = _newton(rows, used, start, why, ridge)
    covariance = _covariance(rows, beta, bread, used, correction)
    bad = why != FITTED
    beta = np.where(used & ~bad[:, None], beta, np.nan)
    known = np.isfinite(beta)
    covariance = np.where(known[:, :, None] & known[:, None, :], covariance, np.nan)
    return GroupFits(beta.reshape(n, width), covariance, rows.n_users, used, tuple(why.tolist()))


def _bread(hessian: Floats, used: NDArray[np.bool_], ridge: float) -> Floats:
    """Curvature (G, F, F) with the unit matrix in the place of features that are left out, so that they stay 0."""
    both = used[:, :, None] & used[:, None, :]
    diagonal = np.eye(hessian.shape[1])
    return np.where(both, hessian + ridge * diagonal, diagonal)


def _smallest_correlation(matrix: Floats) -> Floats:
    """Smallest eigenvalue (G,) of matrices (G, F, F) scaled to a diagonal of ones."""
    scale = np.sqrt(np.diagonal(matrix, axis1=1, axis2=2))
    return np.linalg.eigvalsh(matrix / (scale[:, :, None] * scale[:, None, :]))[:, 0]


def _newton(
    rows: _Rows, used: NDArray[np.bool_], start: Floats, why: NDArray[np.object_], ridge: float
) -> tuple[Floats, Floats, NDArray[np.object_]]:
    """Coefficients, curvature at them, and the groups whose estimate runs away to infinity."""
    n, width = used.shape
    beta, step, bread = np.zeros((n, width)), np.zeros((n, width)), start.copy()
    value, active, why = np.full(n, -np.inf), why == FITTED, why.copy()
    root = np.linalg.cholesky(np.where(active[:, None, None], start, np.eye(width)))
    for _ in range(_STEPS):
        if not active.any():
            break
        row = active[rows.group]
        x, y, w, group = rows.x[row], rows.y[row], rows.w[row], rows.group[row]
        trial = beta + step
        gap = np.einsum("nf,nf->n", x, trial[group])
        p = expit(gap)
        loss = w * (np.logaddexp(0, gap) - y * gap)
        new = -np.bincount(group, loss, minlength=n) - ridge / 2 * (trial**2).sum(axis=1)
        gradient = np.where(used, sums(group, w * (y - p), x, n) - ridge * trial, 0.0)
        curve = _bread(outer_sums(group, w * p * (1 - p), x, n), used, ridge)
        # a step too far is halved until the likelihood no longer falls
        better = active & (new >= value - 1e-12 * np.abs(value) - 1e-300)
        beta, value = np.where(better[:, None], trial, beta), np.where(better, new, value)
        bread = np.where(better[:, None, None], curve, bread)
        flat = better & (_relative(curve, root) < _FLAT)
        why[flat] = SEPARABLE
        active &= ~flat
        step = step / 2
        take = better & active
        if take.any():
            step[take] = np.linalg.solve(curve[take], gradient[take][:, :, None])[:, :, 0]
        size = np.sqrt(np.einsum("gf,gfh,gh->g", step, bread, step))  # in standard errors
        active &= ~(size < 1e-9)
    why[active] = SEPARABLE
    return beta, bread, why


def _relative(matrix: Floats, root: Floats) -> Floats:
    """Smallest eigenvalue (G,) of matrices relative to those whose Cholesky factors are given."""
    left = np.linalg.solve(root, matrix)
    both = np.linalg.solve(root, np.swapaxes(left, 1, 2))
    return np.asarray(np.linalg.eigvalsh((both + np.swapaxes(both, 1, 2)) / 2)[:, 0], dtype=float)


def _covariance(rows: _Rows, beta: Floats, bread: Floats, used: NDArray[np.bool_], correction: Correction) -> Floats:
    """Sandwich (G, F, F) of the scores of users; NaN where it cannot be inverted or one user is all."""
    p = expit(np.einsum("nf,nf->n", rows.x, beta[rows.group]))
    home, users = rows.home, rows.n_users[:, None, None].astype(float)
    score = np.where(used[home], sums(rows.cell, rows.w * (rows.y - p), rows.x, len(home)), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        if correction == "CR1":
            meat = outer_sums(home, np.ones(len(home)), score, rows.n_groups)
            inverse = _inverse(bread)
            return inverse @ meat @ inverse * np.where(users > 1, users / (users - 1), np.nan)
        own = outer_sums(rows.cell, rows.w * p * (1 - p), rows.x, len(home))
        both = used[home][:, :, None] & used[home][:, None, :]
        shift = np.einsum("kfh,kh->kf", _inverse(bread[home] - np.where(both, own, 0.0)), score)
        unknown = ~np.isfinite(shift).all(axis=1)
        total = outer_sums(home, np.ones(len(home)), np.where(unknown[:, None], 0.0, shift), rows.n_groups)
        lost = np.bincount(home, unknown, minlength=rows.n_groups) > 0
        total = total * np.where(users > 1, (users - 1) / users, np.nan)
        return np.where(lost[:, None, None], np.nan, total)


def _inverse(matrix: Floats) -> Floats:
    """Inverses (K, F, F) of symmetric matrices; NaN where one is singular."""
    flat = np.isfinite(matrix).reshape(len(matrix), matrix.shape[1] ** 2)
    good: NDArray[np.bool_] = np.logical_and(flat.all(axis=1), (np.diagonal(matrix, axis1=1, axis2=2) > 0).all(axis=1))
    safe = np.where(good[:, None, None], matrix, np.eye(matrix.shape[1]))
    good &= _smallest_correlation(safe) > _SINGULAR
    safe = np.where(good[:, None, None], safe, np.eye(matrix.shape[1]))
    return np.where(good[:, None, None], np.linalg.inv(safe), np.nan)
