"""JSON lines as their authors publish them: parsed fast where every column has one type, else a line at a time.

A parser that infers types gives up on a file for one odd value in a column that nobody reads. Only then every line is
read by itself, and of it the columns that somebody does read.
"""

import gzip
import io
import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.json as pj

from plurality.datasets._tools.schema import Columns, arrow_schema, fit, message, note
from plurality.errors import InputError, InputWarning

BLOCK_BYTES = 1 << 26


def read_json_lines(path: Path, columns: Columns, optional: Columns) -> pl.DataFrame:
    """The frame of a .jsonl file, gzipped or not. Raises InputError naming the first line that is none.

    path        file
    columns     kinds of the columns that are needed: a value of another kind is an error
    optional    kinds of those that are not: such a value is null, with an InputWarning
    """
    kinds = {**columns, **optional}
    try:
        table = _parsed(path, arrow_schema(kinds))
        if any(pa.types.is_temporal(field.type) for field in table.schema if field.name in kinds):
            raise ValueError("an id is not a date")
    except (ValueError, EOFError, OSError):  # Arrow's own errors are ValueErrors
        content = "\n".join(_lines_of_kind(path, columns, optional)).encode("utf-8", "surrogatepass")
        try:
            table = _parsed(io.BytesIO(content), arrow_schema(kinds, settled=True))
        except (ValueError, OSError) as error:
            cause = " ".join(str(error).split())
            raise InputError(f"{path} cannot be read as JSON lines ({cause}); fetch the file again") from None
    frame = pl.DataFrame(pl.from_arrow(table))
    null = [name for name in kinds if name in frame.columns and frame[name].null_count() == frame.height]
    return frame.drop(set(null) - first_keys(path))  # a type that is told makes a column that is not there


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every line's number from 1 and its object. Raises InputError for the first line that is none."""
    for number, line in enumerate(_lines(path), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}: row {number}: the line is not JSON ({error}); fetch the file again") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}: row {number}: the line is not an object; write one object a line")
        yield number, row


def first_keys(path: Path) -> set[str]:
    """The keys of the first line."""
    return set(json.loads(next(iter(_lines(path)), b"{}")))


def _parsed(source: Path | io.BytesIO, schema: pa.Schema) -> pa.Table:
    parse = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer")
    table = pj.read_json(source, read_options=pj.ReadOptions(block_size=BLOCK_BYTES), parse_options=parse)
    table.validate(full=True)  # the parser does not look whether strings are UTF-8
    return table


def _lines_of_kind(path: Path, columns: Columns, optional: Columns) -> Iterator[str]:
    """Every line with the values of the columns alone, each of its kind."""
    odd: dict[str, tuple[int, Any, int]] = {}
    kinds = {**columns, **optional}
    for number, row in rows(path):
        line = {}
        for name in (name for name in kinds if name in row):
            line[name], fits = fit(row[name], kinds[name])
            if not fits and name in columns:
                raise InputError(message(path, number, name, row[name], kinds[name]))
            if not fits:
                first, value, count = odd.get(name, (number, row[name], 0))
                odd[name] = (first, value, count + 1)
        yield json.dumps(line or {"": None})
    for name, (number, value, count) in odd.items():
        warnings.warn(InputWarning(note(path, number, name, value, kinds[name], count)), stacklevel=2)


def _lines(path: Path) -> Iterable[bytes]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            yield from (line for line in file if line.strip())
    except (OSError, EOFError) as error:  # a damaged gzip file
        raise InputError(f"{path} cannot be read ({error}); fetch the file again") from None
