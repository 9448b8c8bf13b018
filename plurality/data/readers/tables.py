"""Any table that people keep, as a polars frame and the name that messages call it by: the one reader of tables."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from plurality.data.readers import csv_files, json_lines
from plurality.errors import InputError
from plurality.io.causes import system_error, unreadable
from plurality.io.paths import expanded

FORMATS = ".parquet, .feather, .jsonl, .csv (the last two also as .gz)"
FRAMES = "a polars, pandas or pyarrow table, a mapping of columns or a Hugging Face Dataset"


def open_frame(source: Any, what: str) -> tuple[pl.DataFrame, str]:
    """The frame of a file or of a table in memory, and what to call it.

    source      path of a .parquet (.pq), .feather (.arrow), .jsonl (.ndjson, .json) or .csv file, the last two also
                gzipped (.gz); or a polars, pandas or pyarrow table, a mapping of columns, or a Hugging Face Dataset
    what        what the table is, such as "users"; messages call a file by its path and anything else by this

    Whatever the format, the frame is the same: all rows decide what is there and of which type, user ids keep their
    spelling, and so do codes in a CSV file (see `csv_files`). Raises InputError for what cannot be read, a column
    that is duplicated or that mixes types, and a table without rows.
    """
    if isinstance(source, str | Path):
        frame, place = _read_file(expanded(source), what), str(source)
    else:
        frame, place = _from_memory(source, what), what
    if frame.height == 0:
        raise InputError(f"{place} has no rows; give a table with at least one")
    return frame, place


def _read_file(path: Path, what: str) -> pl.DataFrame:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a ValueError of a NUL in the name
        raise InputError(f"{path} does not exist; give the path of the {what} ({FORMATS})") from None
    except OSError as error:  # a folder on the way that is closed, say, which is no absence
        raise unreadable(path, error, f"give the path of the {what} ({FORMATS})") from None
    if stat.S_ISDIR(mode):
        no_store = " without meta.json, so no store" if what == "comparisons" else ""
        raise InputError(f"{path} is a folder{no_store}; give a file ({FORMATS})")
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    try:
        match suffixes[-1] if suffixes else "":
            case ".parquet" | ".pq":
                return pl.read_parquet(path)
            case ".feather" | ".arrow":
                return pl.read_ipc(path)
            case ".jsonl" | ".ndjson" | ".json":
                return json_lines.read(path)
            case ".csv":
                return csv_files.read(path)
    except pl.exceptions.NoDataError:
        raise InputError(f"{path} has no rows; give a table with at least one") from None
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        if (known := system_error(error)) is not None:
            raise unreadable(path, known) from None
        raise InputError(f"{path} cannot be read ({_line(error)}); write the file again") from None
    raise InputError(f"{path}: the format {path.suffix or 'without suffix'} is unknown; give {FORMATS}")


def _from_memory(source: Any, what: str) -> pl.DataFrame:
    library, kind = type(source).__module__.split(".")[0], type(source).__name__
    if isinstance(source, pl.LazyFrame):
        try:
            source = source.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(f"{what}: the lazy frame cannot be collected ({_line(error)})") from None
    if isinstance(source, pl.DataFrame):
        return _without_objects(source, what)
    if isinstance(source, Mapping) and library != "datasets":
        return _from_columns(source, what)
    if (library, kind) == ("pandas", "DataFrame"):
        return _from_pandas(source, what)
    if library == "datasets":
        return _from_dataset(source, what)
    if library == "pyarrow" and kind in ("Table", "RecordBatch"):
        _check_names(source.schema.names, what)
        return pl.DataFrame(pl.from_arrow(source))
    raise InputError(f"{what} of type {kind} cannot be read; give a file ({FORMATS}), {FRAMES}")


def _from_columns(source: Mapping[Any, Any], what: str) -> pl.DataFrame:
    _check_names([str(name) for name in source], what)
    series = []
    for name, values in source.items():
        if isinstance(values, str | bytes | Mapping) or not _is_sized(values):
            raise InputError(f"{what}: column {name} is {type(values).__name__}; give a list of values, one a row")
        series.append(_column(str(name), values, what))
    for other in series[1:]:
        if other.len() != series[0].len():
            first = series[0]
            raise InputError(
                f"{what}: column {other.name} has {other.len():,} rows, {first.name} {first.len():,}; "
                "give columns of one length"
            )
    return _without_objects(pl.DataFrame(series), what)


def _is_sized(values: Any) -> bool:
    try:
        len(values)
    except TypeError:
        return False
    return True


def _column(name: str, values: Any, what: str) -> pl.Series:
    """Values as a column of one type; whole numbers and others are numbers. Raises InputError for a mixture."""
    if isinstance(values, list | tuple):  # polars looks at the first of them only
        if json_lines.explain_mixture(({name: value} for value in values), what):
            values = [json_lines.joined(value) if isinstance(value, list) else value for value in values]
        if any(isinstance(value, str) for value in values):  # NaN among texts says that there is none
            values = [value if isinstance(value, str) else None for value in values]
    if isinstance(values, np.ma.MaskedArray):  # what is masked is missing
        return pl.Series(name, values.tolist())
    try:
        return pl.Series(name, values, strict=not isinstance(values, list | tuple))  # 0 and .5 are both numbers
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        cause = f"column {name} cannot be read ({_line(error)})"
        raise InputError(f"{what}: {cause}; give values of one type") from None


def _from_pandas(source: Any, what: str) -> pl.DataFrame:
    _check_names([str(name) for name in source.columns], what)
    try:
        return pl.DataFrame(pl.from_pandas(source)).with_columns(**_ordered(source))
    except (TypeError, ValueError, RecursionError, pl.exceptions.PolarsError) as error:
        for name in source.columns:
            if source[name].dtype == object:
                json_lines.explain_mixture(({str(name): value} for value in source[name].tolist()), what)
        raise InputError(f"{what}: the pandas frame mixes types in a column ({_line(error)})") from None


def _ordered(source: Any) -> dict[str, pl.Expr]:
    """The ordered categoricals of a pandas frame as Enums, which keep their order."""
    kinds = {str(name): dtype for name, dtype in source.dtypes.items() if str(dtype) == "category" and dtype.ordered}
    return {
        name: pl.col(name).cast(pl.String).cast(pl.Enum([str(level) for level in dtype.categories]))
        for name, dtype in kinds.items()
    }


def _from_dataset(source: Any, what: str) -> pl.DataFrame:
    kind = type(source).__name__
    if kind != "Dataset":
        raise InputError(f"{what} is a {kind}; give one Dataset of it, such as a split loaded into memory")
    return pl.DataFrame(source.to_polars())


def _without_objects(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    """The frame with columns of Python objects made columns of one type. Raises InputError where that cannot be."""
    for name, dtype in frame.schema.items():
        if dtype == pl.Object:
            values = frame[name].to_list()
            column = _column(name, values, what)
            if column.dtype == pl.Object:
                kind = type(next(value for value in values if value is not None)).__name__
                raise InputError(f"{what}: column {name} holds Python objects of type {kind}; drop it, or make it text")
            frame = frame.with_columns(column)
    return frame


def _check_names(names: list[str], what: str) -> None:
    for twice in _duplicates(names):
        raise InputError(f"{what}: column {twice} is duplicated; rename or drop one")


def _duplicates(names: list[str]) -> Iterator[str]:
    return (name for place, name in enumerate(names) if name in names[:place])


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
