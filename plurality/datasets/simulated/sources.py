"""Planted sources that agree in part: each has the shared reward and a drift of its own."""

from dataclasses import replace

import numpy as np
import polars as pl

from plurality.data.comparisons import Comparisons
from plurality.datasets.simulated.populations import Array, Population, _two


def sources(
    n_users: int = 200,
    *,
    drifts: tuple[float, ...] = (4.0, 1.0, 1.0),
    shared: float = 1.5,
    conflict: float = 0.5,
    width: int = 32,
    seed: int = 0,
    unseen: int = 60,
) -> tuple[Population, Population]:
    """u = xᵀ(shared · m + drift_k · v_k) for users of source k, m and v_k unit vectors.

    Drifts pull against each other: ⟨v_k, v_l⟩ = −conflict / (K − 1) · …, as the first is opposed by the others in a
    share `conflict` of their length. The planted group is the source.
    """
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(width, len(drifts) + 1)))[0].T
    m, v = basis[0], basis[1:].copy()
    v[1:] -= conflict * v[0]
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    theta = shared * m + np.asarray(drifts)[:, None] * v

    def utility(x: Array, t: Array) -> Array:
        return (x * t).sum(1)

    def draw(n: int) -> tuple[Array, "np.ndarray[tuple[int], np.dtype[np.int64]]"]:
        group = np.arange(n) % len(drifts)
        return theta[group], group

    return _two(utility, draw, n_users, unseen, width)


def agreed(population: Population, n_sources: int, shared: float) -> Population:
    """The same users judging by the shared reward alone, without their sources' drifts."""
    theta = np.stack([population.theta[population.group == k][0] for k in range(n_sources)])
    _, _, directions = np.linalg.svd(theta - theta.mean(0))
    left = theta[0] - directions[: n_sources - 1].T @ (directions[: n_sources - 1] @ theta[0])
    return replace(population, theta=np.tile(shared * left / np.linalg.norm(left), (len(population), 1)))


def with_objectives(data: Comparisons, column: str) -> Comparisons:
    """The values of a users column as each comparison's objective."""
    names = data.users[column].unique().sort()
    place = names.search_sorted(data.users[column]).to_numpy().astype(np.int64)
    assert isinstance(names, pl.Series)
    return replace(data, objective=place[data.user], objectives=tuple(names.to_list()))
