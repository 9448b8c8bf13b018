"""Stable 64-bit keys: the same text or id gives the same key on every machine, run and row order.

Sides, splits and the order of summation are decided by keys, so nothing depends on how a file was sorted.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


def text_keys(texts: Iterable[str]) -> Keys:
    """BLAKE2b-64 of each string: (n,)."""
    digests = b"".join(hashlib.blake2b(t.encode(), digest_size=8).digest() for t in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def mix(keys: NDArray[np.integer], seed: int = 0) -> Keys:
    """SplitMix64 of key and seed, elementwise: well spread even for keys 0, 1, 2, …"""
    x = np.asarray(keys).astype(np.uint64)
    with np.errstate(over="ignore"):
        x = x + np.uint64((0x9E3779B97F4A7C15 * (2 * seed + 1)) % 2**64)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def combine(a: Keys, b: Keys) -> Keys:
    """One key from two, order mattering: (n,), (n,) -> (n,)."""
    return mix(mix(a) ^ b)


def uniform(keys: NDArray[np.integer], seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each key, the same for the same seed."""
    return mix(keys, seed).astype(np.float64) / 2.0**64
