"""MaxMin: a mixture of groups, each with a reward of its own, found by EM."""

from plurality.models.maxmin.spec import MaxMin

__all__ = ["MaxMin"]
