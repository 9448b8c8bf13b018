"""The families. Each is a `Spec`, frozen settings with `fit(data, seed=...)`; one file a family."""

from typing import TYPE_CHECKING, Any

FAMILIES = {
    "bradley_terry": "BradleyTerry",
    "pal": "PAL",
    "low_rank": "LowRank",
    "maxmin": "MaxMin",
    "vpl": "VPL",
    "hierarchical": "Hierarchical",
    "lcpo": "LCPO",
    "more": "MORE",
    "dpl": "DPL",
}

if TYPE_CHECKING:
    from plurality.models.bradley_terry import BradleyTerry
    from plurality.models.pal import PAL

__all__ = ["FAMILIES", "PAL", "BradleyTerry", "spec_class"]


def spec_class(name: str) -> Any:
    """The spec class of a family by its file name, such as "pal". Raises InputError for an unknown name."""
    from importlib import import_module

    from plurality.errors import InputError

    if name not in FAMILIES:
        raise InputError(f"model {name!r} is unknown; choose one of {', '.join(FAMILIES)}")
    return getattr(import_module(f"plurality.models.{name}"), FAMILIES[name])


def __getattr__(attribute: str) -> Any:
    for name, cls in FAMILIES.items():
        if cls == attribute:
            return spec_class(name)
    raise AttributeError(f"module 'plurality.models' has no attribute {attribute!r}")
