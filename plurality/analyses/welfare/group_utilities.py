"""Means over the users of each group, every user by the mean over their own prompts, and their intervals."""

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from plurality.analyses.audit.slices import OVERALL
from plurality.analyses.inference.bootstrap import Floats, cluster_draws, interval, per_user_sums
from plurality.analyses.social_choice.candidate_sets import Codes, coded
from plurality.errors import InputError


def group_membership(groups: ArrayLike, n_users: int, weights: ArrayLike | None) -> tuple[tuple[str, ...], Floats]:
    """Names (1 + G,), everybody first, and the weight (U, 1 + G) with which each user counts in each."""
    names, code = coded(groups, "groups")
    w = np.ones(n_users) if weights is None else np.asarray(weights, dtype=float)
    if len(code) != n_users or w.shape != (n_users,):
        raise InputError(f"groups: {len(code)} labels and {w.shape} weights for {n_users} users; give one a user")
    bad = ~(np.isfinite(w) & (w >= 0))
    if bad.any():
        raise InputError(f"weights: row {bad.argmax()} is {w[bad.argmax()]}; give finite weights >= 0")
    single = (code[:, None] == np.arange(len(names))) * w[:, None]
    return (OVERALL[1], *names), np.concatenate([w[:, None], single], axis=1)


def user_means(utility: Floats) -> Floats:
    """Mean over prompts (..., U) of utilities (..., U, P), NaN left out; NaN for a user without any."""
    known = ~np.isnan(utility)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known, utility, 0.0).sum(axis=-1) / known.sum(axis=-1)


def mean_draws(per_user: Floats, member: Floats, *, draws: int, seed: int) -> Floats:
    """Bootstrap draws over users (draws, S, G) of the group means of each row of `per_user` (S, U)."""
    if not per_user.size:
        return np.full((draws, len(per_user), member.shape[1]), np.nan)
    known = ~np.isnan(per_user.T)  # (U, S)
    value = np.where(known, per_user.T, 0.0)
    top = (value[:, :, None] * member[:, None, :]).reshape(len(member), -1)
    bottom = (known[:, :, None] * member[:, None, :]).reshape(len(member), -1)
    return cluster_draws(top, bottom, draws=draws, seed=seed).reshape(draws, len(per_user), member.shape[1])


def group_means(
    per_user: Floats, member: Floats, *, level: float, draws: int, seed: int
) -> tuple[Floats, Floats, Floats]:
    """Mean, lo and hi (S, G) over the users of each group, of utilities (S, U), by resampling users."""
    known = ~np.isnan(per_user)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (np.where(known, per_user, 0.0) @ member) / (known @ member)
    users = known.astype(float) @ (member > 0)
    lo, hi = interval(mean_draws(per_user, member, draws=draws, seed=seed), level, n_users=users)
    return mean, lo, hi


def group_table(groups: tuple[str, ...], code: Codes, value: Floats, people: Floats, count: Floats) -> pl.DataFrame:
    """Mean over users of each group, its standard error and its rank from the worst."""
    table = np.stack([np.ones(len(value)), people, people * value, count], axis=1)
    n_users, mass, total, n_sets = per_user_sums(code, table, n_users=len(groups))[0].T
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / mass
        squares = np.bincount(code, people * (value - mean[code]) ** 2, minlength=len(groups))
        se = np.where(mass > 1, np.sqrt(squares / ((mass - 1) * mass)), np.nan)
    rank = rankdata(np.round(mean, 12), method="min", nan_policy="omit")
    return pl.DataFrame(
        {
            "group": groups,
            "mean": mean,
            "se": se,
            "rank": pl.Series(rank).fill_nan(None).cast(pl.Int64),
            "worst": rank == 1,
            "n_users": n_users.astype(np.int64),
            "n_sets": n_sets.astype(np.int64),
        }
    )
