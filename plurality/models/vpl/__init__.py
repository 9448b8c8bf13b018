"""VPL: user embeddings read off a user's comparisons by an encoder that is trained with the reward."""

from plurality.models.vpl.spec import VPL

__all__ = ["VPL"]
