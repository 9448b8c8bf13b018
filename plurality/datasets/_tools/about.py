"""Data sets as their authors publish them: a local file or folder, or a hub id, as lazy frames.

A source is a path, or "owner/name" or "owner/name@revision" on the Hugging Face hub. Frames are lazy, so that a
set of many gigabytes streams; JSON lines are the exception, since only a parser that is told the types
raises for a list where a text belongs.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from plurality.datasets._tools.json_rows import read_json_lines
from plurality.datasets._tools.schema import Columns, require
from plurality.errors import InputError, InputWarning
from plurality.io.paths import expanded

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".csv", ".csv.gz")


@dataclass(frozen=True, eq=False)
class Table:
    """A published table, checked, the name that messages call it by, and its rows that lack something needed."""

    frame: pl.LazyFrame
    place: str
    dropped: Mapping[str, int] = field(default_factory=dict)


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
    frame, dropped = require(_scan(paths, place, columns, optional or {}), columns, place, optional=optional)
    return Table(frame, place, dropped)


def parts_there(folder: Path, files: Mapping[str, str]) -> list[str]:
    """The parts, by name, whose file a folder holds, with an InputWarning where it lacks some but not all."""
    there = [part for part, file in files.items() if is_there(folder, file)]
    if there and len(there) < len(files):
        lost = ", ".join(file for part, file in files.items() if part not in there)
        warnings.warn(
            InputWarning(f"{folder} holds {', '.join(there)} but not {lost}; only they are read"), stacklevel=3
        )
    return there or list(files)


def is_there(folder: Path, file: str) -> bool:
    """Whether a folder, or one below it, holds a file of that name, with any of the suffixes."""
    return any(True for name in _names(file) for _ in folder.rglob(name))


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


def _scan(paths: Sequence[Path], place: str, columns: Columns, optional: Columns) -> pl.LazyFrame:
    kind = next((suffix for suffix in SUFFIXES if paths[0].name.lower().endswith(suffix)), None)
    if kind is None or not all(path.name.lower().endswith(kind) for path in paths):
        raise InputError(f"{place}: the format is unknown; give {', '.join(SUFFIXES)}")
    try:
        match kind:
            case ".parquet":
                frame = _together([pl.scan_parquet(path) for path in paths], columns, optional)
            case ".csv" | ".csv.gz":
                frame = pl.scan_csv(list(paths), infer_schema=False)
            case _:
                frames = [read_json_lines(path, columns, optional).lazy() for path in paths]
                frame = _together(frames, columns, optional)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        cause = str(error).strip().split("\n")[0]
        raise InputError(f"{place} cannot be read ({cause}); fetch the file again") from None
    return frame


def _together(parts: Sequence[pl.LazyFrame], columns: Columns, optional: Columns) -> pl.LazyFrame:
    """Parts as one table; of several only the columns that are read, since the others' types may differ."""
    there = [part.collect_schema().names() for part in parts]
    if len(parts) == 1 or not set(columns) <= set().union(*there):  # what is missing is told with what is there
        return parts[0]
    read = [*columns, *optional]
    used = [part.select(name for name in read if name in names) for part, names in zip(parts, there, strict=True)]
    return pl.concat(used, how="diagonal_relaxed")  # parts may differ in what they take for whole numbers
