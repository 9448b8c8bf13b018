"""The levels of an attribute, in the order in which a reader expects them."""

import re
from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from plurality.arrays import Array
from plurality.errors import InputError

MISSING = "(missing)"
NOT_LISTED = "(not in users table)"


def labels(values: ArrayLike, name: str = "labels") -> Array:
    """Labels or ids as an array in their shape; an id that ends in NUL, which numpy pads text with, stays itself.

    Raises InputError for a label that is masked, which is a missing one.

    values    labels in any shape
    name      what a message calls them
    """
    found = np.asarray(values)
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        row = int(np.ma.getmaskarray(values).ravel().argmax())
        raise InputError(f"{name}: row {row} is masked (first row is 0); drop it, or give it a label")
    if found.dtype.kind != "U" or isinstance(values, np.ndarray):
        return found
    kept = np.asarray(values, dtype=object)
    return kept if any(str(v).endswith("\0") for v in kept.ravel()) else found


def level_name(value: object) -> str:
    """How a level is written, as a column of users that holds it is read: true and false in small letters, 18.0 as 18.

    value    a level as somebody wrote it down
    """
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    return str(value)


def levels_of(column: pl.Series) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Distinct levels (G,) as text, and the place of each row (n,) among them.

    The levels of a polars Enum, as which an ordered categorical of pandas is read, stand in its order, others in that
    of their numbers, if they have any ("<18", "18-24", ">65"), then of the alphabet; what is missing stands last.

    column    levels without nulls
    """
    text = column.cast(pl.String)
    there = set(text.unique())
    if isinstance(column.dtype, pl.Enum):
        found = [level for level in column.dtype.categories if level in there]
    else:
        found = sorted(there, key=_place)
    place = {level: k for k, level in enumerate(found)}
    return tuple(found), text.replace_strict(place, return_dtype=pl.Int64).to_numpy().astype(np.intp)


def with_levels(column: pl.Series, more: Iterable[str]) -> pl.Series:
    """The column, which may then have further levels; they stand last.

    column    levels, as text or an Enum
    more      the further levels
    """
    if not isinstance(column.dtype, pl.Enum):
        return column
    return column.cast(pl.String).cast(pl.Enum(list(dict.fromkeys([*column.dtype.categories, *more]))))


def _place(level: str) -> tuple[bool, float, str]:
    """Key that sorts "9" before "10" and "<18" before "18-24"."""
    number = re.search(r"\d+(\.\d+)?", level)
    below = level.lstrip().lower().startswith(("<", "under", "less", "below"))
    place = float(number[0]) - 0.5 * below if number else np.inf
    return level in (MISSING, NOT_LISTED), place, level
