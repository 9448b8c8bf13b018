"""Folders and files that appear whole or not at all."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plurality.errors import InputError


def check_target(target: Path, marker: str) -> None:
    """Raise InputError now, not after an hour, if a folder cannot be written at `target`.

    `marker` is the file that tells a folder of the same kind, which may be replaced; anything else but an empty
    folder is left alone.
    """
    if Path.cwd().is_relative_to(os.path.abspath(target)):
        raise InputError(f"{target}: is where you are, or above it; choose another output folder")
    if target.exists() and not (target.is_dir() and ((target / marker).is_file() or not any(target.iterdir()))):
        raise InputError(f"{target}: exists and was not written by this command; choose another output folder")
    _check_parent(target)


def check_file(target: Path) -> None:
    """Raise InputError now if a file cannot be written at `target`."""
    if target.is_dir():
        raise InputError(f"{target}: is a folder; give the name of a file to write")
    _check_parent(target)


def _check_parent(target: Path) -> None:
    """Try the nearest folder that is there; those between are made when there is something to write."""
    try:
        there = next(folder for folder in target.absolute().parents if folder.exists())
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise _unwritable(target, error, "choose another place") from None


def _make_parent(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(target, error, "choose another place") from None


def _unwritable(target: Path, error: OSError, remedy: str) -> InputError:
    return InputError(f"{target}: cannot be written ({error.strerror or error}); {remedy}")


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a temporary name beside `target`; what is written there takes its place if the block succeeds."""
    _make_parent(target)
    new = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield new
        os.replace(new, target)
    except OSError as error:
        raise _unwritable(target, error, "is the disk full?") from None
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path, *, marker: str) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `target` if the block succeeds; `check_target` applies."""
    check_target(target, marker)
    _make_parent(target)
    new = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        new.chmod(0o755)
        yield new
        _take_place(new, target)
    except OSError as error:
        raise _unwritable(target, error, "is the disk full?") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _take_place(new: Path, target: Path) -> None:
    """Rename `new` to `target`; what stood there comes back if that fails, and goes if it does not."""
    if not target.exists():
        new.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    target.rename(old / "old")
    try:
        new.rename(target)
    except BaseException:
        (old / "old").rename(target)
        old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)
