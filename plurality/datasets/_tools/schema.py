"""What a published table must hold: kinds of columns, and one clear line where a row breaks them.

A kind is TEXT, SAID (a message's content), ID, NUMBER, FLAG, ANY, or made of kinds as JSON is: [TEXT] a list of texts,
{"name": TEXT} an object with (at least) this field, [{"name": TEXT}] a list of such. Rows count from 1.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from plurality.errors import InputError, InputWarning
from plurality.io.visible import text_of


class Scalar(Enum):
    """Kinds of single values, named as a message calls them."""

    TEXT = "text"
    SAID = "text, or a list of text parts"
    ID = "an id (text or a whole number)"
    NUMBER = "a number"
    FLAG = "true or false"
    ANY = "anything"


TEXT, ID, NUMBER, FLAG, SAID, ANY = (Scalar[name] for name in ("TEXT", "ID", "NUMBER", "FLAG", "SAID", "ANY"))
Kind = Scalar | list[Any] | dict[str, Any]
Columns = Mapping[str, Any]
DTYPES: dict[Scalar, pl.DataType] = {TEXT: pl.String(), SAID: pl.String(), ID: pl.String()}
DTYPES |= {NUMBER: pl.Float64(), FLAG: pl.Boolean(), ANY: pl.Null()}
STRINGS = (pl.String, pl.Categorical, pl.Enum)
YES, NO = ("true", "1", "yes"), ("false", "0", "no")
ROW = "_row_of_file"
"""The column that says which row of the file a row was, where others were left out."""


def require(
    frame: pl.LazyFrame, columns: Columns, place: str, *, optional: Columns | None = None
) -> tuple[pl.LazyFrame, dict[str, int]]:
    """The frame with these columns of one type each, and how many rows were left out for want of which.

    Text and ids are String, numbers Float64, flags Boolean; messages in parts are joined. A row with a null in one of
    `columns` is left out, and `ROW` then holds the rows of the file. Columns of `optional` may be absent or null, and
    what is not of their kind becomes null with an InputWarning. Raises InputError naming columns that are missing, or
    the first row of one of `columns` with a number that is none, a list in place of a text, or nothing but nulls.
    """
    optional = optional or {}
    schema = frame.collect_schema()
    missing = [name for name in columns if name not in schema]
    if missing:
        there = ", ".join(schema.names()) or "none"
        raise InputError(
            f"{place}: column {', '.join(missing)} is missing, the columns are {there}; give the published file"
        )
    kinds = {**columns, **optional}
    present = {name: kind for name, kind in kinds.items() if name in schema}
    values = {name: _value(pl.col(name), schema[name], kind) for name, kind in present.items()}
    odd = {name: _odd(values[name], name, schema[name], kind) for name, kind in present.items()}
    gaps = {name: _gap(name, schema[name], kind) for name, kind in columns.items()}
    found = _look(frame, odd, gaps, place)
    _raise_for_odd(frame, {name: found[f"odd {name}"] for name in columns}, kinds, place)
    for name in optional:
        if found.get(f"odd {name}") is not None:
            _warn_of_odd(frame, name, found, kinds[name], place)
    absent = [pl.lit(None, dtype=_dtype(kind)).alias(name) for name, kind in kinds.items() if name not in schema]
    told = {name: pl.when(~odd[name].fill_null(False)).then(value) for name, value in values.items()}
    lacking = ROW not in schema and any(found[f"gap {name}"] for name in gaps)
    checked = frame.with_row_index(ROW) if lacking else frame
    checked = checked.with_columns(**told).with_columns(absent)
    return _complete(checked, gaps, found, kinds, place)


def raise_at_first(frame: pl.LazyFrame, bad: pl.Expr, place: str, cause: str, remedy: str) -> None:
    """Raise InputError for the first row where `bad` holds; a null does not."""
    row = numbered(frame).filter(bad.fill_null(False)).select(pl.col("row").min()).collect(engine="streaming").item()
    if row is not None:
        raise InputError(f"{place}: row {row + 1}: {cause}; {remedy}")


def require_given(frame: pl.LazyFrame, names: Sequence[str], place: str) -> None:
    """Raise InputError for a column that has no value at all, of those that may lack some."""
    given = frame.select(pl.col(names).is_not_null().any()).collect(engine="streaming")
    for name in names:
        if not given[name].item():
            raise InputError(f"{place}: column {name} is missing or empty; give the published file")


def numbered(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with `row`, the row of the file from 0, also where rows of it were left out."""
    names = frame.collect_schema().names()
    if "row" in names:
        return frame
    return frame.rename({ROW: "row"}) if ROW in names else frame.with_row_index("row")


