"""Means over the users of each group, every user by the mean over their own prompts, and their intervals."""

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from plurality.analyses.audit.slices import OVERALL
from plurality.analyses.inference.bootstrap import Floats, cluster_draws, interval, per_user_sums
from plurality.analyses.social_choice.candidate_sets import Codes, coded
from plurality.arrays import floats
from plurality.errors import InputError


def group_membership(groups: ArrayLike, n_users: int, weights: ArrayLike | None) -> tuple[tuple[str, ...], Floats]:
    """Names (1 + G,), everybody first, and the weight (U, 1 + G) with which each user counts in each.

    Raises InputError for labels or weights that are missing or do not fit.

    groups     (U,) label of each user's group; none may be missing
    n_users    number of users U, which labels and weights must have
    weights    (U,) how many people a user stands for, ≥ 0; None for 1
    """
    names, code = coded(groups, "groups")
    w = np.ones(n_users) if weights is None else floats(weights)
    if len(code) != n_users or w.shape != (n_users,):
        raise InputError(f"groups: {len(code)} labels and {w.shape} weights for {n_users} users; give one a user")
    bad = ~(np.isfinite(w) & (w >= 0))
    if bad.any():
        raise InputError(f"weights: row {bad.argmax()} is {w[bad.argmax()]}; give finite weights >= 0")
    single = (code[:, None] == np.arange(len(names))) * w[:, None]
    return (OVERALL[1], *names), np.concatenate([w[:, None], single], axis=1)


def user_means(utility: Floats) -> Floats:
    """Mean over prompts (..., U) of what each user gets; NaN for a user without any.

    utility    (..., U, P) utilities of U users on P prompts, NaN where there is none, which is left out
    """
    known = ~np.isnan(utility)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known, utility, 0.0).sum(axis=-1) / known.sum(axis=-1)


def mean_draws(per_user: Floats, member: Floats, *, draws: int, seed: int) -> Floats:
    """Bootstrap draws over users (draws, S, G) of the group means of each of S rows of utilities.

    per_user    (S, U) utility of each user, NaN where unknown, which is left out
    member      (U, G) weight with which each user counts in each group, ≥ 0
    draws       resamples of users; 0 gives none
    seed        of the resamples
    """
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
    """Mean, lo and hi, (S, G) each, over the users of each group, the interval by resampling users.

    per_user    (S, U) utility of each user, NaN where unknown, which is left out
    member      (U, G) weight with which each user counts in each group, ≥ 0
    level       coverage of the interval, in (0, 1)
    draws       resamples of users; 0 gives none
    seed        of the resamples
    """
    known = ~np.isnan(per_user)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (np.where(known, per_user, 0.0) @ member) / (known @ member)
    users = known.astype(float) @ (member > 0)
    lo, hi = interval(mean_draws(per_user, member, draws=draws, seed=seed), level, n_users=users)
    return mean, lo, hi


def group_table(groups: tuple[str, ...], code: Codes, value: Floats, people: Floats, count: Floats) -> pl.DataFrame:
    """Mean utility over people of each group, its standard error and its rank from the worst, a row a group.

    With a user standing for m people, se² = Σ m (x − x̄)² / ((M − 1) M), M = Σ m; NaN up to one person. Columns: group,
    mean, se, rank (1 the worst off, ties alike), worst, n_users, n_sets.

    groups    (G,) names
    code      (U,) group of each user, from 0
    value     (U,) utility of each user
    people    (U,) how many people a user stands for, > 0
    count     (U,) how many candidate sets each utility is the mean of, which adds up to n_sets
    """
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
