"""Folders and files that appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plurality.errors import InputError
from plurality.io.causes import one_line, unwritable
from plurality.io.replace import settle, take_place
from plurality.io.sealed import foreign, seal
from plurality.io.staging import NEW, staging


def check_target(target: Path, marker: str) -> None:
    """Raise InputError now, not after an hour, if a folder cannot be written at `target`.

    `marker` is the record that tells a folder of the same kind. Such a folder may be replaced if its record lists every
    file in it; anything else but an empty folder is left alone.
    """
    if Path.cwd().is_relative_to(os.path.abspath(target)):
        raise InputError(f"{target}: is where you are, or above it; choose another output folder")
    try:
        stray = None
        if os.path.lexists(target) and not target.is_dir():
            stray = ""
        elif target.is_dir() and any(target.iterdir()):
            stray = foreign(target, marker)
    except OSError as error:
        raise unwritable(target, error) from None
    if stray:
        cause = f"holds {stray}, which this command did not write; move it away or"
        raise InputError(f"{target}: {cause} choose another output folder")
    if stray is not None:
        raise InputError(f"{target}: exists and was not written by this command; choose another output folder")
    _check_parent(target)


def check_file(target: Path) -> None:
    """Raise InputError now if a file cannot be written at `target`."""
    if os.path.isdir(target):
        raise InputError(f"{target}: is a folder; give the name of a file to write")
    _check_parent(target)


def _check_parent(target: Path) -> None:
    """Try the nearest folder that is there; those between are made when there is something to write."""
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(target)  # which says whether the name is too long
        there = next(folder for folder in target.absolute().parents if folder.exists())
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise unwritable(target, error) from None


def _make_parent(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(target, error) from None


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a temporary name beside `target`; what is written there takes its place if the block succeeds."""
    _make_parent(target)
    with one_line(target, target.parent.absolute()), staging(target) as place:
        new = place / NEW
        new.touch()
        mode = new.stat().st_mode & 0o777  # as the umask has it; some libraries write for the owner alone
        yield new
        new.chmod(mode)
        settle(new)
        take_place(new, target)


def reserve(new: Path) -> None:
    """Have the disk keep the room of a file that was made at its full size, for a map to be written through.

    new    file of its full size

    On a full disk a write through a map ends the process; this raises OSError before.
    """
    with new.open("r+b") as file, suppress(AttributeError):  # where the system has no such call
        os.posix_fallocate(file.fileno(), 0, max(1, new.stat().st_size))


@contextmanager
def whole_folder(target: Path, *, marker: str) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `target` if the block succeeds; `check_target` applies.

    `marker` is the record, a JSON object that the block may write; all files are listed in it by `plurality.io.sealed`.
    """
    check_target(target, marker)
    _make_parent(target)
    with one_line(target, target.parent.absolute()), staging(target) as place:
        new = place / NEW
        new.mkdir()
        yield new
        seal(new, marker)
        settle(new)
        take_place(new, target)
