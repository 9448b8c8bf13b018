"""What the coefficients of groups have in common: shrinkage to the population, and whether they differ at all."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.stats import f as fisher
from scipy.stats import false_discovery_control

from plurality.analyses.inference.bootstrap import Floats
from plurality.arrays import floats
from plurality.errors import InputError

Structure = Literal["auto", "diagonal", "full"]

_STEPS = 1000
_SINGULAR = 1e-9  # smallest eigenvalue of a correlation
_UNKNOWN = 1e8  # variance of an estimate that is missing, over the largest there is


@dataclass(frozen=True)
class Pooled:
    """Shrunk coefficients (G, F) with their covariance (G, F, F), the population's mean (F,) and spread T (F, F)."""

    value: Floats
    covariance: Floats
    mean: Floats
    between: Floats


def pool(
    estimates: ArrayLike,
    covariance: ArrayLike,
    structure: Structure = "auto",
    *,
    n_users: ArrayLike | None = None,
) -> Pooled:
    """Empirical Bayes of b_g ~ N(β_g, V_g), β_g ~ N(μ, T): E[β_g | b] = μ̂ + T (T + V_g)⁻¹ (b_g − μ̂).

    `estimates` (G, F), `covariance` V (G, F, F). T maximises the restricted likelihood; `structure` says whether
    its off-diagonal is 0, and "auto" makes it full from 3 F groups on. The covariance given back takes T as known
    and μ as estimated. V taken from the `n_users` (G,) of a group is as uncertain as they are few, and singular below
    F + 1 of them: its correlations are then shrunk to 0 by the factor (n − 1)/(n + F). An estimate that is NaN
    carries no information and stays NaN; with fewer than two known groups a feature stays as it is. Raises
    InputError for shapes that do not match, and for a singular V without `n_users`.
    """
    b, v = floats(estimates), floats(covariance)
    if b.ndim != 2 or v.shape != (*b.shape, b.shape[1]):
        raise InputError(f"pool: estimates {b.shape} and covariance {v.shape}; give (G, F) and (G, F, F)")
    if structure not in ("auto", "diagonal", "full"):
        raise InputError(f'structure: {structure!r}; use "auto", "diagonal" or "full"')
    known = np.isfinite(b) & (np.diagonal(v, axis1=1, axis2=2) > 0)
    v = _regular(v, known, None if n_users is None else floats(n_users))
    shared = known.sum(axis=0) >= 2
    value, error = np.where(known, b, np.nan), np.where(known[:, :, None] & known[:, None, :], v, np.nan)
    mean, between = np.full(b.shape[1], np.nan), np.full(v.shape[1:], np.nan)
    rows = known[:, shared].any(axis=1)
    if shared.any():
        full = structure == "full" or (structure == "auto" and rows.sum() >= 3 * shared.sum())
        cell = np.ix_(rows, shared)
        square = np.ix_(rows, shared, shared)
        found = _pool(b[cell], v[square], known[cell], full)
        value[cell] = np.where(known[cell], found.value, np.nan)
        both = known[cell][:, :, None] & known[cell][:, None, :]
        error[square] = np.where(both, found.covariance, np.nan)
        mean[shared], between[np.ix_(shared, shared)] = found.mean, found.between
    return Pooled(value, error, mean, between)


def _regular(v: Floats, known: NDArray[np.bool_], n_users: Floats | None) -> Floats:
    """Covariances (G, F, F) that can be inverted among what is known; rank-deficient ones would claim certainty."""
    unit = np.eye(v.shape[1])
    if n_users is not None:
        keep = np.maximum(n_users - 1, 0) / (n_users + v.shape[1])
        return v * np.where(unit > 0, 1.0, keep[:, None, None])
    scale = np.sqrt(np.where(known, np.diagonal(v, axis1=1, axis2=2), 1.0))
    correlation = np.where(known[:, :, None] & known[:, None, :], v / (scale[:, :, None] * scale[:, None, :]), unit)
    least = np.linalg.eigvalsh(correlation).min(axis=1, initial=1.0)
    bad = np.flatnonzero(~(least > _SINGULAR))
    if len(bad):
        raise InputError(f"pool: the covariance of group {bad[0]} is singular; give n_users, or a group of more people")
    return v


