"""The one exception that bad input raises, and the one warning it may earn.

A message is one line and says where (file, row, column), what is wrong, and the remedy:
the command line prints it as it stands and leaves with exit code 2.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral

__all__ = ["InputError", "InputWarning"]

CLOSE = 0.65  # similarity of two words, 0 to 1: one slip in three letters is .67


class InputError(ValueError):
    """Input that cannot give a right answer; the message names the place, the cause and the remedy."""


class InputWarning(UserWarning):
    """Input that was usable after a change the reader should know of, such as dropped duplicates."""


def check_whole(name: str, value: object, least: int = 0) -> None:
    """Raise InputError unless an argument is a whole number of at least `least`.

    name     of the argument
    value    what was given
    least    smallest that it may be
    """
    if not isinstance(value, Integral) or int(value) < least:
        raise InputError(f"{name}={value!r:.40} is no whole number of {least} or more; give one")


def suggestion(word: str, known: Iterable[str]) -> str:
    """The known name closest to a mistyped word, as in " (did you mean pal?)", or nothing if none is close.

    Swapped letters are the commonest slip, so a name of the same letters goes first.
    """
    name = close_to(word, known)
    return f" (did you mean {name}?)" if name is not None else ""


def close_to(word: str, known: Iterable[str], similarity: float = CLOSE) -> str | None:
    """The known name closest to a word, None if none is as similar as that.

    word          word that may be mistyped
    known         names that there are
    similarity    of two words, 0 to 1, from which one may be the other
    """
    names, plain = {_plain(name): name for name in known}, _plain(word)
    close = get_close_matches(plain, names, cutoff=similarity)
    close.sort(key=lambda name: sorted(name) != sorted(plain))
    return names[close[0]] if close else None


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").strip("_")
