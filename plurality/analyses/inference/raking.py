"""Weights that make a sample of users look like a population in its margins."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.levels import level_name
from plurality.arrays import floats
from plurality.errors import InputError, InputWarning

_LARGE = 1e100
Margins = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Raked:
    """Weights of users that meet margins, how well they do, and what they cost in precision.

    weights       (users,) weights of mean 1
    converged     False where no weights meet all margins (and the cap): do not use those without saying so
    error         largest difference of a weighted share from the one asked for
    iterations    rounds that were done, each over all margins
    ess           Kish's effective sample size, in users
    deff          design effect, the number of users over ess: the loss by unequal weights
    """

    weights: Floats
    converged: bool
    error: float
    iterations: int
    ess: float
    deff: float


def kish(weights: ArrayLike) -> float:
    """Kish's effective sample size (Σw)²/Σw² of weights (n,); NaN without any weight. Kish (1965).

    weights    (n,) non-negative weights, in any scale

    >>> from plurality.analyses.inference import kish
    >>> round(kish([2, 1, 1]), 3)
    2.667
    """
    w = floats(weights)
    if w.ndim != 1:
        raise InputError(f"weights: shape {w.shape}; give one weight a person")
    bad = np.flatnonzero(~(np.isfinite(w) & (w >= 0)))
    if len(bad):
        raise InputError(f"weights: row {bad[0]} is {w.ravel()[bad[0]]}; give finite weights >= 0")
    # the largest weight as the unit, so that squares neither vanish nor overflow
    w = w / w.max() if w.size and w.max() > 0 else w
    return float(w.sum() ** 2 / (w**2).sum()) if w.any() else float("nan")


def rake(
    users: pl.DataFrame,
    margins: Margins,
    *,
    weights: ArrayLike | None = None,
    trim: float | None = None,
    tolerance: float = 1e-10,
    iterations: int = 2000,
) -> Raked:
    """Weights of users whose share of every level of every column of `margins` is the share asked for.

    Iterative proportional fitting: w_u = d_u Π_c f_c(level of u), its factors scaled to each margin in turn, which of
    all weights that meet the margins is nearest to the design weights d in Σ w ln(w/d). With `trim` it is w_u =
    min(trim, d_u Π f), the nearest under that cap. Raises InputError where a column, level or share does not fit,
    naming it; warns where margins cannot all be met. Deming & Stephan (1940); for the cap, Deville & Särndal (1992).

    users         a row a user, with the columns that margins name
    margins       column -> level -> share of the population; shares of a column add up to 1
    weights       (users,) design weights d ≥ 0, in any scale; equal by default
    trim          cap of a weight, above 1, the mean weight; no cap by default
    tolerance     error of a share at which fitting stops
    iterations    rounds over all margins at most

    >>> import polars as pl
    >>> from plurality.analyses.inference import rake
    >>> users = pl.DataFrame({"sex": ["f", "m", "m", "m"]})
    >>> rake(users, {"sex": {"f": 0.5, "m": 0.5}}).weights.round(3).tolist()
    [2.0, 0.667, 0.667, 0.667]
    """
    if users.is_empty() or not margins:
        raise InputError(f"rake: {len(users)} users and {len(margins)} margins; give at least one of each")
    if trim is not None and not trim > 1:
        raise InputError(f"trim: {trim}; give a cap above 1, the mean weight")
    base = _design_weights(weights, len(users))
    columns = [_margin(users, name, dict(shares), base) for name, shares in margins.items()]
    # users alike in everything are one cell; those of unequal design weights are kept apart by the cap
    keys = np.stack([*(code for code, _ in columns), np.unique(base, return_inverse=True)[1]])
    _, first, cell, size = np.unique(keys, axis=1, return_index=True, return_inverse=True, return_counts=True)
    cell = cell.ravel()
    fitted = base[first]
    codes = [code[first] for code, _ in columns]
    targets = [target for _, target in columns]
    cap, error, done = np.inf if trim is None else trim, np.inf, 0
    while error > tolerance and done < iterations:
        for code, target in zip(codes, targets, strict=True):
            held = np.bincount(code, size * np.minimum(fitted, cap)) / len(users)
            # what cannot be met would let factors grow without end
            fitted = np.minimum(fitted * (target / np.where(held > 0, held, np.inf))[code], _LARGE)
        found = size * np.minimum(fitted, cap) / len(users)
        error = max(
            float(np.abs(np.bincount(code, found) - target).max()) for code, target in zip(codes, targets, strict=True)
        )
        done += 1
    if error > tolerance:
        under = "" if trim is None else f" up to {trim}"
        warnings.warn(
            InputWarning(
                f"rake: after {done} rounds a share is off by {error:.2g}, so weights{under} may not meet all margins; "
                "merge thin levels, drop a margin, or raise trim"
            ),
            stacklevel=2,
        )
    w = np.minimum(fitted, cap)[cell]
    w = _within_cap(w / w.mean(), cap)
    ess = kish(w)
    return Raked(w, error <= tolerance, error, done, ess, len(users) / ess)


def _within_cap(w: Floats, cap: float) -> Floats:
    """Weights of mean 1, those above the cap at it and the others larger in proportion, until none is above."""
    while (over := w > cap * (1 + 1e-12)).any() and not over.all():
        w = np.where(over, cap, w)
        free = w < cap
        w = np.where(free, w * (len(w) - w[~free].sum()) / w[free].sum(), w)
    return np.minimum(w, cap)


def check_margins(users: pl.DataFrame, margins: Margins) -> None:
    """Raises InputError where margins and users do not fit, as `rake` does.

    users      a row a user, with the columns that margins name
    margins    column -> level -> share of the population
    """
    for name, shares in margins.items():
        _margin(users, name, dict(shares), np.ones(len(users)))


def _design_weights(weights: ArrayLike | None, n: int) -> Floats:
    base = np.ones(n) if weights is None else floats(weights)
    if base.shape != (n,):
        raise InputError(f"weights: shape {base.shape} for {n} users; give one a user")
    bad = np.flatnonzero(~(np.isfinite(base) & (base >= 0)))
    if len(bad):
        raise InputError(f"weights: row {bad[0]} is {base[bad[0]]}; give finite weights >= 0")
    if not base.any():
        raise InputError("weights: all are 0; give somebody a weight")
    return base / base.mean()


def _margin(users: pl.DataFrame, name: str, shares: dict[str, float], base: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Codes (users,) of one column and the shares (levels,) they should have, both checked against each other."""
    if name not in users.columns:
        raise InputError(f"{name}: no such column, found {', '.join(users.columns)}; rename the margin")
    column = users[name]
    if column.null_count():
        row = int(column.is_null().arg_max() or 0)
        raise InputError(f"{name}: row {row} is missing; drop the user, or name the answer and give it a share")
    levels, code = np.unique(column.cast(pl.String).to_numpy().astype(str), return_inverse=True)
    asked = {level_name(level): float(share) for level, share in shares.items()}
    bad = [level for level, share in asked.items() if not (np.isfinite(share) and share >= 0)]
    if bad:
        raise InputError(f"{name}: level {bad[0]!r} has the share {asked[bad[0]]}; give a share >= 0")
    total = sum(asked.values())
    if abs(total - 1) > 1e-6:
        raise InputError(f"{name}: shares add up to {total:.6g}; divide them by it, or add the missing level")
    unknown = [level for level in levels.tolist() if level not in asked]
    if unknown:
        raise InputError(f"{name}: users of level {unknown[0]!r} have no share; add it, merge the level or drop them")
    held = dict(zip(levels.tolist(), np.bincount(code, base).tolist(), strict=True))
    empty = [level for level, share in asked.items() if share > 0 and not held.get(level)]
    if empty:
        raise InputError(
            f"{name}: level {empty[0]!r} has the share {asked[empty[0]]} and no users of positive weight; "
            "merge it with a level that has some"
        )
    nobody = [level for level in levels.tolist() if asked[level] == 0 and held[level]]
    if nobody:
        raise InputError(f"{name}: level {nobody[0]!r} has the share 0 and users; drop these users, or give it a share")
    return code, np.array([asked[level] for level in levels.tolist()]) / total
