"""MORE: one reward for several sources, none of which is sacrificed."""

from plurality.models.more.spec import MORE

__all__ = ["MORE"]
