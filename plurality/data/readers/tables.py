"""Any table that people keep comparisons in, as a polars frame and the name that messages call it by."""

from pathlib import Path
from typing import Any

import polars as pl

from plurality.data.readers import json_lines
from plurality.errors import InputError

FORMATS = ".parquet, .jsonl, .csv (the last two also as .gz)"


def open_frame(source: Any, what: str) -> tuple[pl.DataFrame, str]:
    """The frame of a file, a polars or pandas frame or a Hugging Face Dataset, and what to call it.

    A file is called by its path, anything else `what`. Raises InputError for what cannot be read.
    """
    if isinstance(source, str | Path):
        frame, place = _read_file(Path(source).expanduser(), what), str(source)
    else:
        frame, place = _from_memory(source, what), what
    if frame.height == 0:
        raise InputError(f"{place} has no rows; give a table with at least one")
    return frame, place


def _read_file(path: Path, what: str) -> pl.DataFrame:
    if not path.exists():
        raise InputError(f"{path} does not exist; give the path of the {what} ({FORMATS})")
    if path.is_dir():
        raise InputError(f"{path} is a folder without meta.json, so no store; give a file ({FORMATS})")
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    try:
        match suffixes[-1] if suffixes else "":
            case ".parquet" | ".pq":
                return pl.read_parquet(path)
            case ".jsonl" | ".ndjson" | ".json" if what == "users":
                return pl.read_ndjson(path, infer_schema_length=None)
            case ".jsonl" | ".ndjson" | ".json":
                return json_lines.read(path)
            case ".csv" if what == "users":
                # ids stay text: 007 is not 7
                return pl.read_csv(path, infer_schema_length=None, schema_overrides={"user_id": pl.String})
            case ".csv":
                return pl.read_csv(path, infer_schema=False)
    except pl.exceptions.NoDataError:
        raise InputError(f"{path} has no rows; give a table with at least one") from None
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read ({_line(error)}); write the file again") from None
    raise InputError(f"{path}: the format {path.suffix or 'without suffix'} is unknown; give {FORMATS}")


def _from_memory(source: Any, what: str) -> pl.DataFrame:
    library = type(source).__module__.split(".")[0]
    if isinstance(source, pl.LazyFrame):
        try:
            source = source.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(f"{what}: the lazy frame cannot be collected ({_line(error)})") from None
    if isinstance(source, pl.DataFrame):
        return _without_objects(source, what)
    if library == "pandas":
        return _from_pandas(source, what)
    if library == "datasets":
        return _from_dataset(source, what)
    raise InputError(
        f"{what} of type {type(source).__name__} cannot be read; give a file ({FORMATS}), a polars or pandas "
        "frame or a Hugging Face Dataset"
    )


def _from_pandas(source: Any, what: str) -> pl.DataFrame:
    try:
        return pl.DataFrame(pl.from_pandas(source))
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        for name in json_lines.TYPED:
            if name in source.columns:
                json_lines.explain_mixture(({name: value} for value in source[name].tolist()), what)
        raise InputError(f"{what}: the pandas frame mixes types in a column ({_line(error)})") from None


def _from_dataset(source: Any, what: str) -> pl.DataFrame:
    kind = type(source).__name__
    if kind != "Dataset":
        raise InputError(f"{what} is a {kind}; give one Dataset of it, such as a split loaded into memory")
    return pl.DataFrame(source.to_polars())


def _without_objects(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    """The frame with columns of Python objects made columns of one type, or left out if nobody reads them."""
    objects = [name for name, dtype in frame.schema.items() if dtype == pl.Object]
    for name in objects:
        if name in json_lines.TYPED:
            values = frame[name].to_list()
            json_lines.explain_mixture(({name: value} for value in values), what)
            frame = frame.with_columns(pl.Series(name, values))
        else:
            frame = frame.drop(name)
    return frame


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
