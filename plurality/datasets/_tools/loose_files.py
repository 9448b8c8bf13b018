"""JSON lines in which a list of objects stands, in some rows or in all, as the text Python shows for it."""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from plurality.datasets._tools.about import Table, folder_of, open_table
from plurality.datasets._tools.json_rows import first_keys, rows
from plurality.datasets._tools.schema import NUMBER, Columns, fit, message, require
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
    names = [name for name in columns if name in first_keys(path)]
    table: dict[str, list[Any]] = {name: [] for name in [*names, loose]}
    for row, values in rows(path):
        for name in names:
            value, fits = fit(values.get(name), columns[name])
            if not fits:
                raise InputError(message(path, row, name, values[name], columns[name]))
            table[name].append(value)
        if loose in values:
            table[loose].append(_numbers(values[loose], number, f"{path}: row {row}: {loose}"))
    if not table[loose]:
        del table[loose]
    inner = pl.List(pl.Struct({number: pl.Float64}))
    frame = pl.LazyFrame(table, schema_overrides={loose: inner} if loose in table else {})
    checked, dropped = require(frame, kinds, str(path))
    return Table(checked, str(path), dropped)


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
