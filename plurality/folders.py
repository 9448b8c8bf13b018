"""Folders that appear whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plurality.errors import InputError


@contextmanager
def whole_folder(target: Path, *, marker: str) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `target` if the block succeeds.

    `marker` is the file that tells a folder of this kind: anything else at `target` but an empty folder is left
    alone. Raises InputError when `target` is something else or cannot be written.
    """
    if target.exists() and not (target.is_dir() and ((target / marker).is_file() or not any(target.iterdir()))):
        raise InputError(f"{target}: exists and was not written by this command; choose another output folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); choose another output folder") from None
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
