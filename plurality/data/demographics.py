"""What a users table says of users, as numbers: a design matrix whose columns are 0 for the average user.

A column of text is an indicator of each of its levels, less the level's share among the users fitted to, so that
effects of levels are deviations from the population and nothing has to be the reference. A column of numbers is
standardised. A missing value is a level of its own, rare levels are pooled, and a level never seen is the average.
A column of vectors, such as embedded descriptions, counts by its main directions, each standardised.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from plurality.arrays import Float
from plurality.errors import InputError

RARE = 3  # users, below which a level is pooled with other rare ones
MANY = 20  # users, from which a whole number that no two share is an id
LEVELS = 40  # levels of a column that stand for themselves; the rest are pooled
DIRECTIONS = 8  # of vectors, at most,
USERS_EACH = 10  # and as many users at least
MISSING = "(missing)"
POOLED = "(others)"


class Factor(NamedTuple):
    """One column of the users table; plain values, so that JSON keeps it.

    levels      of text, each a tuple of the values it stands for: one, several that are rare, or (None,) for missing;
                of numbers, ((),) and, if any is missing, ((), (None,)); of vectors, () for each of their directions
    centre      of each design column: the level's share of users, or the mean of the numbers; of vectors their mean
    scale       standard deviation of the numbers; 1 for text and vectors
    basis       of vectors, each of their directions over its standard deviation
    """

    column: str
    levels: tuple[tuple[str | None, ...], ...]
    centre: tuple[float, ...]
    scale: float
    basis: tuple[tuple[float, ...], ...] = ()

    @property
    def numeric(self) -> bool:
        """Whether the column holds numbers."""
        return not self.levels[0] and not self.basis

    @property
    def names(self) -> list[str]:
        """What each design column is called: a level, or for numbers the step of one standard deviation."""
        if self.basis:
            return [f"direction {place}" for place in range(1, len(self.basis) + 1)]
        return [_name(values, self.scale) for values in self.levels]

    def matrix(self, users: pl.DataFrame) -> Float:
        """Design columns of these users: (U, L). All 0 for a user whose level is unknown, or without the column."""
        if self.column not in users.columns:
            return np.zeros((users.height, len(self.levels)))
        if self.basis:
            return self._along(users[self.column])
        if self.numeric:
            values = _numbers(users[self.column]).to_numpy()
            missing = ~np.isfinite(values)
            out = [np.where(missing, 0.0, (values - self.centre[0]) / self.scale)]
            return np.stack(out + [missing - share for share in self.centre[1:]], 1)
        place = {value: i for i, values in enumerate(self.levels) for value in values}
        code = np.array([place.get(value, -1) for value in _texts(users[self.column]).to_list()], dtype=np.int64)
        hot = np.equal(code[:, None], np.arange(len(self.levels)))
        columns: Float = np.where(code[:, None] >= 0, hot - np.asarray(self.centre), 0.0)
        return columns

    def _along(self, column: pl.Series) -> Float:
        """Vectors along their directions, 0 where there is none: (U, K). Raises InputError for another width."""
        vectors = _vectors(column)
        if not vectors.size:  # nobody says anything
            return np.zeros((len(column), len(self.basis)))
        if vectors.shape[1] != len(self.centre):
            raise InputError(
                f"{column.name!r} holds vectors of {vectors.shape[1]} numbers, and the model knows those of "
                f"{len(self.centre)}; embed the texts as those of the users it was fitted to"
            )
        along: Float = np.nan_to_num((vectors - self.centre) @ np.asarray(self.basis).T)
        return along

    def contrasts(self) -> Float:
        """Row l turns the coefficients of this factor into the effect of being at level l: (L, L)."""
        eye = np.eye(len(self.levels))
        if self.basis:
            return eye
        if not self.numeric:
            return eye - np.asarray(self.centre, dtype=np.float64)
        eye[1:, 1:] -= np.asarray(self.centre[1:])
        return eye


def describe(users: pl.DataFrame, by: Sequence[str] | None, *, source: str = "users") -> tuple[Factor, ...]:
    """The factors of the columns `by` among these users, of all that are usable where it is None.

    Not usable are a column with one value, with a text of its own for most users (an id), or of dates, lists or such.
    Raises InputError where a column that was asked for is not there or not usable, or where none is.
    """
    candidates = [name for name in users.columns if name != "user_id"] if by is None else list(by)
    factors, unusable = [], {}
    for name in candidates:
        if name not in users.columns or name == "user_id":
            known = ", ".join(c for c in users.columns if c != "user_id") or "no column but user_id"
            raise InputError(f"{source}: the users table has no column {name!r} to go by; it has {known}")
        found = _factor(users[name])
        if isinstance(found, Factor):
            factors.append(found)
        else:
            unusable[name] = found
    if by is not None and unusable:
        name, reason = next(iter(unusable.items()))
        raise InputError(f"{source}: column {name!r} of the users table {reason}; leave it out of by=")
    if not factors:
        why = "; ".join(f"{name!r} {reason}" for name, reason in unusable.items()) or "it has no column but user_id"
        raise InputError(
            f"{source}: the users table says nothing that users could be grouped by: {why}; give demographics "
            "(users=, --users), or fit low_rank, which needs none"
        )
    return tuple(factors)


def design(factors: Sequence[Factor], users: pl.DataFrame) -> Float:
    """Design matrix (U, P): every factor's columns side by side."""
    return np.concatenate([np.zeros((users.height, 0)), *(factor.matrix(users) for factor in factors)], 1)


