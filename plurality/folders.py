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
    if target.exists() and not (target.is_dir() and ((target / marker).is_file() or not any(target.iterdir()))):
        raise InputError(f"{target}: exists and was not written by this command; choose another output folder")
    _check_parent(target)


def check_file(target: Path) -> None:
    """Raise InputError now if a file cannot be written at `target`."""
    if target.is_dir():
        raise InputError(f"{target}: is a folder; give the name of a file to write")
    _check_parent(target)


def _check_parent(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=target.parent).close()
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); choose another place") from None


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a temporary name beside `target`; what is written there takes its place if the block succeeds."""
    new = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield new
        os.replace(new, target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); is the disk full?") from None
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path, *, marker: str) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `target` if the block succeeds; `check_target` applies."""
    check_target(target, marker)
    new = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        new.chmod(0o755)
        yield new
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            target.rename(old / "old")
            new.rename(target)
            shutil.rmtree(old)
        else:
            new.rename(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); is the disk full?") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
