"""What a published table must hold: kinds of columns, and one clear line where a row breaks them.

A kind is TEXT, ID, NUMBER, FLAG, or made of kinds as JSON is: [TEXT] a list of texts, {"name": TEXT} an object
with (at least) this field, [{"name": TEXT}] a list of such. Rows count from 1.
"""

import gzip
import json
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from plurality.errors import InputError


class Scalar(Enum):
    """Kinds of single values, named as a message calls them."""

    TEXT = "text"
    ID = "an id (text or a whole number)"
    NUMBER = "a number"
    FLAG = "true or false"


TEXT, ID, NUMBER, FLAG = Scalar.TEXT, Scalar.ID, Scalar.NUMBER, Scalar.FLAG
Kind = Scalar | list[Any] | dict[str, Any]
Columns = Mapping[str, Any]
DTYPES: dict[Scalar, pl.DataType] = {TEXT: pl.String(), ID: pl.String(), NUMBER: pl.Float64(), FLAG: pl.Boolean()}
STRINGS = (pl.String, pl.Categorical, pl.Enum)
YES, NO = ("true", "1", "yes"), ("false", "0", "no")


def require(frame: pl.LazyFrame, columns: Columns, place: str, *, optional: Columns | None = None) -> pl.LazyFrame:
    """The frame with these columns of one type each: text and ids String, numbers Float64, flags Boolean.

    Columns of `optional` may be absent (they become null) or null in places. Raises InputError naming columns
    that are missing, or the first row with a null, a number that is none or a list in place of a text.
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
    wrong = {
        name: pl.lit(not _suits(schema[name], kind)) & pl.col(name).is_not_null() for name, kind in present.items()
    }
    values = {name: _value(pl.col(name), schema[name], kind) for name, kind in present.items()}
    for name, value in values.items():
        bad = wrong[name] | (value.is_null() & pl.col(name).is_not_null())
        if isinstance(present[name], list) and isinstance(schema[name], pl.List):
            bad = bad | pl.col(name).list.eval(pl.element().is_null()).list.any()
        wrong[name] = bad if name in optional else bad | pl.col(name).is_null()
    _raise_for_kinds(frame, wrong, present, place)
    absent = [pl.lit(None, dtype=_dtype(kind)).alias(name) for name, kind in kinds.items() if name not in schema]
    return frame.with_columns(*(value.alias(name) for name, value in values.items()), *absent)


def raise_at_first(frame: pl.LazyFrame, bad: pl.Expr, place: str, cause: str, remedy: str) -> None:
    """Raise InputError for the first row where `bad` holds; a null does not."""
    row = frame.select(bad.fill_null(False).index_of(True)).collect(engine="streaming").item()
    if row is not None:
        raise InputError(f"{place}: row {row + 1}: {cause}; {remedy}")


def arrow_schema(kinds: Columns) -> pa.Schema:
    """The types a JSON parser is told: without them it would write a list among texts as text, or texts as dates."""
    typed = {name: _arrow(kind) for name, kind in kinds.items()}
    return pa.schema([(name, kind) for name, kind in typed.items() if kind is not None])


def explain(path: Path, kinds: Columns) -> None:
    """Raise InputError for the first line of a JSON lines file that is none or breaks a kind, if there is one."""
    for number, line in enumerate(_lines(path), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}: row {number}: the line is not JSON ({error}); fetch the file again") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}: row {number}: the line is not an object; write one object a line")
        for name, kind in kinds.items():
            if not _fits(row.get(name), kind):
                raise InputError(_message(path, number, name, row[name], kind))


def first_keys(path: Path) -> set[str]:
    """The keys of the first line."""
    return set(json.loads(next(iter(_lines(path)), b"{}")))


def _raise_for_kinds(frame: pl.LazyFrame, wrong: Mapping[str, pl.Expr], kinds: Columns, place: str) -> None:
    """One pass over the frame for the first bad row of every column; the earliest row is told."""
    firsts = [bad.fill_null(False).index_of(True).alias(name) for name, bad in wrong.items()]
    try:
        found = frame.select(firsts).collect(engine="streaming").row(0, named=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        cause = str(error).strip().split("\n")[0]
        raise InputError(f"{place} cannot be read ({cause}); fetch the file again") from None
    bad_rows = {name: row for name, row in found.items() if row is not None}
    if bad_rows:
        name, row = min(bad_rows.items(), key=lambda entry: entry[1])
        value = frame.select(pl.col(name)).slice(row, 1).collect()[name].to_list()[0]
        raise InputError(_message(place, row + 1, name, value, kinds[name]))


def _message(place: str | Path, row: int, name: str, value: Any, kind: Kind) -> str:
    shown = "null" if value is None else repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return f"{place}: row {row}: {name} is {shown} where {_words(kind)} belongs; correct the row or leave it out"


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
    if isinstance(dtype, pl.Null):
        return True
    if isinstance(kind, list):
        return isinstance(dtype, pl.List | pl.Array) and _suits(_inner(dtype), kind[0])
    if isinstance(kind, dict):
        fields = {f.name: f.dtype for f in dtype.fields} if isinstance(dtype, pl.Struct) else {}
        return all(name in fields and _suits(_instance(fields[name]), inner) for name, inner in kind.items())
    if isinstance(dtype, STRINGS):
        return True
    if kind is ID:
        return dtype.is_integer()
    return kind is not TEXT and (dtype.is_numeric() or dtype == pl.Boolean)


def _value(column: pl.Expr, dtype: pl.DataType, kind: Kind) -> pl.Expr:
    """The column as a value of the kind; null where it is none."""
    if not isinstance(kind, Scalar):
        empty = isinstance(dtype, pl.Null) or (isinstance(dtype, pl.List) and isinstance(_inner(dtype), pl.Null))
        return column.cast(_dtype(kind)) if empty else column
    if not _suits(dtype, kind):
        return column
    text = column.cast(pl.String)
    if kind in (TEXT, ID):
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


def _arrow(kind: Kind) -> pa.DataType | None:
    """The Arrow type of a kind where only one will do: ids may be numbers, and numbers whole or not."""
    if kind is TEXT:
        return pa.string()
    if kind is FLAG:
        return pa.bool_()
    if isinstance(kind, list):
        inner = _arrow(kind[0])
        return None if inner is None else pa.list_(inner)
    if isinstance(kind, dict):
        fields = {name: _arrow(inner) for name, inner in kind.items()}
        return pa.struct([(name, inner) for name, inner in fields.items() if inner is not None])
    return None


def _fits(value: Any, kind: Kind) -> bool:
    if value is None:
        return True
    if isinstance(kind, list):
        return isinstance(value, list) and all(_fits(v, kind[0]) for v in value)
    if isinstance(kind, dict):
        return isinstance(value, dict) and all(_fits(value.get(name), inner) for name, inner in kind.items())
    types: dict[Scalar, Any] = {TEXT: str, ID: (str, int), NUMBER: (int, float, str), FLAG: bool}
    return isinstance(value, types[kind]) and not (kind is ID and isinstance(value, bool))


def _lines(path: Path) -> Iterable[bytes]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        yield from (line for line in file if line.strip())
