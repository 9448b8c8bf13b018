"""What comparisons are about, as levels of rows: topic, language, turn, time, which two models answered."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.analyses.inputs import listed
from plurality.analyses.levels import MISSING, levels_of
from plurality.errors import InputError

OTHERS = "(other rows together)"
MOST_LEVELS = 30  # of rows, those with most people; the rest are one
MOST_PERIODS = 12  # into which times are cut
PERIODS = (("1d", "%Y-%m-%d"), ("1w", "%G-W%V"), ("1mo", "%Y-%m"), ("1q", ""), ("1y", "%Y"))

RowAttribute = str | Sequence[str]
Ints = NDArray[np.intp]


def row_levels(frame: pl.DataFrame, wanted: RowAttribute) -> tuple[str, pl.Series]:
    """Name and levels, as text, of one attribute of rows (n,).

    A column of text, whole numbers or truth values is taken as it stands, and what is missing as the level "(missing)".
    Times are cut into days, weeks, months, quarters or years, the shortest that give 12 periods at most. Two columns
    together, such as ("model_a", "model_b"), are which two they name, whatever their order. Raises InputError for a
    column that is not there or is no attribute.

    frame     a row a comparison
    wanted    a column, or two whose unordered pair is the attribute
    """
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    if len(names) not in (1, 2):
        raise InputError(f"rows: {listed(names)}; name one column, or two whose pair is meant")
    for name in names:
        if name not in frame.columns:
            raise InputError(f"rows: {name!r} is no column of predictions; it has {listed(frame.columns)}")
        if frame[name].dtype.is_nested() or _is_measure(frame[name]):
            raise InputError(f"predictions: {name} is {frame[name].dtype}; cut it into named bands to slice by it")
    if len(names) == 1:
        return names[0], _levels(frame[names[0]])
    one, other = (_levels(frame[name]) for name in names)
    pair = pl.select(pl.min_horizontal(one, other).alias("a"), pl.max_horizontal(one, other).alias("b")).select(
        pl.format("{} – {}", "a", "b")
    )
    return " – ".join(names), pair.to_series()


def named_in(wanted: Sequence[RowAttribute]) -> set[str]:
    """The columns that attributes of rows are made of.

    wanted    attributes of rows
    """
    each = [wanted] if isinstance(wanted, str) else wanted
    return {name for one in each for name in ([one] if isinstance(one, str) else one)}


def _is_measure(column: pl.Series) -> bool:
    known = column.fill_nan(None).drop_nulls() if column.dtype.is_float() else column
    return column.dtype.is_float() and not bool((known == known.round()).all())


def _levels(column: pl.Series) -> pl.Series:
    if column.dtype in (pl.Date, pl.Datetime):
        return _periods(column).fill_null(MISSING)
    whole = column.fill_nan(None).cast(pl.Int64) if column.dtype.is_float() else column
    return whole.cast(pl.String).fill_null(MISSING).replace("", MISSING)


def _periods(column: pl.Series) -> pl.Series:
    cuts = [(column.dt.truncate(length), form) for length, form in PERIODS]
    cut, form = next((c for c in cuts if c[0].n_unique() <= MOST_PERIODS), cuts[-1])
    if form:
        return cut.dt.strftime(form)
    return pl.select(pl.format("{}-Q{}", cut.dt.year(), cut.dt.quarter())).to_series()


def coded(levels: pl.Series, user: NDArray[np.int64], least: int) -> tuple[tuple[str, ...], Ints]:
    """Names (L,) of the levels of rows, and which of them each row has (n,); those of few users are one level.

    Levels of fewer than `least` users, and all but the MOST_LEVELS with most, are together "(other rows together)"; if
    these too are of few users, the next smallest level joins them.

    levels    (n,) as text
    user      (n,) user of each row, from 0
    least     users that a level needs
    """
    names, code = levels_of(levels)
    pairs = np.unique(np.stack([code, user]), axis=1)
    people = np.bincount(pairs[0], minlength=len(names))
    by_size = np.argsort(-people, kind="stable")
    small = np.zeros(len(names), bool)
    small[by_size[MOST_LEVELS:]] = True
    small |= people < least
    while small.any() and not small.all() and len(np.unique(pairs[1][small[pairs[0]]])) < least:
        rest = np.flatnonzero(~small)
        small[rest[np.argmin(people[rest])]] = True
    kept = [name for name, few in zip(names, small, strict=True) if not few]
    place = np.where(small, len(kept), np.cumsum(~small) - 1)
    return (*kept, *([OTHERS] if small.any() else [])), place[code]
