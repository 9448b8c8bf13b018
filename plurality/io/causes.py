"""What the operating system says, as one line: permission, absence, a full disk and too many files are told apart."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plurality.errors import InputError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
REMEDIES = {
    **dict.fromkeys(FULL, "free some space or choose another disk"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "close some files or raise the limit (ulimit -n)"),
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOMEM: "free some memory",
}
IN_WORDS = re.compile(r"os error (\d+)")  # as libraries in Rust tell it


def unreadable(path: Path | str, error: OSError, absent: str = "give the path of one that is there") -> InputError:
    """The error of a file that cannot be read.

    path      the file
    error     what the system said
    absent    the remedy where there is no such file
    """
    known = system_error(error) or error
    if known.errno in (errno.ENOENT, errno.ENOTDIR):
        return InputError(f"{path} is missing; {absent}")
    remedy = "give one that you may read" if known.errno in CLOSED else REMEDIES.get(known.errno or 0, "try again")
    return InputError(f"{path}: cannot be read ({_words(known)}); {remedy}")


def unwritable(path: Path | str, error: OSError) -> InputError:
    """The error of a file or folder that cannot be written.

    path     the file or folder
    error    what the system said
    """
    known = system_error(error) or error
    unknown = "is the disk full?" if known.errno is None else "choose another place"  # NumPy tells no number
    remedy = "choose a place where you may write" if known.errno in CLOSED else REMEDIES.get(known.errno or 0, unknown)
    return InputError(f"{path}: cannot be written ({_words(known)}); {remedy}")


def _words(known: OSError) -> str:
    """The system's own words for an error that has a number, whatever a library made of them."""
    return str(known.strerror or known) if known.errno is None else os.strerror(known.errno)


def system_error(error: BaseException) -> OSError | None:
    """The system's error that an exception is, or tells of in words ("… (os error 28)"); None if neither.

    error    any exception
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error
    number = IN_WORDS.search(str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else None


@contextmanager
def one_line(target: Path, inside: Path) -> Iterator[None]:
    """What goes wrong while `target` is written into the folder `inside`, as an InputError of one line.

    target    what is written, for the message
    inside    folder of what is written; a system's error of a file elsewhere is one of reading
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        known = system_error(error)
        if known is None and not isinstance(error, OSError):
            raise
        named = getattr(error, "filename", None)
        if isinstance(error, OSError) and named and not os.path.abspath(os.fsdecode(named)).startswith(str(inside)):
            raise unreadable(os.fsdecode(named), error) from None
        raise unwritable(target, known or OSError(str(error))) from None
