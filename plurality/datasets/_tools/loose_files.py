"""JSON lines in which a list of objects stands, in some rows or in all, as the text Python shows for it."""

import ast
import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from plurality.datasets._tools.about import Table, folder_of, open_table
from plurality.datasets._tools.schema import NUMBER, Columns, explain, first_keys, require
from plurality.errors import InputError

SUFFIXES = (".jsonl", ".jsonl.gz")


def open_loose(source: str | Path, files: Sequence[str], columns: Columns, *, loose: str, number: str) -> Table:
    """`open_table` with a further column `loose`, a list of objects of which the field `number` is kept.

    Text in its place is read by ast.literal_eval, which knows literals alone and runs nothing. A parquet or CSV file
    goes to `open_table`. Raises InputError as it does, and for a text that is not a list of such objects.
    """
    kinds = {**columns, loose: [{number: NUMBER}]}
    folder = folder_of(source, files[:1])
    path = folder if folder.is_file() else _first(folder, files)
    if path is None or not path.name.endswith(SUFFIXES):
        return open_table(folder, files, kinds)
    explain(path, columns)
    names = [name for name in columns if name in first_keys(path)]
    table: dict[str, list[Any]] = {name: [] for name in [*names, loose]}
    for row, line in enumerate(_lines(path), 1):
        values = json.loads(line)
        for name in names:
            table[name].append(values.get(name))
        if loose in values:
            table[loose].append(_numbers(values[loose], number, f"{path}: row {row}: {loose}"))
    if not table[loose]:
        del table[loose]
    inner = pl.List(pl.Struct({number: pl.Float64}))
    frame = pl.LazyFrame(table, schema_overrides={loose: inner} if loose in table else {})
    return Table(require(frame, kinds, str(path)), str(path))


def _numbers(value: Any, number: str, place: str) -> list[dict[str, float | None]]:
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
    if not isinstance(value, list) or not all(isinstance(entry, dict) and _fits(entry.get(number)) for entry in value):
        raise InputError(f"{place} is not a list of objects with a number {number}; correct the row or leave it out")
    return [{number: entry.get(number)} for entry in value]


def _fits(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _first(folder: Path, files: Sequence[str]) -> Path | None:
    found = (path for file in files for suffix in SUFFIXES for path in sorted(folder.rglob(file + suffix)))
    return next(found, None)


def _lines(path: Path) -> Iterable[bytes]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        yield from (line for line in file if line.strip())
