"""Files of a folder that came from somebody else: read if they are files of its own, and JSON if it is sane."""

import json
import os
import stat
from pathlib import Path, PurePosixPath
from typing import Any

from plurality.errors import InputError
from plurality.io.causes import unreadable

JSON_LIMIT = 1 << 28  # bytes


def plain(root: Path, name: str, absent: str = "copy the folder again") -> Path:
    """The path of the file `name` of the folder `root`, which is a file, lies in it, and can be opened.

    root      the folder
    name      relative path of the file, with slashes
    absent    the remedy where there is no such file

    A link would read, copy or publish what lies elsewhere, and a pipe would wait for ever; the one link that is
    followed is the hub's cache's, from snapshots/<commit>/ to blobs/ beside it. Raises InputError naming the file.
    """
    path, parts = root, PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        raise InputError(f"{root}: names the file {name!r}, which is outside of it; get the folder again")
    try:
        for part in parts:
            path = path / part
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode) and not _is_blob(path):
                raise InputError(f"{path} is a link, and links are not followed; put the file itself there")
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{path} is not a file but a folder, pipe or device; get the folder again")
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        raise unreadable(path, error, absent) from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{root}: {name!r} is not the name of a file ({error}); give another") from None
    return path


def read_json(root: Path, name: str, absent: str, damaged: str) -> dict[str, Any]:
    """The JSON object in a plain file of the folder.

    root       the folder
    name       relative path of the file
    absent     the remedy where there is no such file
    damaged    what the file then is, and the remedy: "damaged; copy it again"

    Raises InputError as `plain` does, and for what is no JSON object, nests too deep or is larger than 256 MiB.
    """
    path = plain(root, name, absent)
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise ValueError("too large")
        found = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    except OSError as error:
        raise unreadable(path, error, absent) from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: {damaged}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: {damaged}")
    return found


def _is_blob(path: Path) -> bool:
    """Whether a link is one of the hub's cache, which keeps every file once, under its hash."""
    snapshot = next((folder for folder in path.parent.resolve().parents if folder.name == "snapshots"), None)
    return snapshot is not None and path.resolve().parent == snapshot.parent / "blobs"
