"""A hidden folder beside a target, for what will take its place; what a killed process left in one is swept.

It is `.plurality-<hash of the target's name>-<random>`, locked (flock) while its process lives: whoever gets the lock
knows that the writer is dead, on any machine that shares the lock, whatever became of process numbers since.
"""

import hashlib
import os
import secrets
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plurality.errors import InputWarning

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing can be proven dead, so nothing is swept
    fcntl = None  # type: ignore[assignment]

NEW, OLD = "new", "old"
"""What is written, and what stood at the target while it is replaced in two steps."""


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Yield a new hidden folder beside `target`, and take it away with all that is in it.

    target    file or folder that is about to be written

    What killed writers of the same target left is taken away first, with an InputWarning that says so.
    """
    sweep(target)
    folder, lock = _beside(target), None
    try:
        folder.mkdir()
        while (lock := _lock(folder, or_else=True)) is None:  # another writer has swept it before it was locked
            folder = _beside(target)
            folder.mkdir()
        yield folder
    finally:
        try:
            _clear(folder, target)
        except BaseException:  # a signal that arrives while this is cleared away
            _clear(folder, target)
            raise
        finally:
            if lock is not None:
                os.close(lock)


def sweep(target: Path) -> None:
    """Take away what killed writers of `target` left, and put back what one of them had set aside; say so.

    target    file or folder that was being written
    """
    for folder in sorted(target.parent.glob(f"{_prefix(target)}*")):
        if folder.is_symlink() or not folder.is_dir() or (lock := _lock(folder, or_else=None)) is None:
            continue
        try:
            held = {path.name for path in folder.iterdir()}
            if not held <= {NEW, OLD}:
                continue
            size = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
            back = _clear(folder, target)
        finally:
            os.close(lock)
        if not held:  # made a moment ago by a writer that has not locked it yet and will make another: nothing was lost
            continue
        done = "what stood there before was put back" if back else f"the {size:,} bytes that it left were removed"
        warnings.warn(InputWarning(f"{target}: an earlier write was cut off; {done}"), stacklevel=5)


def _beside(target: Path) -> Path:
    return target.parent / f"{_prefix(target)}{secrets.token_hex(8)}"


def _prefix(target: Path) -> str:
    return f".plurality-{hashlib.blake2b(os.fsencode(target.name), digest_size=6).hexdigest()}-"


def _lock(folder: Path, or_else: bool | None) -> int | None:
    """A descriptor that locks the folder; None where another process has it, or the folder is gone.

    Where there are no locks, None or, with `or_else`, a descriptor without one.
    """
    if fcntl is None:
        return os.open(os.devnull, os.O_RDONLY) if or_else else None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == os.stat(folder).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        if or_else:
            return descriptor
    os.close(descriptor)
    return None


def _clear(folder: Path, target: Path) -> bool:
    """Remove a staging folder; True if it held what stood at the target, which is then back in its place."""
    back = os.path.lexists(folder / OLD) and not os.path.lexists(target)
    if back:
        os.rename(folder / OLD, target)
    shutil.rmtree(folder, ignore_errors=True)
    return back
