"""DPL: one reward whose variance says where people disagree."""

from plurality.models.dpl.spec import DPL

__all__ = ["DPL"]
