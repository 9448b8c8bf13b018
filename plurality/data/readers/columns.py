"""Checked columns of a frame: text, ids, numbers and row numbers, or one line that names the first bad row.

Rows count from 1. `place` is the file, or the word for a frame, that a message names.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.errors import InputError

TEXT = (pl.String, pl.Categorical, pl.Enum)
TYPED = ("prompt", "chosen", "rejected", "first", "second", "completion", "user_id", "group_id")
"""Columns of texts and ids, which have one type throughout."""


class Part(str):
    """The name of a table where only some of its rows are looked at, or one several times: messages name the table's.

    rows       (n,) row in the table of each row that is looked at, from 0
    partial    whether other rows may have the same faults, so that messages do not count them
    """

    rows: NDArray[np.int64]
    partial: bool

    def __new__(cls, place: str, rows: NDArray[np.int64], *, partial: bool = False) -> "Part":
        part = super().__new__(cls, place)
        part.rows, part.partial = rows, partial
        return part


def raise_where(bad: pl.Series, place: str, cause: str, remedy: str) -> None:
    """Raise InputError for the first row where `bad` holds; the message counts the others."""
    rows = bad.fill_null(False).arg_true()
    if len(rows):
        found = np.unique(place.rows[rows.to_numpy()]) if isinstance(place, Part) else rows
        count = "or more" if isinstance(place, Part) and place.partial else "in all"
        others = f" ({len(found):,} rows {count})" if len(found) > 1 else ""
        raise InputError(f"{place}: row {found[0] + 1}: {cause}{others}; {remedy}")


def column(frame: pl.DataFrame, name: str, place: str) -> pl.Series:
    """The column, without a null. Raises InputError when it is missing or has one."""
    if name not in frame.columns:
        present = ", ".join(frame.columns) or "none"
        raise InputError(f"{place}: column {name} is missing, the columns are {present}; add or rename it")
    raise_where(frame[name].is_null(), place, f"{name} is null", "fill it in or drop the row")
    return frame[name]


def given(frame: pl.DataFrame, name: str) -> bool:
    """Whether an optional column is there; one that is null throughout is not."""
    return name in frame.columns and frame[name].null_count() < frame.height


def texts(values: pl.Series, place: str, *, blank_too: bool = False) -> pl.Series:
    """Text as it stands. Raises InputError for anything else, and unless `blank_too` for white space only."""
    if not isinstance(values.dtype, TEXT):
        raise InputError(
            f"{place}: row 1: {values.name} is {_kind(values.dtype)} where text belongs; "
            "give strings, or chat messages with the keys role and content"
        )
    values = values.cast(pl.String)
    if not blank_too:
        raise_where(blank(values), place, f"{values.name} is empty", "give its text or drop the row")
    return values


def blank(values: pl.Series) -> pl.Series:
    """Whether each string holds nothing but white space."""
    return ~values.str.contains(r"\S")


def ids(frame: pl.DataFrame, name: str, place: str) -> pl.Series:
    """Ids as strings; whole numbers become strings. Raises InputError for others and for empty ones."""
    values = column(frame, name, place)
    if not (isinstance(values.dtype, TEXT) or values.dtype.is_integer()):
        raise InputError(f"{place}: {name} is {_kind(values.dtype)}; give text or whole numbers")
    values = values.cast(pl.String)
    raise_where(blank(values), place, f"{name} is empty", "fill it in or drop the row")
    return values


def numbers(frame: pl.DataFrame, name: str, place: str) -> pl.Series:
    """Finite float64. Raises InputError for text that is not a number, NaN and infinity."""
    values = column(frame, name, place)
    numeric = as_numbers(values)
    if numeric is None:
        raise InputError(f"{place}: row 1: {name} is {_kind(values.dtype)} where a number belongs; give numbers")
    raise_where(numeric.is_null(), place, f"{name} is not a number", "give a number or drop the row")
    raise_where(~numeric.is_finite(), place, f"{name} is NaN or infinite", "give a number or drop the row")
    return numeric


def as_numbers(values: pl.Series) -> pl.Series | None:
    """The column as float64, null where a text is not a number; None for a column of neither numbers nor text.

    Of true and false, also as text, the one is 1 and the other 0.
    """
    if values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null):
        return values.cast(pl.Float64)
    if not isinstance(values.dtype, TEXT):
        return None
    text = values.cast(pl.String).str.strip_chars()
    truth = text.str.to_lowercase().replace_strict({"true": 1.0, "false": 0.0}, default=None, return_dtype=pl.Float64)
    return text.cast(pl.Float64, strict=False).fill_null(truth)


def row_numbers(frame: pl.DataFrame, name: str, place: str, count: int, table: str) -> NDArray[np.int64]:
    """Row numbers from 0 into a `table` of `count` rows. Raises InputError for text and beyond the table."""
    values = column(frame, name, place)
    whole = values.cast(pl.Int64, strict=False) if isinstance(values.dtype, TEXT) else values
    if not whole.dtype.is_integer() or whole.null_count():
        raise InputError(
            f"{place}: {name} is {_kind(values.dtype)}, but with ready-made {table} it is the row number "
            f"(from 0) of the {table}; give row numbers, or leave out {table} and name an encoder"
        )
    outside = ((whole < 0) | (whole >= count)).fill_null(False)
    if outside.any():
        value = whole.filter(outside)[0]
        raise_where(
            outside,
            place,
            f"{name} is {value}, but {table} have {count:,} rows (0 to {count - 1})",
            f"{table} and items are of different length: give the {table} of every item",
        )
    return whole.cast(pl.Int64).to_numpy(writable=True)


def _kind(dtype: pl.DataType) -> str:
    """What a person calls values of this type."""
    if isinstance(dtype, TEXT):
        return "text"
    if dtype.is_numeric():
        return f"a number ({dtype})"
    if isinstance(dtype, pl.List | pl.Array):
        return "a list"
    return f"of type {dtype}"
