"""Simulated hierarchical logits whose hyperparameters are draws of the model's own prior, or given."""

from dataclasses import dataclass

import numpy as np
import torch

from plurality.models.hierarchical.empirical_bayes import HierarchicalProblem
from plurality.models.hierarchical.gaussian import DifferenceRows


@dataclass(frozen=True)
class World:
    """Truth: mu (C,), effects (G, C) of levels as coefficients, root of Σ (C, C), codes z (U, C)."""

    problem: HierarchicalProblem
    mu: np.ndarray
    effects: np.ndarray
    root: np.ndarray
    z: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """μ + B x of every user: (U, C)."""
        return self.mu + self.problem.design.numpy() @ self.effects


def world(seed, n_users, each, width, levels, *, root=None, ratio=None):
    """Σ = diag(s) R diag(s) from the prior, unless its root is given; as tau is for the ratio."""
    rng = np.random.default_rng(seed)
    if root is None:
        root = np.abs(rng.normal(size=width))[:, None] * np.sqrt(3 / width) * _lkj_root(rng, width)
    tau = abs(rng.normal()) if ratio is None else np.sqrt(ratio)
    mu = 2 * rng.normal(size=width)
    design = np.eye(levels)[rng.integers(levels, size=n_users)]
    design -= design.mean(0)
    effects = tau * rng.normal(size=(levels, width)) @ root.T
    z = mu + design @ effects + rng.normal(size=(n_users, width)) @ root.T
    user = np.repeat(np.arange(n_users), each)
    difference = rng.normal(size=(len(user), width))
    p = 1 / (1 + np.exp(-(difference * z[user]).sum(1)))
    label = (rng.random(len(user)) < p).astype(float)
    columns = (torch.as_tensor(c) for c in (difference, user, label, np.ones(len(user)), np.zeros(len(user))))
    problem = HierarchicalProblem(
        DifferenceRows(*columns, n_users),
        torch.as_tensor(design),
        torch.zeros(levels, dtype=torch.int64),
        torch.eye(width, dtype=torch.float64) / 4,
    )
    return World(problem, mu, effects, root, z)


def _lkj_root(rng, width, shape=2.0):
    """Cholesky factor of a correlation matrix from LKJ(shape), by the onion method (Lewandowski et al. 2009)."""
    beta = shape + (width - 2) / 2
    root = np.eye(width)
    if width > 1:
        root[1, 0] = 2 * rng.beta(beta, beta) - 1
        root[1, 1] = np.sqrt(1 - root[1, 0] ** 2)
    for i in range(2, width):
        beta -= 0.5
        share, direction = rng.beta(i / 2, beta), rng.normal(size=i)
        root[i, :i] = np.sqrt(share) * direction / np.linalg.norm(direction)
        root[i, i] = np.sqrt(1 - share)
    return root
