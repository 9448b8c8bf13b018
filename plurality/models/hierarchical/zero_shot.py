"""Do demographics help? Users are held out whole and predicted before their first comparison, told who they are or not.

Per comparison the gain is log p(label | demographics) − log p(label), nats, each under a population fitted without the
held-out users: with demographics, and without. Users are the unit of the interval.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plurality.arrays import Float
from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, uniform
from plurality.models.hierarchical.empirical_bayes import EmpiricalBayesFit
from plurality.models.hierarchical.gaussian import MASS, NODES, DifferenceRows
from plurality.reward.links import log_prob

FEWEST = 8  # users, below which nothing can be said of users in general
NORMAL_95 = 1.96


def users_apart(data: Comparisons, folds: int, seed: int) -> np.ndarray:
    """The fold of each user, dealt evenly by what they compared, so that neither names nor order matter: (U,)."""
    pair = combine(data.item_keys[data.first], data.item_keys[data.second])
    key = np.full(data.users.height, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(key, data.user, combine(pair, data.group))
    rank = np.empty(len(key), dtype=np.int64)
    rank[np.argsort(uniform(key, seed), kind="stable")] = np.arange(len(key))
    return rank * folds // max(1, len(key))


def log_likelihood(fit: EmpiricalBayesFit, rows: DifferenceRows, design: Tensor) -> Tensor:
    """Log-probability (nats) of labels of users not fitted to, weights included, before any comparison: (N,)."""
    full = torch.cat([design.new_ones(len(design), 1), design], 1)
    mean = full @ fit.joint.coefficients
    covariance = fit.covariance + fit.joint.mean_covariance(full)
    parts = []
    for part in rows.parts():
        d, mass = part.difference, (MASS / MASS.sum()).log()
        sd = torch.einsum("nc,ncd,nd->n", d, covariance[part.user], d).clamp_min(0).sqrt()
        gap = ((d * mean[part.user]).sum(-1) + part.base)[:, None] + sd[:, None] * NODES
        log_p, log_q = ((log_prob(side) + mass).logsumexp(1) for side in (gap, -gap))
        parts.append(part.weight * (part.label * log_p + (1 - part.label) * log_q))
    return torch.cat(parts)


@dataclass(frozen=True)
class DemographicsGain:
    """Held-out gain of demographics over the population, a row a user: nats in sum, and comparisons (weights)."""

    nats: Float
    count: Float

    def answer(self) -> dict[str, Any]:
        """Mean nats a comparison with its 95 % interval over users, and what it means, ready for JSON."""
        users = int((self.count > 0).sum())
        if users < FEWEST:
            verdict = f"{users} users are too few to say whether demographics help; {FEWEST} are the least"
            return {"gain": None, "lo": None, "hi": None, "users": users, "verdict": verdict}
        total = self.count.sum()
        gain = float(self.nats.sum() / total)
        spread = np.square(self.nats - gain * self.count).sum() * users / (users - 1)
        half = NORMAL_95 * float(np.sqrt(spread)) / float(total)
        lo, hi = gain - half, gain + half
        return {"gain": gain, "lo": lo, "hi": hi, "users": users, "verdict": _verdict(gain, lo, hi, users)}


def _verdict(gain: float, lo: float, hi: float, users: int) -> str:
    number = f"{gain:+.4f} nats a comparison [{lo:+.4f}, {hi:+.4f}] over {users:,} users held out"
    if lo > 0:
        return f"demographics help beyond the population: {number}"
    if hi < 0:
        return f"demographics do not help beyond the population, what was learned of them does not carry over: {number}"
    return f"demographics do not help beyond the population: {number}, and the interval covers 0"
