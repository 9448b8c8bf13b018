"""Do the codes of users separate by demographic? A permutation test of variance, and a probe that guesses levels.

The unit is a user. Both are about what a reader of the codes could learn of people: the first whether groups
differ in the mean, the second how well one person's level can be guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from plurality.analyses.audit.attributes import attributes_of
from plurality.analyses.factors.inputs import codes_of
from plurality.analyses.factors.pooling import adjusted
from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.inputs import Table, read_table
from plurality.analyses.levels import MISSING, NOT_LISTED
from plurality.arrays import floats
from plurality.errors import InputError

_ENTRIES = 4_000_000  # permutations x users held at once
LEAK = 0.05  # q below which a probe counts as a leak

SEPARATION = {
    "attribute": pl.String,
    "n_users": pl.Int64,
    "n_levels": pl.Int64,
    "r2": pl.Float64,
    "null_expectation": pl.Float64,
    "effect": pl.Float64,
    "pseudo_f": pl.Float64,
    "p": pl.Float64,
    "q": pl.Float64,
    "auc": pl.Float64,
    "auc_p": pl.Float64,
    "auc_q": pl.Float64,
    "leaks": pl.Boolean,
    "flag": pl.String,
}


@dataclass(frozen=True)
class Separation:
    """Share of the variance of codes between levels, and what shuffled levels give; NaN where undefined.

    n_users             users n that were compared
    n_levels            levels k that they have
    r2                  SS_between / SS_total, in [0, 1]
    null_expectation    (k − 1)/(n − 1), the mean of r2 over all permutations, whatever the codes
    effect              r2 − null_expectation
    pseudo_f            (SS_between/(k − 1)) / (SS_within/(n − k))
    p                   share of permutations with as much, the data counted as one of them
    flag                why it is undefined, or None
    """

    n_users: int
    n_levels: int
    r2: float
    null_expectation: float
    effect: float
    pseudo_f: float
    p: float
    flag: str | None


@dataclass(frozen=True)
class Probe:
    """How well a level can be guessed from the code, on users left out; NaN where it cannot be tried.

    auc         cross-validated area under the ROC curve, .5 by chance
    p           one-sided p-value of guessing no better than chance
    n_users     users of the levels that were large enough
    n_levels    levels that were large enough
    flag        which levels were left out or why it cannot be tried, or None
    """

    auc: float
    p: float
    n_users: int
    n_levels: int
    flag: str | None


def separation(codes: ArrayLike, level: ArrayLike, *, permutations: int = 999, seed: int = 0) -> Separation:
    """Permutation test of whether codes (U, C) differ between levels (U,), by Euclidean distance.

    R² = Σ_l n_l |c̄_l − c̄|² / Σ_u |c_u − c̄|² against the R² of shuffled levels; p = (1 + #{R²* ≥ R²})/(1 +
    permutations). It is the PERMANOVA of Anderson (2001), unchanged by shifts, rotations and a common scale.
    Spread that differs between levels of unequal size can reject too. Raises InputError for codes that are
    no finite numbers.

    codes           (U, C) code of each user, finite; all C numbers in one unit, as distances add them up
    level           (U,) level of each user, labels of any kind
    permutations    number of shuffles
    seed            makes the result the same again
    """
    points, index, k = _checked(codes, level)
    n = len(points)
    if permutations < 1:
        raise InputError(f"permutations: {permutations}; give at least one")
    centred = points - points.mean(axis=0) if n else points
    total = float((centred**2).sum())
    alike = total <= 1e-20 * n * float((points**2).sum())
    flag = _undefined(n, k, alike)
    if flag:
        nan = float("nan")
        return Separation(n, k, nan, nan, nan, nan, nan, flag)
    size = np.bincount(index, minlength=k)
    r2 = float(_between(centred, index[None], size)[0]) / total
    rng, block = np.random.default_rng(seed), max(1, _ENTRIES // (n * max(1, points.shape[1])))
    parts = (min(block, permutations - at) for at in range(0, permutations, block))
    null = np.concatenate([_between(centred, rng.permuted(np.tile(index, (m, 1)), axis=1), size) for m in parts])
    null /= total
    p = (1 + int((null >= r2 * (1 - 1e-12)).sum())) / (1 + permutations)
    within = max(1 - r2, 0.0)
    with np.errstate(divide="ignore"):
        pseudo_f = float(np.divide(r2 / (k - 1), within / (n - k)))
    mean = (k - 1) / (n - 1)
    return Separation(n, k, r2, mean, r2 - mean, pseudo_f, p, None)


def _checked(codes: ArrayLike, level: ArrayLike) -> tuple[Floats, NDArray[np.intp], int]:
    table = floats(codes)
    found, index = codes_of(level, "level")
    if table.ndim != 2 or len(index) != len(table):
        raise InputError(f"codes: shape {table.shape} with {len(index)} levels; give (users, C) and one level a user")
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(bad):
        raise InputError(f"codes: row {bad[0]} is NaN or infinite (first row is 0); leave the user out")
    return table, index, len(found)


def _undefined(n: int, k: int, alike: bool) -> str | None:
    if n < 2 or k < 2:
        return "fewer than two levels"
    if k == n:
        return "a level for each user"
    return "codes do not differ" if alike else None


def _between(centred: Floats, index: NDArray[np.intp], size: NDArray[np.intp]) -> Floats:
    """Sum of squares between levels (P,) for level indices (P, n) of centred codes (n, C)."""
    times, n = index.shape
    cell = (index + np.arange(times)[:, None] * len(size)).ravel()
    user = np.broadcast_to(np.arange(n), index.shape).ravel()
    hot = sparse.csr_array((np.ones(len(cell)), (cell, user)), shape=(times * len(size), n))
    square = (np.asarray(hot @ centred) ** 2).sum(axis=1).reshape(times, len(size))
    result: Floats = (square / size).sum(axis=1)
    return result


def probe(codes: ArrayLike, level: ArrayLike, *, folds: int = 5, seed: int = 0) -> Probe:
    """AUC of a logistic regression that guesses the level (U,) from codes (U, C), on users left out.

    With more than two levels, the mean over levels of one against the rest. Each fold's AUC is taken by itself
    and averaged, since pooled scores of different fits are biased downwards. p is one-sided and normal, from the
    Mann–Whitney variance (n₁ + n₀ + 1)/(12 n₁ n₀) of an AUC without information, averaged as if the levels'
    AUCs were one, which errs on the safe side. Levels with fewer than 2·`folds` users are left out.

    codes    (U, C) code of each user, finite; scaled to unit variance here
    level    (U,) level of each user, labels of any kind
    folds    parts that users are divided into, at least 2, with each level's share kept
    seed     of the division into folds
    """
    points, index, _ = _checked(codes, level)
    if folds < 2:
        raise InputError(f"folds: {folds}; give at least two")
    size = np.bincount(index)
    keep = np.isin(index, np.flatnonzero(size >= 2 * folds))
    dropped = len(size) - len(np.unique(index[keep]))
    points, index = points[keep], np.unique(index[keep], return_inverse=True)[1]
    k = int(index.max(initial=-1)) + 1
    if k < 2 or not np.ptp(points, axis=0).any():
        nan, why = float("nan"), "codes do not differ" if k > 1 else f"fewer than two levels of {2 * folds} users"
        return Probe(nan, nan, len(points), k, why)
    scale = np.where(points.std(axis=0) > 0, points.std(axis=0), 1.0)
    points = (points - points.mean(axis=0)) / scale
    areas, variances = [], []
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(points, index):
        model = LogisticRegression(max_iter=1000).fit(points[train], index[train])
        scores = model.predict_proba(points[test])
        own = np.eye(k, dtype=bool)[index[test]]
        areas.append(float(np.mean([roc_auc_score(own[:, c], scores[:, c]) for c in range(k)])))
        n = own.sum(axis=0)
        rest = len(test) - n
        variances.append(float(np.mean(np.sqrt((len(test) + 1) / (12 * n * rest)))) ** 2)
    auc = float(np.mean(areas))
    error = np.sqrt(np.sum(variances)) / folds
    flag = f"{dropped} levels with fewer than {2 * folds} users left out" if dropped else None
    return Probe(auc, float(norm.sf((auc - 0.5) / error)), len(points), k, flag)


def separations(
    codes: ArrayLike,
    ids: Sequence[str],
    users: Table,
    *,
    by: Sequence[str] | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> pl.DataFrame:
    """`separation` and `probe` of codes (U, C), of the users `ids`, for each attribute of `users`: a row each.

    Users whose level is not known are left out of that attribute. `q` and `auc_q` are Benjamini & Hochberg's
    over attributes; `leaks` warns that codes betray the attribute: the probe is better than chance, auc_q < .05.

    codes           (U, C) code of each user, finite
    ids             (U,) user id of each code, every one different
    users           table with user_id and a column an attribute
    by              attributes; all with few levels by default
    permutations    number of shuffles
    seed            makes the result the same again
    """
    table = floats(codes)
    names = tuple(str(name) for name in ids)
    if len(names) != len(table) or len(set(names)) != len(names):
        raise InputError(f"ids: {len(set(names))} different ids for {len(table)} codes; give each user's once")
    attributes, _ = attributes_of(read_table(users, "users"), names, by)
    rows: list[dict[str, object]] = []
    for name in attributes.columns:
        level = attributes[name].to_numpy()
        known = ~np.isin(level, [MISSING, NOT_LISTED])
        tested = separation(table[known], level[known], permutations=permutations, seed=seed)
        guessed = probe(table[known], level[known], seed=seed)
        flags = dict.fromkeys(flag for flag in (tested.flag, guessed.flag) if flag)
        rows.append(
            {
                "attribute": name,
                "n_users": tested.n_users,
                "n_levels": tested.n_levels,
                "r2": tested.r2,
                "null_expectation": tested.null_expectation,
                "effect": tested.effect,
                "pseudo_f": tested.pseudo_f,
                "p": tested.p,
                "auc": guessed.auc,
                "auc_p": guessed.p,
                "flag": "; ".join(flags) or None,
            }
        )
    frame = pl.DataFrame(rows, schema={c: kind for c, kind in SEPARATION.items() if c not in ("q", "auc_q", "leaks")})
    q, auc_q = (pl.Series(name, adjusted(frame[p].to_numpy())) for name, p in (("q", "p"), ("auc_q", "auc_p")))
    leaks = pl.when(pl.col("auc_q").is_not_nan()).then(pl.col("auc_q") < LEAK).alias("leaks")
    return frame.with_columns(q, auc_q).with_columns(leaks).select(*SEPARATION)
