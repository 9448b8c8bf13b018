"""The last step of a write: what is new is on the disk, readable by whom the umask says, and in its place at once."""

import ctypes
import errno
import os
from pathlib import Path

from plurality.io.staging import OLD

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of renameat2(2)


def settle(new: Path) -> None:
    """Give a file or folder the modes that the umask asks for, and have it and all in it written to the disk.

    new    what was written; a folder has its mode from mkdir, a file from whoever made it

    Libraries write some files for their owner alone, and a rename may reach the disk before what is renamed.
    """
    if not new.is_dir():
        _flush(new)
        return
    mode = new.stat().st_mode & 0o777
    for place, folders, files in os.walk(new, topdown=False):
        for name in files:
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(mode & 0o666)
                _flush(path)
        for name in folders:
            Path(place, name).chmod(mode)
        _flush(Path(place))


def take_place(new: Path, target: Path) -> None:
    """Have `new`, in a staging folder beside `target`, take the place of `target`.

    new       file or folder
    target    what it becomes; a folder that stands there is left in the staging folder

    One step where the system can exchange two names, so that there is no moment without a target; else two, between
    which what stood there waits in the staging folder, and comes back if the second fails or never comes.
    """
    if not new.is_dir() or not os.path.lexists(target):
        os.replace(new, target)
    elif not exchange(new, target):
        os.rename(target, new.with_name(OLD))
        os.rename(new, target)  # where that fails, `staging` puts the old one back
    _flush(target.parent)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system, or its file system, has no such call.

    one, other    files or folders that are there
    """
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    paths = AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other)
    if call(*paths, RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM):
        return False
    raise OSError(number, os.strerror(number), str(other))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):  # a file system that cannot flush folders
            raise
    finally:
        os.close(descriptor)
