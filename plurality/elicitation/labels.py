"""Which labels to buy for the reward that all users share: those that leave its weights least uncertain."""

from typing import NamedTuple

import numpy as np
import torch

from plurality.arrays import Array, Float, Int
from plurality.data.comparisons import Comparisons
from plurality.elicitation.asking import batch_sides
from plurality.errors import InputError, check_whole
from plurality.reward.links import prob
from plurality.reward.posterior import Posterior
from plurality.reward.reward_model import RewardModel

__all__ = ["Bought", "greedy_log_det", "next_labels"]

DIRECTIONS = 256  # principal directions of differences in which weights may be uncertain
BLOCK = 16_384  # comparisons whose differences are held at once


class Bought(NamedTuple):
    """Which candidates to have labelled, and what each of them is worth.

    rows    (n,) rows of the candidates, in the order in which they were taken
    gain    (n,) fall in the entropy of the shared weights (nats) by each, after those before it
    """

    rows: Int
    gain: Float


def next_labels(
    reward: RewardModel,
    candidates: Comparisons,
    labelled: Comparisons,
    *,
    n: int = 1,
    decay: float = 20.0,
    log_policy: Array | None = None,
) -> Bought:
    """A batch of comparisons whose labels, by anybody, would say most of what all users share, for any family.

    The reward of the population is taken as linear in the embedding around where it stands, with weights of precision
    H = λI + Σ w p(1 − p) δδᵀ over `labelled`, δ the difference of two items in principal directions, each of size 1 on
    average. A label adds p(1 − p) δδᵀ, and the batch is grown greedily by log-determinant, so that it holds no two that
    say the same. Source: Chaloner & Verdinelli 1995, §2 (Bayesian D-optimality); Ash et al. 2021, arXiv 2106.09675, for
    batches in embeddings.

    reward        fitted model: P(first preferred) by its population
    candidates    comparisons that could be labelled; users and labels of them are not looked at
    labelled      comparisons that are; none of them: take(...) nothing
    n             size of the batch
    decay         λ, prior precision of the weights over their number, as in BradleyTerry
    log_policy    (N, 2) log-probabilities that a policy gives both sides of each candidate: what it would produce
                  counts for more, by the geometric mean of both over their median (as in PILAF, arXiv 2502.04270,
                  which draws pairs from such policies); None: all alike

    Raises InputError for a batch larger than the candidates, another encoder, and log-probabilities that are not
    finite.
    """
    reward.check(candidates)
    reward.check(labelled)
    check_whole("n", n)
    if not 1 <= n <= len(candidates):
        raise InputError(f"{candidates.source}: {n} labels cannot be chosen from {len(candidates)} candidates")
    if not decay > 0:
        raise InputError(f"next_labels: decay {decay} is not positive; 20 suits most embeddings")
    share = np.ones(len(candidates)) if log_policy is None else _produced(log_policy, len(candidates))
    directions = _principal(candidates)
    x, known = (_differences(data, directions) for data in (candidates, labelled))
    information = decay * np.eye(x.shape[1])
    if len(labelled):
        information += (known * (labelled.weight * _variance(reward, labelled))[:, None]).T @ known
    return greedy_log_det(
        x, share * _variance(reward, candidates), np.asarray(np.linalg.inv(information), dtype=np.float64), n
    )


def greedy_log_det(x: Float, weight: Float, covariance: Float, n: int) -> Bought:
    """Rows that each add most to log det(C⁻¹ + Σ w x xᵀ), one after the other: ½ log(1 + w xᵀCx) nats each.

    x             (N, d) directions
    weight        (N,) information that each has along its direction
    covariance    (d, d) C before
    n             rows to take
    """
    spread = x @ covariance  # (N, d)
    left = np.einsum("nd,nd->n", spread, x)
    rows, gain = np.empty(n, dtype=np.int64), np.empty(n)
    taken = np.zeros(len(x), dtype=bool)
    for place in range(n):
        row = int(np.where(taken, -1.0, weight * left).argmax())
        along = spread[row].copy()
        size = weight[row] / (1 + weight[row] * left[row])
        rows[place], gain[place], taken[row] = row, 0.5 * np.log1p(weight[row] * left[row]), True
        shared = x @ along
        left = np.maximum(left - size * shared**2, 0)
        spread -= size * shared[:, None] * along
    return Bought(rows, gain)


def _variance(reward: RewardModel, data: Comparisons) -> Float:
    """p(1 − p) of every comparison under the population's code: (N,)."""
    first, second = batch_sides(reward, data)
    code = Posterior.of_prior(reward.prior, 1).codes.to(first.dtype).expand(len(data), -1)
    with torch.no_grad():
        p = prob(reward.whole_head.log_odds(first, second, code).double())
    return (p * (1 - p)).numpy()


def _produced(log_policy: Array, count: int) -> Float:
    """How likely a policy is to produce each pair, 1 for the median: (N,)."""
    log_policy = np.asarray(log_policy, dtype=np.float64)
    if log_policy.shape != (count, 2) or not np.isfinite(log_policy).all():
        raise InputError(f"log_policy must be finite, ({count}, 2), a side a column; its shape is {log_policy.shape}")
    mean = log_policy.mean(axis=1)
    likely: Float = np.exp(np.clip(mean - np.median(mean), -30, 30))
    return likely


def _principal(data: Comparisons) -> Float:
    """Directions (d, K) in which compared items differ most, over their root mean square."""
    some = np.arange(0, len(data), -(-len(data) // BLOCK))
    difference = data.items[data.first[some]].astype(np.float64) - data.items[data.second[some]]
    values, vectors = np.linalg.eigh(difference.T @ difference / len(some))
    values, vectors = values[::-1][:DIRECTIONS], vectors[:, ::-1][:, :DIRECTIONS]
    kept = values > 1e-9 * max(values[0], 1e-300)
    size = np.sqrt(values[kept].mean()) if kept.any() else 1.0
    return np.asarray(vectors[:, kept] / size)


def _differences(data: Comparisons, directions: Float) -> Float:
    blocks = [np.zeros((0, directions.shape[1]))]
    for start in range(0, len(data), BLOCK):
        part = slice(start, start + BLOCK)
        first, second = data.items[data.first[part]], data.items[data.second[part]]
        blocks.append((first.astype(np.float64) - second) @ directions)
    return np.concatenate(blocks)
