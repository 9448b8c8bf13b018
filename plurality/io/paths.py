"""Paths as people write them, and the one folder of caches."""

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """The path with a leading `~` or `~name` as the home folder that it means; one without stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no user of that name: then it is the name of a file
        return Path(path)


def cache_folder() -> Path:
    """`$PLURALITY_CACHE`, or `~/.cache/plurality`."""
    return expanded(os.environ.get("PLURALITY_CACHE") or "~/.cache/plurality")
