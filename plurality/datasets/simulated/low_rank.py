"""Planted tastes of low rank: r = xᵀ(m + V w), V (width, rank) with orthonormal columns.

The three populations differ in what users share: nothing, a mean that lies among their tastes, or one beside them.
"""

import numpy as np
from numpy.typing import NDArray

from plurality.datasets.simulated.populations import Array, Population, _two


def signed(
    n_users: int = 300, *, rank: int = 5, width: int = 256, scale: float = 3.3, seed: int = 0, unseen: int = 60
) -> tuple[Population, Population]:
    """w ~ N(0, scale²/rank · I), no mean: one reward for all users is at chance. The seen users, and unseen ones."""
    rng = np.random.default_rng(seed)
    v = _orthonormal(rng, width, rank)

    def draw(n: int) -> tuple[Array, NDArray[np.int64]]:
        return rng.normal(size=(n, rank)) * scale / np.sqrt(rank), np.zeros(n, dtype=np.int64)

    return _two(lambda x, w: ((x @ v) * w).sum(1), draw, n_users, unseen, width)


def simplex(
    n_users: int = 300,
    *,
    rank: int = 5,
    width: int = 256,
    scale: float = 3.6,
    concentration: float = 0.1,
    seed: int = 0,
    unseen: int = 60,
) -> tuple[Population, Population]:
    """w ~ scale · Dirichlet(concentration): tastes are mixtures of `rank` rewards, and share their mean.

    At 0.1, the concentration of LoRe's simulated users (arXiv 2504.14439), most tastes are nearly one of the rewards.
    """
    rng = np.random.default_rng(seed)
    v = scale * _orthonormal(rng, width, rank)

    def draw(n: int) -> tuple[Array, NDArray[np.int64]]:
        w = rng.dirichlet(np.full(rank, concentration), size=n)
        return w, w.argmax(1)

    return _two(lambda x, w: ((x @ v) * w).sum(1), draw, n_users, unseen, width)


def deviations(
    n_users: int = 300,
    *,
    rank: int = 5,
    width: int = 256,
    scale: float = 2.0,
    mean: float = 2.4,
    seed: int = 0,
    unseen: int = 60,
) -> tuple[Population, Population]:
    """m + V w, ‖m‖ = mean and w ~ N(0, scale²/rank · I): most is shared, and outside the users' differences."""
    rng = np.random.default_rng(seed)
    basis = _orthonormal(rng, width, rank + 1)
    m, v = mean * basis[:, 0], basis[:, 1:]

    def draw(n: int) -> tuple[Array, NDArray[np.int64]]:
        return rng.normal(size=(n, rank)) * scale / np.sqrt(rank), np.zeros(n, dtype=np.int64)

    return _two(lambda x, w: x @ m + ((x @ v) * w).sum(1), draw, n_users, unseen, width)


def _orthonormal(rng: np.random.Generator, width: int, rank: int) -> Array:
    return np.linalg.qr(rng.normal(size=(width, rank)))[0]
