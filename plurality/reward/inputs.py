"""What is done to embeddings before a fit sees them, and undone in the weights when it is over."""

from dataclasses import dataclass

import numpy as np

from plurality.arrays import Array, Bool, Float, Float32

BLOCK = 16_384  # embeddings held in double precision at once


@dataclass(frozen=True, eq=False)
class Inputs:
    """x ↦ (clip(x, low, high) − centre) / scale, dimension by dimension; then, of a wide x, its main directions.

    centre       (d,) what is 0 afterwards
    scale        (d,) what is 1 afterwards; huge for a dimension that says nothing
    low, high    (d,) beyond which an entry is a mistake and counts as just there
    directions   (d, K) orthonormal columns onto which that is projected; None: all dimensions are kept
    """

    centre: Float
    scale: Float
    low: Float
    high: Float
    directions: Float32 | None = None

    def apply(self, items: Array) -> Float32:
        """Embeddings (M, d) as a fit sees them, block by block, however they are mapped: (M, d), or (M, K)."""
        if self.directions is not None:
            return self._project(items, self.directions)
        out = np.empty(items.shape, dtype=np.float32)
        for start in range(0, len(items), BLOCK):
            block = np.asarray(items[start : start + BLOCK], dtype=np.float64)
            out[start : start + BLOCK] = (np.clip(block, self.low, self.high) - self.centre) / self.scale
        return out

    def _project(self, items: Array, directions: Float32) -> Float32:
        """Of wide embeddings, whose precision is that of float32 once middles far from 0 are off: (M, K)."""
        low, high, centre = (np.asarray(v, dtype=np.float32) for v in (self.low, self.high, self.centre))
        onto = (directions / self.scale[:, None]).astype(np.float32)
        out = np.empty((len(items), onto.shape[1]), dtype=np.float32)
        for start in range(0, len(items), BLOCK):
            block = np.clip(items[start : start + BLOCK], low, high, dtype=np.float32)
            block -= centre
            np.matmul(block, onto, out=out[start : start + BLOCK])
        return out

    @property
    def moves(self) -> bool:
        """Whether anything is done to entries that are not cut."""
        return bool((self.centre != 0).any() or (self.scale != 1).any() or self.directions is not None)

    def cut(self, items: Array) -> Bool:
        """Which embeddings (M, d) have an entry that is taken for a mistake: (M,)."""
        blocks = [items[i : i + BLOCK] for i in range(0, len(items), BLOCK)]
        return np.concatenate([((b < self.low) | (b > self.high)).any(axis=1) for b in blocks])
