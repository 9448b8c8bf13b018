"""Planted populations of a few modes, with what an ideal observer who knows the modes would say of any user."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax, logsumexp

from plurality.datasets.simulated.populations import Array, Population, Sample, _two

__all__ = ["ideal_observer", "two_modes"]


def two_modes(
    n_users: int = 300,
    *,
    width: int = 64,
    scale: float = 2.2,
    cosine: float = -0.65,
    share: float = 0.5,
    seed: int = 0,
    unseen: int = 100,
) -> tuple[Population, Population]:
    """Two linear tastes of length `scale` at an angle: u = scale · xᵀθ_g, ⟨θ₀, θ₁⟩ = cosine, P(g = 0) = share.

    As it comes, the ideal observer is right on .62, .74, .78, .82, .84, .84 of labels after 0, 1, 2, 4, 8, 16 others.

    n_users    number of seen users
    width      dimensions of the item embeddings
    cosine     cosine of the two directions
    share      share of users in the first mode
    seed       makes the population the same again
    unseen     number of further users, held back
    """
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(width, 2)))[0].T
    modes = scale * np.stack([basis[0], cosine * basis[0] + np.sqrt(1 - cosine**2) * basis[1]])

    def utility(x: Array, theta: Array) -> Array:
        return (x * theta).sum(1)

    def draw(n: int) -> tuple[Array, NDArray[np.int64]]:
        group = (rng.random(n) >= share).astype(np.int64)
        return modes[group], group

    return _two(utility, draw, n_users, unseen, width)


def ideal_observer(population: Population, support: Sample, query: Sample, n: int) -> Array:
    """Log-odds (N,) of the queries given each user's first n supports, by Bayes' rule over the planted groups.

    The groups' tastes and shares are known, the user's group is not: no method can do better on average.

    population    the planted population
    support       comparisons that the observer has seen
    query         comparisons to predict
    n             draws of the latent
    """
    groups = np.unique(population.group)
    tastes = np.stack([population.theta[population.group == g][0] for g in groups])
    shares = np.array([np.mean(population.group == g) for g in groups])
    log_belief = np.tile(np.log(shares), (len(population), 1))
    data = support.data
    rank = np.arange(len(data)) - np.searchsorted(data.user, data.user)
    used = rank < n
    gap = _gaps(population, support, tastes)[used]
    said = np.where(data.label[used, None] > 0.5, log_expit(gap), log_expit(-gap))
    np.add.at(log_belief, data.user[used], said)
    log_belief = log_softmax(log_belief, axis=1)[query.data.user]
    gap = _gaps(population, query, tastes)
    return logsumexp(log_belief + log_expit(gap), axis=1) - logsumexp(log_belief + log_expit(-gap), axis=1)


def _gaps(population: Population, sample: Sample, tastes: Array) -> Array:
    """Gap of every comparison under every taste: (N, K)."""
    data = sample.data
    first, second = data.items[data.first], data.items[data.second]
    each = [np.broadcast_to(t, (len(data), len(t))) for t in tastes]
    return np.stack([population.utility(first, t) - population.utility(second, t) for t in each], 1)
