"""Each unique text embedded once, in blocks that are kept as soon as they are done."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from plurality.encoders.cache import EmbeddingCache, text_keys
from plurality.encoders.progress import meter
from plurality.encoders.protocol import Vectors

# What a killed run loses at most; about 60 000 tokens.
BLOCK_TEXTS, BLOCK_CHARACTERS = 2048, 250_000

Counts = NDArray[np.int32]
Rows = NDArray[np.int64]
Compute = Callable[[Rows], tuple[Vectors, Counts]]
"""Row numbers (b,) to their vectors (b, dim) and token counts (b,)."""


def embed(
    texts: Sequence[str],
    compute: Compute,
    dim: int,
    cache: EmbeddingCache | None,
    *,
    what: str = "texts",
    progress: bool = False,
) -> tuple[Vectors, Counts]:
    """Vectors (n, dim) and token counts (n,) of the texts, computed only where the cache holds none."""
    keys = text_keys(texts, what)
    first, inverse = _unique(keys)
    if cache is None:
        vectors, tokens = np.zeros((len(first), dim), np.float32), np.zeros(len(first), np.int32)
        missing = np.arange(len(first))
    else:
        vectors, tokens, found = cache.read(keys[first])
        missing = np.flatnonzero(~found)
    characters = np.array([len(texts[row]) for row in first[missing]], dtype=np.int64)
    with meter(f"embedding {what}", len(missing), int(characters.sum()), progress) as advance:
        for block in blocks(characters):
            places = missing[block]
            vectors[places], tokens[places] = compute(first[places])
            if cache is not None:
                cache.write(keys[first[places]], vectors[places], tokens[places])
            advance(len(block), int(characters[block].sum()))
    if len(first) == len(texts):
        return vectors, tokens
    return vectors[inverse], tokens[inverse]


def blocks(characters: NDArray[np.int64]) -> Iterator[Rows]:
    """Rows from the longest text down (what does not fit in memory shows at once), cut to bounded blocks."""
    order = np.argsort(-characters, kind="stable")
    total = np.cumsum(characters[order])
    start = 0
    while start < len(order):
        before = total[start] - characters[order[start]]
        full = int(np.searchsorted(total, before + BLOCK_CHARACTERS, side="right"))
        stop = max(start + 1, min(full, start + BLOCK_TEXTS))
        yield order[start:stop]
        start = stop


def _unique(keys: NDArray[np.bytes_]) -> tuple[Rows, Rows]:
    """First row of each unique key in order of occurrence, and each row's place among them."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[inverse]
