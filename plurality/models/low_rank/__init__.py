"""Low rank: shared rewards and users' weights on them, by EM with the weights integrated out."""

from plurality.models.low_rank.spec import LowRank

__all__ = ["LowRank"]
