"""What is done to embeddings before a fit sees them, and undone in the weights when it is over."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from plurality.arrays import Array, Bool, Float, Float32, Int

BLOCK = 4_096  # embeddings held in double precision at once


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

    def apply(self, items: Array, rows: Int | None = None) -> Float32:
        """Embeddings (M, d), or these rows of them, as a fit sees them: (M, d), or (M, K).

        Block by block, however they are mapped.
        """
        count = len(items) if rows is None else len(rows)
        out = np.empty((count, self.centre.size if self.directions is None else self.directions.shape[1]), np.float32)
        seen = self._whole if self.directions is None else self._projected()
        for start in range(0, count, BLOCK):
            part = slice(start, start + BLOCK)
            out[part] = seen(items[part if rows is None else rows[part]])
        return out

    def _whole(self, block: Array) -> Float:
        whole: Float = (np.clip(block, self.low, self.high, dtype=np.float64) - self.centre) / self.scale
        return whole

    def _projected(self) -> Callable[[Array], Float32]:
        """Of wide embeddings, whose precision is that of float32 once middles far from 0 are off."""
        assert self.directions is not None
        low, high, centre = (np.asarray(v, dtype=np.float32) for v in (self.low, self.high, self.centre))
        onto = (self.directions / self.scale[:, None]).astype(np.float32)

        def projected(block: Array) -> Float32:
            block = np.clip(block, low, high, dtype=np.float32)
            block -= centre
            product: Float32 = block @ onto
            return product

        return projected

    @property
    def moves(self) -> bool:
        """Whether anything is done to entries that are not cut."""
        return bool((self.centre != 0).any() or (self.scale != 1).any() or self.directions is not None)

    def cut(self, items: Array) -> Bool:
        """Which embeddings (M, d) have an entry that is taken for a mistake: (M,)."""
        blocks = [items[i : i + BLOCK] for i in range(0, len(items), BLOCK)]
        return np.concatenate([((b < self.low) | (b > self.high)).any(axis=1) for b in blocks])
