"""Paths as people write them."""

from pathlib import Path


def expanded(path: str | Path) -> Path:
    """The path with a leading `~` or `~name` as the home folder that it means; one without stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no user of that name: then it is the name of a file
        return Path(path)
