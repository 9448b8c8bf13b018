"""Large files are verified once: what passed is remembered in the user's cache, by what changes when a file does.

A file counts as the same while device, inode, size and the times of its content and of its inode are the same: writing
to it, replacing it or setting its time back changes one of these. What a disk loses by itself under a file that nobody
wrote to is not seen; delete the folder `verified` of the cache to look again.
"""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from plurality.io.paths import cache_folder

LARGE = 1 << 26  # bytes; smaller files are looked at every time
SETTLED_S = 2.0  # a file younger than this may change again within one tick of its clock


def once(path: Path, what: str, check: Callable[[], None]) -> None:
    """Run a check of a file unless it passed on this very file before.

    path     the file
    what     what is checked, such as the hash that it must have
    check    raises if the file is not as it should be
    """
    seen = _remembered(path, what)
    if seen is not None and seen.exists():
        return
    check()
    if seen is not None and seen == _remembered(path, what):
        try:
            seen.parent.mkdir(parents=True, exist_ok=True)
            seen.touch()
        except OSError:  # a cache that cannot be written costs time alone
            pass


def _remembered(path: Path, what: str) -> Path | None:
    """The empty file that says so; None for a file that is not remembered."""
    now = path.stat()
    if now.st_size < LARGE or time.time() - max(now.st_mtime, now.st_ctime) < SETTLED_S:
        return None
    facts = (what, now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    return cache_folder() / "verified" / hashlib.sha256(repr(facts).encode()).hexdigest()
