"""The record of a folder that was written whole: JSON that lists every other file with its hash and seals itself.

files           name -> {"bytes", "sha256"}, of every file but the record
content_hash    SHA-256 over the names and hashes of the files: what the folder holds, in one word
seal            SHA-256 of the record's own content but for this
"""

import hashlib
import json
import os
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from plurality.errors import InputError, InputWarning
from plurality.io.plain import plain, read_json
from plurality.io.verified import once

FILES, CONTENT, SEAL = "files", "content_hash", "seal"


def seal(folder: Path, marker: str) -> None:
    """Complete the record `marker`, a JSON object or nothing yet, with the list of the folder's files and its own seal.

    folder    folder that is complete but for this
    marker    name of the record in it
    """
    path = folder / marker
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    names = sorted(name for name in _entries(folder) if name != marker and not name.endswith("/"))
    record[FILES] = {n: {"bytes": (folder / n).stat().st_size, "sha256": sha256(folder / n)} for n in names}
    record[CONTENT] = content_hash(record[FILES])
    record[SEAL] = _seal(record)
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    path.write_bytes(text.encode("utf-8", "backslashreplace"))  # half a surrogate pair, as JSON escapes it


def check(
    folder: Path,
    marker: str,
    record: dict[str, Any],
    *,
    needed: Collection[str],
    again: str,
    free: Collection[str] = (),
    verify: bool = True,
) -> None:
    """Raise InputError, naming the file, unless the folder is what was written; warn of one without hashes.

    folder    folder with the record
    marker    name of the record, for messages
    record    what the record holds
    needed    files that must be there
    again     the remedy, such as "copy it again"
    free      files that people may edit, such as a card
    verify    compare sizes, hashes and seal; False only looks that the files are there and are no links

    A file of 64 MiB or more is hashed once and remembered: see `plurality.io.verified`.
    """
    files = record.get(FILES)
    if verify and (SEAL in record or FILES in record):
        _check_record(folder / marker, record, needed, again)
    elif verify:
        warnings.warn(
            InputWarning(
                f"{folder}: an earlier version wrote it, without hashes, so it is not verified; save it again"
            ),
            stacklevel=3,
        )
    names = {*needed, *(files if verify and isinstance(files, dict) else ())} - set(free)
    for name in sorted(names):
        path = plain(folder, name, again)
        if verify and isinstance(files, dict):
            _check_file(path, files[name], again)


def foreign(folder: Path, marker: str) -> str | None:
    """What is in the folder that is not ours, so that it may not be replaced: a file's name, "" for the whole of it.

    folder    folder that is there
    marker    name of the record that tells a folder of the kind

    None where the record lists every file. A folder without such a record is none of ours.
    """
    try:
        record = read_json(folder, marker, "", "")
    except InputError:
        return ""
    files = record.get(FILES)
    if not isinstance(files, dict) or not isinstance(record.get(CONTENT), str):
        return ""
    ours = {marker, *files}
    parents = {f"{parent}/" for name in ours for parent in Path(name).parents}
    return next((name for name in sorted(_entries(folder)) if name not in ours | parents), None)


def content_hash(files: dict[str, Any]) -> str:
    """SHA-256 over the names and hashes of the files.

    files    name -> {"sha256": …}
    """
    lines = "".join(f"{name} {entry['sha256']}\n" for name, entry in sorted(files.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex.

    path    the file
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(record: dict[str, Any]) -> str:
    text = json.dumps({k: v for k, v in record.items() if k != SEAL}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_record(path: Path, record: dict[str, Any], needed: Collection[str], again: str) -> None:
    files = record.get(FILES)
    listed = isinstance(files, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("bytes"), int) and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    )
    if not isinstance(files, dict) or not listed or not set(needed) <= files.keys():
        raise InputError(f"{path} is damaged, it does not list the files; {again}")
    if SEAL in record:
        if record[SEAL] != _seal(record):
            raise InputError(f"{path} is not what was written (its seal is broken); {again}, or pass --no-verify")
    elif record.get(CONTENT) != content_hash(files):  # a store of an earlier version, or a record that lost its seal
        raise InputError(f"{path} is damaged, its content hash is wrong; {again}")
    else:
        warnings.warn(
            InputWarning(f"{path}: an earlier version wrote it, without a seal, so it is not verified; save it again"),
            stacklevel=4,
        )


def _check_file(path: Path, entry: dict[str, Any], again: str) -> None:
    size, written = path.stat().st_size, entry["bytes"]
    if size != written:
        cause = "is truncated" if size < written else "has grown"
        raise InputError(f"{path} {cause} ({size:,} bytes, {written:,} were written); {again}")

    def same() -> None:
        if sha256(path) != entry["sha256"]:
            raise InputError(f"{path} is not what was written (its SHA-256 differs); {again}, or pass --no-verify")

    once(path, entry["sha256"], same)


def _entries(folder: Path) -> Iterator[str]:
    """Relative paths of all that is in a folder, folders with a slash at the end; links are not followed."""
    for place, folders, files in os.walk(folder):
        inside = Path(place).relative_to(folder)
        linked = [name for name in folders if (Path(place) / name).is_symlink()]
        yield from ((inside / name).as_posix() for name in (*files, *linked))
        yield from (f"{(inside / name).as_posix()}/" for name in folders if name not in linked)