def fit_all(values: pl.Series, kind: Kind) -> pl.Series:
    """A column of values of the kind, texts in parts joined; null where one is not of the kind."""
    return pl.Series(values.name, [fit(value, kind)[0] for value in values.to_list()], dtype=_dtype(kind))


def fit(value: Any, kind: Kind) -> tuple[Any, bool]:
    """The value as one of the kind, with fields that nobody asked for only where they are text; and whether it fits.

    A part of a message that is no text makes its content null.
    """
    if value is None:
        return None, True
    if isinstance(kind, list):
        entries = [fit(entry, kind[0]) for entry in value] if isinstance(value, list) else []
        fits = isinstance(value, list) and all(good for _, good in entries)
        return ([entry for entry, _ in entries], True) if fits else (None, False)
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            return None, False
        fields = {name: fit(value.get(name), inner) for name, inner in kind.items()}
        fits = all(good for _, good in fields.values())
        others = {name: entry for name, entry in value.items() if not kind or isinstance(entry, str)}
        return ({**others, **{name: entry for name, (entry, _) in fields.items()}}, True) if fits else (None, False)
    return _fit_scalar(value, kind)


def _fit_scalar(value: Any, kind: Scalar) -> tuple[Any, bool]:
    if kind is ANY:
        return value, True
    truth = isinstance(value, bool)
    if kind is SAID and isinstance(value, list) and all(part is None or isinstance(part, dict) for part in value):
        return text_of([_without_nulls(part) for part in value]), True
    if kind in (TEXT, SAID):
        return (value, True) if isinstance(value, str) else (None, False)
    if kind is ID:
        return (str(value), True) if isinstance(value, str | int) and not truth else (None, False)
    if kind is FLAG:
        word = str(value).lower()
        return (word in YES, True) if word in (*YES, *NO) else (None, False)
    try:
        number = float(value) if isinstance(value, str | int | float) and not truth else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    return (number, True) if math.isfinite(number) else (None, isinstance(value, float))


def _without_nulls(part: Any) -> Any:
    """A part as it was before a column gave each the keys of all."""
    return {name: value for name, value in part.items() if value is not None} if isinstance(part, dict) else part


def arrow_schema(kinds: Columns, *, settled: bool = False) -> pa.Schema:
    """The types a JSON parser is told: without them it would write a list among texts as text, or texts as dates.

    kinds      kinds of the columns
    settled    whether values went through `fit`, so that ids are text and numbers are not whole
    """
    typed = {name: _arrow(kind, settled) for name, kind in kinds.items()}
    return pa.schema([(name, kind) for name, kind in typed.items() if kind is not None])


def _odd(value: pl.Expr, name: str, dtype: pl.DataType, kind: Kind) -> pl.Expr:
    """Whether a cell holds something that is not of its kind."""
    given = pl.col(name).is_not_null()
    return given & value.is_null() if _suits(dtype, kind) else given


def _gap(name: str, dtype: pl.DataType, kind: Kind) -> pl.Expr:
    """Whether a cell, or an entry of its list, is null."""
    null = pl.col(name).is_null()
    listed = isinstance(kind, list) and isinstance(dtype, pl.List)
    return null | pl.col(name).list.eval(pl.element().is_null()).list.any() if listed else null


