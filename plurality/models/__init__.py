"""The families: one folder each, a `Spec` of frozen settings with `fit(data, seed=...)`; nothing lists them."""

from typing import TYPE_CHECKING, Any

from plurality.reward import registry
from plurality.reward.registry import families

if TYPE_CHECKING:
    from plurality.models.family import Spec

__all__ = ["families", "spec_class"]


def spec_class(name: str) -> "type[Spec]":
    """The spec class of a family by its name, such as "pal". Raises InputError for an unknown name.

    name    family, as in `families()`
    """
    from plurality.errors import InputError
    from plurality.models.family import Spec

    cls = registry.spec_class(name)
    if not issubclass(cls, Spec):
        raise InputError(f"model {name!r}: {cls.__name__} cannot be fitted, since it is not a Spec; repair its package")
    return cls


def __getattr__(attribute: str) -> Any:
    for point in registry.built_in().values():
        if point.attr == attribute:
            return point.load()
    raise AttributeError(f"module 'plurality.models' has no attribute {attribute!r}")
