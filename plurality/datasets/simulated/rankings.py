"""Planted complete rankings, whose pairs share what a person thinks of an item beside the embedding."""

import numpy as np
from scipy.special import expit

from plurality.data.comparisons import Comparisons
from plurality.data.keys import mix, text_keys
from plurality.datasets.simulated.populations import Population, Sample
from plurality.errors import InputError

__all__ = ["rankings"]


def rankings(
    population: Population, *, items: int = 10, pool: int | None = None, share: float = 1.0, seed: int = 0
) -> Sample:
    """Every user ranks some items once, by utility plus an effect of each item on each user; rankings come as pairs.

    Effects are Gumbel's, independent of the embedding and the same in all pairs of that user with that item. One pair
    by itself is then Bradley–Terry's, p = σ(gap) (Luce 1959; Yellott 1977), so `gap` and `p` are the truth for items
    that are new to the user, while many pairs of few items say far less of a taste than as many pairs of new items.

    population    who ranks, by its true utility of the embedding
    items         number of items that each user ranks
    pool          number of items there are, of which each user's are drawn; None: all users rank the same ones
    share         of the pairs of each ranking that become comparisons, drawn at random
    seed          of items, effects and pairs
    """
    pool = items if pool is None else pool
    if not 2 <= items <= pool:
        raise InputError(f"{items} items to rank out of {pool}; give 2 or more, and no more than the pool has")
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((pool, population.width), dtype=np.float32)
    ranked = rng.permuted(np.tile(np.arange(pool), (len(population), 1)), axis=1)[:, :items]
    effect = rng.gumbel(size=ranked.shape)
    a, b = np.triu_indices(items, 1)
    user = np.repeat(np.arange(len(population)), len(a))
    first, second = ranked[:, a].ravel(), ranked[:, b].ravel()
    theta = population.theta[user]
    gap = population.utility(x[first], theta) - population.utility(x[second], theta)
    label = (gap + (effect[:, a] - effect[:, b]).ravel() > 0).astype(np.float64)
    kept = rng.random(len(user)) < share
    data = Comparisons(
        items=x,
        first=first[kept],
        second=second[kept],
        user=user[kept],
        label=label[kept],
        weight=np.ones(int(kept.sum())),
        group=mix(np.arange(len(user)), seed)[kept],
        prompt=np.zeros(pool, dtype=np.int64),
        users=population.users,
        item_keys=mix(np.arange(pool), seed),
        prompt_keys=text_keys(["planted"]),
        source="planted rankings",
    )
    return Sample(data, gap[kept], expit(gap[kept]))
