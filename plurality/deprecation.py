"""Arguments under the names they had in the last minor version."""

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
GOES = "the old name goes in 0.3"


def renamed(**names: str | tuple[str, Mapping[Any, Any]]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Accept arguments under former names, `@renamed(former="name")`, with a DeprecationWarning.

    Where the values are other ones too, `former=("name", {former value: value})`; a value that is not in the mapping
    is passed on as it is. Decorates functions, methods and classes. Raises TypeError where both names are given.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if isinstance(function, type):
            function.__init__ = _accepting(function.__init__, names, function.__qualname__)  # type: ignore[misc]
            return function
        return _accepting(function, names, function.__qualname__)

    return decorate


def _accepting(
    function: Callable[P, R], names: Mapping[str, str | tuple[str, Mapping[Any, Any]]], shown: str
) -> Callable[P, R]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given: dict[str, Any] = kwargs
        for former in names.keys() & given.keys():
            to = names[former]
            name, values = (to, {}) if isinstance(to, str) else to
            if name in given:
                raise TypeError(f"{shown}: {former}= is {name}= now; give {name}= alone")
            value = given.pop(former)
            given[name] = values.get(value, value)
            said = f"{name}={given[name]!r}" if values else f"{name}="
            warnings.warn(f"{shown}: {former}= is now {said}; {GOES}", DeprecationWarning, stacklevel=2)
        return function(*args, **kwargs)

    return call
