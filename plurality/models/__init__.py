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
    from plurality.models.dpl import DPL
    from plurality.models.hierarchical import Hierarchical
    from plurality.models.lcpo import LCPO
    from plurality.models.low_rank import LowRank
    from plurality.models.maxmin import MaxMin
    from plurality.models.more import MORE
    from plurality.models.pal import PAL
    from plurality.models.vpl import VPL

__all__ = [
    "DPL",
    "FAMILIES",
    "LCPO",
    "MORE",
    "PAL",
    "VPL",
    "BradleyTerry",
    "Hierarchical",
    "LowRank",
    "MaxMin",
    "spec_class",
]


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