def _look(
    frame: pl.LazyFrame, odd: Mapping[str, pl.Expr], gaps: Mapping[str, pl.Expr], place: str
) -> dict[str, int | None]:
    """One pass: of every column the first odd row (None: there is none) and how many, and how many gaps."""
    seen = [pl.len().alias("rows")]
    for name, bad in odd.items():
        bad = bad.fill_null(False)
        seen += [bad.index_of(True).alias(f"odd {name}"), bad.sum().alias(f"odds {name}")]
    seen += [gap.fill_null(True).sum().alias(f"gap {name}") for name, gap in gaps.items()]
    try:
        return dict(frame.select(seen).collect(engine="streaming").row(0, named=True))
    except (pl.exceptions.PolarsError, OSError) as error:
        cause = str(error).strip().split("\n")[0]
        raise InputError(f"{place} cannot be read ({cause}); fetch the file again") from None


def _raise_for_odd(frame: pl.LazyFrame, firsts: Mapping[str, int | None], kinds: Columns, place: str) -> None:
    """Raise InputError for the earliest odd row."""
    bad = {name: row for name, row in firsts.items() if row is not None}
    if bad:
        name = min(bad, key=bad.__getitem__)
        raise InputError(message(place, bad[name] + 1, name, _cell(frame, name, bad[name]), kinds[name]))


def _warn_of_odd(frame: pl.LazyFrame, name: str, found: Mapping[str, int | None], kind: Kind, place: str) -> None:
    row, count = found[f"odd {name}"] or 0, found[f"odds {name}"] or 0
    warnings.warn(InputWarning(note(place, row + 1, name, _cell(frame, name, row), kind, count)), stacklevel=2)


def _cell(frame: pl.LazyFrame, name: str, row: int) -> Any:
    return frame.select(pl.col(name)).slice(row, 1).collect()[name].to_list()[0]


def _complete(
    frame: pl.LazyFrame,
    gaps: Mapping[str, pl.Expr],
    found: Mapping[str, int | None],
    kinds: Columns,
    place: str,
) -> tuple[pl.LazyFrame, dict[str, int]]:
    """The rows without a gap, and how many had their first gap in which column."""
    some = [name for name in gaps if found[f"gap {name}"]]
    left = found["rows"] or 0
    dropped = {}
    for name in some:
        gap = _gap(name, frame.collect_schema()[name], kinds[name]).fill_null(True)
        frame = frame.filter(~gap)
        rest = int(frame.select(pl.len()).collect(engine="streaming").item())
        if left > rest:
            dropped[f"rows without {name}"] = left - rest
        if not rest:
            raise InputError(message(place, 1, name, None, kinds[name]))
        left = rest
    return frame, dropped


def message(place: str | Path, row: int, name: str, value: Any, kind: Kind) -> str:
    """What an error says of a value (its row from 1) that is not of its kind."""
    return (
        f"{place}: row {row}: {name} is {_shown(value)} where {_words(kind)} belongs; correct the row or leave it out"
    )


def note(place: str | Path, row: int, name: str, value: Any, kind: Kind, count: int) -> str:
    """What a warning says of a value that is not of its kind, in a column that nothing stands on."""
    others = f" ({count:,} rows in all)" if count > 1 else ""
    return f"{place}: row {row}: {name} is {_shown(value)} where {_words(kind)} belongs; taken as missing{others}"


def _shown(value: Any) -> str:
    shown = "null" if value is None else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _words(kind: Kind) -> str:
    if isinstance(kind, Scalar):
        return kind.value
    if isinstance(kind, list):
        return f"a list of {_words(kind[0])}"
    return f"an object with {', '.join(kind)}"


