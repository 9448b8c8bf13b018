"""Planted people: tastes that demographics tell something of, and what they alone would predict."""

import numpy as np
import polars as pl

from plurality.datasets.simulated.populations import Array, Population, Sample

REGIONS = ("north", "east", "south", "west")


def people(
    n_users: int = 300,
    *,
    width: int = 32,
    dimensions: int = 3,
    mean: float = 1.5,
    scale: float = 1.7,
    told: float = 0.5,
    seed: int = 0,
    unseen: int = 100,
) -> tuple[Population, Population]:
    """u = xᵀV z, z ~ N(μ + B x_user, Σ), ‖μ‖ = mean, z's total variance scale², a share `told` of it B x_user's.

    Users have a region (one of four), an age, and a panel that says nothing; `theta` is [z, μ + B x].
    """
    rng = np.random.default_rng(seed)
    v = np.linalg.qr(rng.normal(size=(width, dimensions)))[0]
    mu = rng.normal(size=dimensions)
    mu *= mean / np.linalg.norm(mu)
    effects = rng.normal(size=(len(REGIONS) + 1, dimensions))
    effects[:-1] -= effects[:-1].mean(0)
    size = np.square(effects[:-1]).sum() / len(REGIONS) + np.square(effects[-1]).sum()
    effects *= scale * np.sqrt(told / size)

    def draw(n: int) -> tuple[Array, np.ndarray, pl.DataFrame]:
        region, age = rng.integers(len(REGIONS), size=n), rng.normal(size=n)
        centre = mu + effects[region] + age[:, None] * effects[-1]
        z = centre + rng.normal(size=(n, dimensions)) * scale * np.sqrt((1 - told) / dimensions)
        table = pl.DataFrame(
            {
                "region": np.array(REGIONS)[region],
                "age": (45 + 15 * age).round(1),
                "panel": [f"panel {i}" for i in rng.integers(3, size=n)],
            }
        )
        return np.concatenate([z, centre], 1), region, table

    def utility(x: Array, theta: Array) -> Array:
        return ((x @ v) * theta[:, :dimensions]).sum(1)

    populations = []
    for n, prefix in ((n_users, "user"), (unseen, "new")):
        theta, region, table = draw(n)
        populations.append(Population(utility, theta, region, np.zeros(n), width, prefix, table))
    return populations[0], populations[1]


def told(population: Population, sample: Sample) -> Array:
    """Gap (N,) between the utilities that demographics alone let one expect: no model can know more without labels."""
    data = sample.data
    centre = population.theta[:, population.theta.shape[1] // 2 :][data.user]
    first, second = (population.utility(data.items[side], centre) for side in (data.first, data.second))
    return first - second
