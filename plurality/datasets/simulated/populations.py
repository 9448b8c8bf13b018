"""Simulated populations in embedding space whose truth is known: what tests, recipes and benchmarks measure against.

Every simulator draws items x ~ N(0, I_d), gives each user a true utility u_user(x), and draws
label ~ Bernoulli(σ(u_user(x₁) − u_user(x₂))).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from plurality.data.comparisons import Comparisons
from plurality.data.keys import mix, text_keys
from plurality.errors import InputError

__all__ = ["Population", "Sample", "careless", "low_rank", "objectives", "pal", "taste_groups"]

Array = NDArray[np.floating]
Utility = Callable[[Array, Array], Array]
"""Items (N, d) and the users' parameters, a row an item (N, P) -> utility in log-odds (N,)."""


@dataclass(frozen=True, eq=False)
class Population:
    """True parameters of a population of users and the utility they share.

    theta     (U, P) a row a user: prototype weights, directions, objective weights
    group     (U,) the planted group of each user (all zero where there is none)
    flip      (U,) probability that a label is flipped: carelessness
    known     (U rows) what is known of users, or None: then their planted group is

    utility    (items, theta) -> utilities (users, items)
    width      dimensions of the item embeddings
    prefix     what user ids begin with
    """

    utility: Utility
    theta: Array
    group: NDArray[np.int64]
    flip: Array
    width: int
    prefix: str = "user"
    known: pl.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.theta)

    @property
    def users(self) -> pl.DataFrame:
        """Frame of user_id, and of what is known of users; of the planted group where that is nothing."""
        ids = pl.DataFrame({"user_id": [f"{self.prefix}-{i}" for i in range(len(self))]})
        groups = pl.DataFrame({"group": [f"group {g}" for g in self.group]})
        return pl.concat([ids, groups if self.known is None else self.known], how="horizontal")

    def sample(self, n_comparisons: int, *, seed: int, items: int | None = None) -> "Sample":
        """`n_comparisons` by every user, on two new items each, or on pairs from a shared pool of `items`.

        seed    of items, pairs and answers
        """
        rng = np.random.default_rng(seed)
        n = len(self) * n_comparisons
        user = np.repeat(np.arange(len(self)), n_comparisons)
        if items is None:
            x = rng.standard_normal((2 * n, self.width), dtype=np.float32)
            first, second = np.arange(n), np.arange(n, 2 * n)
        else:
            if items < 2:
                raise InputError(f"a pool of {items} items has no pairs; give at least 2")
            x = rng.standard_normal((items, self.width), dtype=np.float32)
            first = rng.integers(items, size=n)
            second = (first + rng.integers(1, items, size=n)) % items
        theta = self.theta[user]
        gap = self.utility(x[first], theta) - self.utility(x[second], theta)
        flip = self.flip[user]
        p = (1 - flip) * expit(gap) + flip * expit(-gap)
        label = (rng.random(n) < p).astype(np.float64)
        data = Comparisons(
            items=x,
            first=first.astype(np.int64),
            second=second.astype(np.int64),
            user=user,
            label=label,
            weight=np.ones(n),
            group=mix(np.arange(n), seed),
            prompt=np.zeros(len(x), dtype=np.int64),
            users=self.users,
            item_keys=mix(np.arange(len(x)), seed),
            prompt_keys=text_keys(["planted"]),
            source="planted",
        )
        return Sample(data, gap, p)


@dataclass(frozen=True, eq=False)
class Sample:
    """Comparisons with their truth: gap (N,) before carelessness, in log-odds, and P(label = 1), p (N,).

    data    the comparisons
    """

    data: Comparisons
    gap: Array
    p: Array

    def accuracy(self) -> float:
        """Share of labels that the true utilities predict."""
        return float(np.mean((self.gap > 0) == (self.data.label > 0.5)))


def pal(
    n_users: int = 300,
    *,
    prototypes: int = 3,
    width: int = 32,
    preference: int = 4,
    norm: float = 4.0,
    noise: float = 0.35,
    weights: str = "onehot",
    seed: int = 0,
    unseen: int = 100,
) -> tuple[Population, Population]:
    """Ideal points: u = −noise · ‖F x − P w‖², F with orthonormal rows (preference, width), ‖p_k‖ = norm.

    weights = "onehot": hard groups of equal expected size; "dirichlet": w ~ Dirichlet(½). Returns the seen users
    and `unseen` others of the same population.

    n_users       number of seen users
    prototypes    number of ideal points K
    width         dimensions of the item embeddings
    preference    dimensions of the preference space
    norm          length of each ideal point
    noise         factor of the squared distance: larger means surer answers
    weights       how users mix prototypes, "onehot" or "dirichlet"
    seed          makes the population the same again
    """
    rng = np.random.default_rng(seed)
    f = np.linalg.qr(rng.normal(size=(width, preference)))[0].T
    p = rng.normal(size=(prototypes, preference))
    p *= norm / np.linalg.norm(p, axis=1, keepdims=True)

    def utility(x: Array, w: Array) -> Array:
        return -noise * np.square(x @ f.T - w @ p).sum(1)

    def draw(n: int) -> tuple[Array, NDArray[np.int64]]:
        if weights == "onehot":
            group = rng.integers(prototypes, size=n)
            return np.eye(prototypes)[group], group
        if weights == "dirichlet":
            w = rng.dirichlet(np.full(prototypes, 0.5), size=n)
            return w, w.argmax(1)
        raise InputError(f"weights {weights!r} are unknown; choose onehot or dirichlet")

    return _two(utility, draw, n_users, unseen, width)