def _dtype(kind: Kind) -> pl.DataType:
    if isinstance(kind, Scalar):
        return DTYPES[kind]
    if isinstance(kind, list):
        return pl.List(_dtype(kind[0]))
    return pl.Struct({name: _dtype(inner) for name, inner in kind.items()})


def _suits(dtype: pl.DataType, kind: Kind) -> bool:
    """Whether values of this type can be of the kind; a number or flag may stand as text, as in CSV."""
    if isinstance(dtype, pl.Null) or kind is ANY:
        return True
    if isinstance(kind, list):
        return isinstance(dtype, pl.List | pl.Array) and _suits(_inner(dtype), kind[0])
    if isinstance(kind, dict):
        fields = {f.name: f.dtype for f in dtype.fields} if isinstance(dtype, pl.Struct) else {}
        return all(name in fields and _suits(_instance(fields[name]), inner) for name, inner in kind.items())
    if isinstance(dtype, STRINGS):
        return True
    if kind is SAID:
        return _in_parts(dtype)
    if kind is ID:  # whole numbers become floats where a library has no other null
        return dtype.is_integer() or dtype.is_float()
    return kind is not TEXT and (dtype.is_numeric() or dtype == pl.Boolean)


def _in_parts(dtype: Any) -> bool:
    """Whether a type is that of a content in parts."""
    return isinstance(dtype, pl.List | pl.Array) and isinstance(_inner(dtype), pl.Struct)


def _spoken(dtype: Any, kind: Kind) -> bool:
    """Whether some message within has its content in parts."""
    if isinstance(kind, list):
        return isinstance(dtype, pl.List | pl.Array) and _spoken(_inner(dtype), kind[0])
    if isinstance(kind, dict):
        fields = {f.name: f.dtype for f in dtype.fields} if isinstance(dtype, pl.Struct) else {}
        return any(name in fields and _spoken(_instance(fields[name]), inner) for name, inner in kind.items())
    return kind is SAID and _in_parts(dtype)


def _value(column: pl.Expr, dtype: pl.DataType, kind: Kind) -> pl.Expr:
    """The column as a value of the kind; null where it is none."""
    if _suits(dtype, kind) and _spoken(dtype, kind):
        return column.map_batches(lambda values: fit_all(values, kind), return_dtype=_dtype(kind), is_elementwise=True)
    if kind is ANY:
        return column
    if not isinstance(kind, Scalar):
        empty = isinstance(dtype, pl.Null) or (isinstance(dtype, pl.List) and isinstance(_inner(dtype), pl.Null))
        return column.cast(_dtype(kind)) if empty else column
    if not _suits(dtype, kind):
        return column
    if kind is ID and dtype.is_float():
        return pl.when(column == column.round()).then(column.cast(pl.Int64, strict=False).cast(pl.String))
    text = column.cast(pl.String)
    if kind in (TEXT, ID, SAID):
        return text
    if kind is NUMBER:
        number = (text if isinstance(dtype, STRINGS) else column).cast(pl.Float64, strict=False)
        return pl.when(number.is_finite()).then(number)
    word = text.str.to_lowercase()
    return pl.when(word.is_in(YES)).then(True).when(word.is_in(NO)).then(False)


def _inner(dtype: Any) -> pl.DataType:
    return _instance(dtype.inner)


def _instance(dtype: Any) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype


def _arrow(kind: Kind, settled: bool) -> pa.DataType | None:
    """The Arrow type of a kind where only one will do: ids may be numbers, and numbers whole or not."""
    if kind in (TEXT, SAID) or (settled and kind is ID):
        return pa.string()
    if kind is FLAG:
        return pa.bool_()
    if settled and kind is NUMBER:
        return pa.float64()
    if isinstance(kind, list):
        inner = _arrow(kind[0], settled)
        return None if inner is None else pa.list_(inner)
    if isinstance(kind, dict):
        fields = {name: _arrow(inner, settled) for name, inner in kind.items()}
        return pa.struct([(name, inner) for name, inner in fields.items() if inner is not None])
    return None