def width(factors: Sequence[Factor]) -> int:
    """Number P of design columns."""
    return sum(len(factor.levels) for factor in factors)


def blocks(factors: Sequence[Factor]) -> list[int]:
    """Place in `factors` of each design column: P of them."""
    return [i for i, factor in enumerate(factors) for _ in factor.levels]


def codes_of_levels(factor: Factor, users: pl.DataFrame) -> np.ndarray:
    """Level of each user, numbers and the first direction of vectors cut at their quintiles; −1 if unknown: (U,)."""
    if not factor.numeric and not factor.basis:
        hot = factor.matrix(users) + np.asarray(factor.centre)
        return np.where(np.isclose(hot.max(1), 1.0), hot.argmax(1), -1)
    values = factor.matrix(users)[:, 0] if factor.basis else _numbers(users[factor.column]).to_numpy()
    cuts = np.nanquantile(values, [0.2, 0.4, 0.6, 0.8])
    return np.where(np.isnan(values), -1, np.searchsorted(cuts, values, side="right"))


def _factor(column: pl.Series) -> Factor | str:
    """The factor of a column, or why it is none."""
    if column.dtype.is_numeric():
        return _of_numbers(_numbers(column), column.name, column.dtype.is_integer())
    if isinstance(column.dtype, pl.List | pl.Array) and column.dtype.inner.is_numeric():
        return _of_vectors(column)
    if column.dtype not in (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null):
        return f"holds {column.dtype}, give text or numbers"
    return _of_texts(_texts(column), column.name)


def _of_numbers(values: pl.Series, name: str, whole: bool) -> Factor | str:
    array = values.to_numpy()
    missing = np.isnan(array)
    if np.isinf(array).any():
        return "has infinite numbers"
    if missing.all() or not np.nanstd(array) > 1e-9 * np.nanmax(np.abs(array)):
        return "has one value for all users"
    if whole and len(array) >= MANY and len(np.unique(array)) == len(array):
        return "has a number of its own for every user"
    share = (float(missing.mean()),) if missing.any() else ()
    levels: tuple[tuple[str | None, ...], ...] = ((), (None,)) if share else ((),)
    return Factor(name, levels, (float(np.nanmean(array)), *share), float(np.nanstd(array)))


def _of_vectors(column: pl.Series) -> Factor | str:
    vectors = _vectors(column)
    there = vectors[np.isfinite(vectors).all(axis=1)]
    count = min(DIRECTIONS, len(there) // USERS_EACH, vectors.shape[1])
    if not count:
        return f"has vectors of {len(there)} users, {USERS_EACH} are the least"
    centre = there.mean(axis=0)
    _, size, directions = np.linalg.svd(there - centre, full_matrices=False)
    size = size[:count] / np.sqrt(len(there))
    kept = size > 1e-6 * max(size[0], 1e-300)
    if not size[0] > 0:
        return "has one vector for all users"
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    basis = (directions * np.sign(largest))[:count][kept] / size[kept, None]
    return Factor(column.name, ((),) * len(basis), tuple(centre.tolist()), 1.0, tuple(map(tuple, basis.tolist())))


def _vectors(column: pl.Series) -> Float:
    """Vectors (U, d), NaN where there is none. Raises InputError where they are of different lengths."""
    vectors = column.cast(pl.List(pl.Float64)).drop_nulls()
    lengths = vectors.list.len().unique().to_list()
    if len(lengths) > 1:
        raise InputError(f"column {column.name!r} of the users table has vectors of different lengths; embed it anew")
    width = lengths[0] if lengths else 0
    out = np.full((len(column), width), np.nan)
    there = column.is_not_null().to_numpy()
    if there.any():
        out[there] = vectors.explode().to_numpy().reshape(len(vectors), width)
        if not np.isfinite(out[there]).all():
            raise InputError(f"column {column.name!r} of the users table has NaN or infinite numbers; embed it anew")
    return out


def _of_texts(values: pl.Series, name: str) -> Factor | str:
    counts = values.alias("value").value_counts().sort(["count", "value"], descending=[True, False]).rows()
    if len(counts) < 2:
        return "has one value for all users"
    alone = sum(count for value, count in counts if count < RARE and value is not None)
    if alone > len(values) / 2:
        return f"has fewer than {RARE} users at most of its values"
    kept = [value for value, count in counts if value is not None and count >= RARE][:LEVELS]
    rest = tuple(sorted(value for value, _ in counts if value is not None and value not in kept))
    levels = [(value,) for value in sorted(kept)]
    levels += [rest] * bool(rest) + [(None,)] * bool(values.null_count())
    total = dict(counts)
    shares = tuple(sum(total[value] for value in level) / len(values) for level in levels)
    return Factor(name, tuple(levels), shares, 1.0)


def _numbers(column: pl.Series) -> pl.Series:
    return column.cast(pl.Float64, strict=False).fill_null(float("nan"))


def _texts(column: pl.Series) -> pl.Series:
    return column.cast(pl.String)


def _name(values: tuple[str | None, ...], scale: float) -> str:
    if not values:
        return f"+1 sd ({scale:.3g})"
    if values == (None,):
        return MISSING
    return str(values[0]) if len(values) == 1 else POOLED
