"""Data sets as their authors publish them: a local file or folder, or a hub id, as lazy frames.

A source is a path, or "owner/name" or "owner/name@revision" on the Hugging Face hub. Frames are lazy, so that a
set of many gigabytes streams; JSON lines are the exception, since only a parser that is told the types
raises for a list where a text belongs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from plurality.datasets._tools.schema import Columns, arrow_schema, explain, first_keys, require
from plurality.errors import InputError
from plurality.io.paths import expanded

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".csv", ".csv.gz")


@dataclass(frozen=True, eq=False)
class Table:
    """A published table, checked, and the name that messages call it by."""

    frame: pl.LazyFrame
    place: str


def folder_of(source: str | Path, files: Sequence[str]) -> Path:
    """The local file or folder of a source, a hub id being fetched (only `files`) into the hub's own cache.

    Raises InputError for a path that is not there and for what the hub does not give.
    """
    path = expanded(source)
    if path.exists():
        return path
    repo, _, revision = str(source).partition("@")
    if repo.count("/") != 1 or str(source).startswith((".", "/", "~")) or Path(repo).suffix in SUFFIXES:
        raise InputError(f"{source} does not exist; give a file or folder in the published format, or a hub id")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = [prefix + name for file in files for name in _names(file) for prefix in ("", "**/")]
    try:
        return Path(snapshot_download(repo, repo_type="dataset", revision=revision or None, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        cause = str(error).strip().split("\n")[0]
        raise InputError(
            f"{source} is not a local path, and the hub does not give it ({cause}); "
            "check the name, log in where the set asks for it, or give the path of a copy"
        ) from None


def open_table(
    source: str | Path, files: str | Sequence[str], columns: Columns, *, optional: Columns | None = None
) -> Table:
    """A published table as a lazy frame, its columns checked by `require`.

    `files` are names searched for in a folder and those below it, the first that is there is taken: "survey" is
    survey.parquet, .jsonl, .jsonl.gz, .csv or .csv.gz, and "train-*.parquet" all its parts. A path of a single
    file is taken as it is. Raises InputError for a source without these files, and as `require` does.
    """
    names = [files] if isinstance(files, str) else list(files)
    paths = _find(folder_of(source, names), names)
    place = str(paths[0]) if len(paths) == 1 else f"{paths[0].parent} ({len(paths)} files)"
    kinds = {**columns, **(optional or {})}
    return Table(require(_scan(paths, place, kinds), columns, place, optional=optional), place)


def _names(file: str) -> list[str]:
    return [file] if file.endswith(SUFFIXES) else [file + suffix for suffix in SUFFIXES]


def _find(place: Path, files: Sequence[str]) -> list[Path]:
    if place.is_file():
        return [place]
    for file in files:
        for name in _names(file):
            found = sorted(path for path in place.rglob(name) if path.is_file())
            if len(found) > 1 and "*" not in name:
                raise InputError(f"{place} holds {name} {len(found)} times; give the path of one, or of its folder")
            if found:
                return found
    there = ", ".join(sorted(path.name for path in place.iterdir())[:10]) or "nothing"
    raise InputError(
        f"{place} holds no {' or '.join(files)} ({', '.join(SUFFIXES)}), but {there}; give the published files"
    )


def _scan(paths: Sequence[Path], place: str, kinds: Columns) -> pl.LazyFrame:
    kind = next((suffix for suffix in SUFFIXES if paths[0].name.lower().endswith(suffix)), None)
    if kind is None or not all(path.name.lower().endswith(kind) for path in paths):
        raise InputError(f"{place}: the format is unknown; give {', '.join(SUFFIXES)}")
    try:
        match kind:
            case ".parquet":
                # parts may differ in what they take for whole numbers
                frame = pl.concat([pl.scan_parquet(path) for path in paths], how="diagonal_relaxed")
            case ".csv" | ".csv.gz":
                frame = pl.scan_csv(list(paths), infer_schema=False)
            case _:
                frame = pl.concat([_json_lines(path, kinds) for path in paths], how="diagonal_relaxed").lazy()
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        cause = str(error).strip().split("\n")[0]
        raise InputError(f"{place} cannot be read ({cause}); fetch the file again") from None
    return frame


def _json_lines(path: Path, kinds: Mapping[str, Any]) -> pl.DataFrame:
    import pyarrow.json as pj

    parse = pj.ParseOptions(explicit_schema=arrow_schema(kinds), unexpected_field_behavior="infer")
    try:
        table = pj.read_json(path, read_options=pj.ReadOptions(block_size=1 << 26), parse_options=parse)
        table.validate(full=True)  # the parser does not look whether strings are UTF-8
    except (ValueError, EOFError, OSError) as error:  # Arrow's own errors are ValueErrors
        explain(path, kinds)
        cause = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as JSON lines ({cause}); fetch the file again") from None
    frame = pl.DataFrame(pl.from_arrow(table))
    null = [name for name in kinds if name in frame.columns and frame[name].null_count() == frame.height]
    return frame.drop(set(null) - first_keys(path))  # a type that is told makes a column that is not there