def low_rank(
    n_users: int = 300, *, rank: int = 5, width: int = 256, scale: float = 3.0, seed: int = 0, unseen: int = 100
) -> tuple[Population, Population]:
    """Linear tastes in a shared subspace: u = xᵀV θ, V (width, rank) orthonormal, θ ~ N(0, scale²/rank).

    n_users    number of seen users
    rank       dimensions of the subspace of tastes
    width      dimensions of the item embeddings
    scale      size of utilities, log-odds
    seed       makes the population the same again
    unseen     number of further users, held back
    """
    rng = np.random.default_rng(seed)
    v = np.linalg.qr(rng.normal(size=(width, rank)))[0]

    def utility(x: Array, theta: Array) -> Array:
        return ((x @ v) * theta).sum(1)

    def draw(n: int) -> tuple[Array, NDArray[np.int64]]:
        return rng.normal(size=(n, rank)) * scale / np.sqrt(rank), np.zeros(n, dtype=np.int64)

    return _two(utility, draw, n_users, unseen, width)


def taste_groups(
    n_users: int = 300,
    *,
    shares: tuple[float, ...] = (10 / 11, 1 / 11),
    width: int = 32,
    scale: float = 2.0,
    opposed: bool = True,
    seed: int = 0,
    unseen: int = 100,
) -> tuple[Population, Population]:
    """Hard taste groups with linear rewards, a small one among them: u = scale · xᵀθ_g, ‖θ_g‖ = 1.

    With `opposed`, the last group wants the opposite of the first in half of the first one's direction.

    n_users    number of seen users
    shares     share of each group; they sum to 1
    width      dimensions of the item embeddings
    scale      size of utilities, log-odds
    seed       makes the population the same again
    unseen     number of further users, held back
    """
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(len(shares), width))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    if opposed and len(shares) > 1:
        direction[-1] -= direction[0] * (direction[-1] @ direction[0] + 1.0)
        direction[-1] /= np.linalg.norm(direction[-1])
    share = np.asarray(shares) / np.sum(shares)

    def utility(x: Array, theta: Array) -> Array:
        return scale * (x * theta).sum(1)

    def draw(n: int) -> tuple[Array, NDArray[np.int64]]:
        group = rng.permutation(np.searchsorted(np.cumsum(share), (np.arange(n) + 0.5) / n))
        return direction[group], group

    return _two(utility, draw, n_users, unseen, width)


def careless(
    n_users: int = 300,
    *,
    flips: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4),
    width: int = 32,
    scale: float = 2.0,
    seed: int = 0,
    unseen: int = 100,
) -> tuple[Population, Population]:
    """One taste for all users, labels flipped with a probability that differs by user (cycled over `flips`).

    n_users    number of seen users
    width      dimensions of the item embeddings
    scale      size of utilities, log-odds
    seed       makes the population the same again
    unseen     number of further users, held back
    """
    seen, new = taste_groups(n_users, shares=(1.0,), width=width, scale=scale, seed=seed, unseen=unseen)
    rate = np.asarray(flips, dtype=float)

    def with_flips(population: Population) -> Population:
        level = np.arange(len(population)) % len(rate)
        return replace(population, flip=rate[level], group=level)

    return with_flips(seen), with_flips(new)


def objectives(
    n_users: int = 300,
    *,
    n_objectives: int = 3,
    width: int = 32,
    scale: float = 3.0,
    concentration: float = 1.0,
    seed: int = 0,
    unseen: int = 100,
) -> tuple[Population, Population]:
    """Users weigh shared objectives: u = scale · Σ_j λ_j xᵀv_j, λ ~ Dirichlet(concentration), v_j orthonormal.

    n_users          number of seen users
    n_objectives     number of shared objectives
    width            dimensions of the item embeddings
    scale            size of utilities, log-odds
    concentration    of the Dirichlet of weights; small: each user wants one thing
    seed             makes the population the same again
    unseen           number of further users, held back
    """
    rng = np.random.default_rng(seed)
    v = np.linalg.qr(rng.normal(size=(width, n_objectives)))[0]

    def utility(x: Array, weight: Array) -> Array:
        return scale * ((x @ v) * weight).sum(1)

    def draw(n: int) -> tuple[Array, NDArray[np.int64]]:
        weight = rng.dirichlet(np.full(n_objectives, concentration), size=n)
        return weight, weight.argmax(1)

    return _two(utility, draw, n_users, unseen, width)


def _two(
    utility: Utility, draw: Callable[[int], tuple[Array, NDArray[np.int64]]], seen: int, unseen: int, width: int
) -> tuple[Population, Population]:
    if min(seen, unseen) < 1:
        raise InputError("a planted population needs at least one user of each kind, seen and unseen")
    return (
        Population(utility, *draw(seen), np.zeros(seen), width, "user"),
        Population(utility, *draw(unseen), np.zeros(unseen), width, "new"),
    )
