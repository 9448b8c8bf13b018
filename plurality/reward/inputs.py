"""What is done to embeddings before a fit sees them, and undone in the weights when it is over."""

from dataclasses import dataclass

import numpy as np

from plurality.arrays import Array, Bool, Float, Float32

BLOCK = 16_384  # embeddings held in double precision at once


@dataclass(frozen=True, eq=False)
class Inputs:
    """x ↦ (clip(x, low, high) − centre) / scale, dimension by dimension.

    centre       (d,) what is 0 afterwards
    scale        (d,) what is 1 afterwards; huge for a dimension that says nothing
    low, high    (d,) beyond which an entry is a mistake and counts as just there
    """

    centre: Float
    scale: Float
    low: Float
    high: Float

    def apply(self, items: Array) -> Float32:
        """Embeddings (M, d) as a fit sees them, block by block, however they are mapped: (M, d)."""
        out = np.empty(items.shape, dtype=np.float32)
        for start in range(0, len(items), BLOCK):
            block = np.asarray(items[start : start + BLOCK], dtype=np.float64)
            out[start : start + BLOCK] = (np.clip(block, self.low, self.high) - self.centre) / self.scale
        return out

    @property
    def moves(self) -> bool:
        """Whether anything is done to entries that are not cut."""
        return bool((self.centre != 0).any() or (self.scale != 1).any())

    def cut(self, items: Array) -> Bool:
        """Which embeddings (M, d) have an entry that is taken for a mistake: (M,)."""
        blocks = [items[i : i + BLOCK] for i in range(0, len(items), BLOCK)]
        return np.concatenate([((b < self.low) | (b > self.high)).any(axis=1) for b in blocks])