def _pool(b: Floats, v: Floats, known: NDArray[np.bool_], full: bool) -> Pooled:
    scale = np.sqrt(np.nanmax(np.where(known, np.diagonal(v, axis1=1, axis2=2), np.nan), axis=0))
    both = known[:, :, None] & known[:, None, :]
    b, unit = np.where(known, b / scale, 0.0), np.eye(b.shape[1])
    v = np.where(both, v / (scale[:, None] * scale), _UNKNOWN * unit)
    count = known.sum(axis=0)
    middle = np.where(known, b, 0).sum(axis=0) / count
    start = np.sqrt((np.where(known, b - middle, 0) ** 2).sum(axis=0) / (count - 1) + 1e-6)
    between = _between(b, v, np.diag(start), full)
    precision, mean, spread = _centre(b, v, between)
    keep = between @ precision  # T (T + V)⁻¹
    value = mean + np.einsum("gfh,gh->gf", keep, b - mean)
    left = unit - keep
    covariance = between - keep @ between + left @ spread @ np.swapaxes(left, 1, 2)
    square = scale[:, None] * scale
    return Pooled(value * scale, covariance * square, mean * scale, between * square)


def _centre(b: Floats, v: Floats, between: Floats) -> tuple[Floats, Floats, Floats]:
    """(V_g + T)⁻¹ (G, F, F), the mean that they weigh (F,), and its covariance (F, F)."""
    precision = floats(np.linalg.inv(v + between))
    spread = np.asarray(np.linalg.inv(precision.sum(axis=0)), dtype=float)
    mean: Floats = spread @ np.einsum("gfh,gh->f", precision, b)
    return precision, mean, spread


def _between(b: Floats, v: Floats, start: Floats, full: bool) -> Floats:
    """T = C Cᵀ (F, F) at the largest restricted likelihood; C lower triangular, or diagonal.

    With A = Σ_g (Ω_g − Ω_g M Ω_g), Ω_g = (V_g + T)⁻¹, M the covariance of μ̂, and B = Σ_g r_g r_gᵀ, r_g = Ω_g (b_g − μ̂),
    the derivative of −log L by C is (A − B) C. C may lose rank and turn, where T itself would be stuck.
    """
    place = np.tril_indices(len(start)) if full else np.diag_indices(len(start))

    def loss(free: Floats) -> tuple[float, Floats]:
        root = np.zeros(start.shape)
        root[place] = free
        precision, mean, spread = _centre(b, v, root @ root.T)
        residual = np.einsum("gfh,gh->gf", precision, b - mean)
        size = -np.linalg.slogdet(precision)[1].sum() - np.linalg.slogdet(spread)[1]
        value = (size + (residual * (b - mean)).sum()) / 2
        trace = (precision - precision @ spread @ precision).sum(axis=0)
        return float(value), ((trace - residual.T @ residual) @ root)[place]

    found = minimize(loss, start[place], jac=True, method="BFGS", options={"gtol": 1e-8, "maxiter": _STEPS})
    root = np.zeros(start.shape)
    root[place] = found.x
    return root @ root.T


@dataclass(frozen=True)
class Homogeneity:
    """Per feature (F,): Cochran's Q, p of equal coefficients, the number of groups compared."""

    q: Floats
    p: Floats
    n_groups: NDArray[np.intp]


def homogeneity(estimates: ArrayLike, errors: ArrayLike, n_users: ArrayLike) -> Homogeneity:
    """Are the coefficients of G groups equal? Per feature, Q = Σ_g (b_g − b̄)²/se_g², b̄ weighed by 1/se_g².

    `estimates` and `errors` (G, F), `n_users` (G,). The errors are estimated from few users each, so p is not
    that of χ² with G − 1 degrees of freedom but of Welch's (1951) F for n_users − 1 of them; with many users both
    are one. Groups without an estimate or error are left out; fewer than two give NaN.
    """
    b, s = floats(estimates), floats(errors)
    freedom = np.broadcast_to(floats(n_users)[:, None] - 1, b.shape)
    known = np.isfinite(b) & (s > 0) & np.isfinite(s) & (freedom > 0)
    k = known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(known, s, np.inf) ** -2.0
        value = np.where(known, b, 0.0)
        share = weight / weight.sum(axis=0)
        q = (weight * (value - (share * value).sum(axis=0)) ** 2).sum(axis=0)
        slack = (np.where(known, (1 - share) ** 2, 0) / np.where(known, freedom, 1)).sum(axis=0)
        ratio = q / (k - 1) / (1 + 2 * (k - 2) / (k**2 - 1) * slack)
        p = fisher.sf(ratio, k - 1, (k**2 - 1) / (3 * slack))
    return Homogeneity(np.where(k > 1, q, np.nan), np.where(k > 1, p, np.nan), k)


def adjusted(p: ArrayLike) -> Floats:
    """p-values of any shape as q-values of one family, by Benjamini & Hochberg (1995); NaN stay NaN."""
    table = np.array(p, dtype=float)
    known = np.isfinite(table)
    if known.any():
        table[known] = false_discovery_control(table[known])
    return table
