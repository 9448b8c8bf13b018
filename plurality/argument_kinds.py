"""Arguments of the wrong kind, said in one line where they are given, whatever would come of them later."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from plurality.errors import InputError

SHOWN = 40  # characters of a value that a message shows
WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", NoneType: "None"}


def check_kinds(where: str, about: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raise InputError for the first value that is not what the annotation of its name says.

    Numbers, text, truth values, None, and any mixture or tuple of these are looked at, and whatever else annotations
    allow is let through. A whole number is a number too.

    where    what the message begins with, such as "compare"
    about    the function or class whose annotations count
    given    name -> value
    """
    hints = _hints(inspect.unwrap(about))
    for name, value in given.items():
        if name in hints and not _is(value, hints[name]):
            shown = repr(value) if len(repr(value)) <= SHOWN else f"{repr(value)[:SHOWN]}…"
            raise InputError(f"{where}: {name}={shown} is {_article(type(value).__name__)}; give {_words(hints[name])}")


@cache
def _hints(about: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(about)
    except NameError:  # a name that only type checkers see
        return {}


def _is(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_is(value, part) for part in parts)
    if origin is Literal:
        return isinstance(value, str) and value in parts
    if origin is tuple and parts:
        if not isinstance(value, tuple | list) or (parts[-1] is not Ellipsis and len(value) != len(parts)):
            return False
        return all(map(_is, value, parts[:1] * len(value) if parts[-1] is Ellipsis else parts))
    if hint is float:
        return isinstance(value, Real)
    if hint is int:
        return isinstance(value, Integral)
    if hint is bool:
        return isinstance(value, bool) or type(value).__name__ == "bool"  # NumPy's
    if hint in (str, NoneType):
        return isinstance(value, hint)
    return True


def _words(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        named = [_words(part) for part in parts]
        return f"{', '.join(named[:-1])} or {named[-1]}"
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin is tuple and parts:
        return f"a tuple of {_words(parts[0]).removeprefix('a ')}s, of {'any length' if ... in parts else len(parts)}"
    return WORDS.get(hint, "what its documentation names")


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
