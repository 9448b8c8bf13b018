"""Arguments under the names they had in the last minor version."""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Accept arguments under former names, `@renamed(former="name")`, with a DeprecationWarning.

    Raises TypeError where both names are given.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given: dict[str, Any] = kwargs
            for former in names.keys() & given.keys():
                name = names[former]
                if name in given:
                    raise TypeError(f"{function.__qualname__}: {former}= is {name}= now; give {name}= alone")
                warnings.warn(
                    f"{function.__qualname__}: {former}= is now {name}=; the old name goes in 0.3",
                    DeprecationWarning,
                    stacklevel=2,
                )
                given[name] = given.pop(former)
            return function(*args, **kwargs)

        return call

    return decorate
