"""A few directions of a wide embedding in which the population wants something, groups differ, and users differ.

An embedding of few dimensions is kept, each on the scale of its own differences, so that codes stay what an analyst
calls part-worths. A wide one is reduced to rewards that a low-rank fit chose on held-out items, the shared one first,
made orthonormal: along each, a difference of two compared items has variance 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.data.demographics import Factor, blocks, codes_of_levels, design
from plurality.models.hierarchical.empirical_bayes import HierarchicalProblem
from plurality.models.hierarchical.gaussian import DifferenceRows, expected
from plurality.models.low_rank.head import LowRankHead
from plurality.reward.fitted import Fitted

BLOCK = 16_384  # embeddings held in double precision at once
MEAN_SD = 2.0  # prior sd of the population's mean, in log-odds for one sd of a difference
MIN_HELD_OUT_SHARE = 0.3  # share of their variance that levels are to keep on held-out items, or they do not differ
NEWTON = 15  # steps
LEAST = 0.05  # that a shared reward is worth: precisions are to stay finite
DISTINCT = 0.02  # share of its variance a direction must have to itself to be one more


@dataclass(frozen=True)
class Reduction:
    """W (C, d), log-odds per unit of x and code.

    worth     what codes are worth on new items, for what they are on those fitted to: (C,)
    spread    share of Σ to allow
    ranks     how many directions of levels and of users were chosen
    """

    directions: Tensor
    worth: Tensor
    spread: float = 1.0
    ranks: tuple[int, int] = (0, 0)

    def problem(self, data: Comparisons, factors: Sequence[Factor]) -> HierarchicalProblem:
        """The comparisons in these directions, with the demographics of their users."""
        known = torch.as_tensor(design(factors, data.users))
        owners = torch.as_tensor(blocks(factors), dtype=torch.int64)
        stiffness = torch.eye(len(self.directions), dtype=torch.float64) / MEAN_SD**2
        return HierarchicalProblem(_rows(data, self.directions), known, owners, stiffness)


def whole(data: Comparisons) -> Reduction:
    """Every dimension of the embedding, on the scale of its differences."""
    difference = torch.as_tensor(data.items[data.first].astype(np.float64) - data.items[data.second])
    sd = (torch.as_tensor(data.weight / data.weight.sum()) @ difference.square()).sqrt()
    scale = torch.where(sd > 1e-6 * sd.max(), sd, sd.max().clamp_min(1e-300))
    return Reduction(torch.diag(1 / scale), torch.ones_like(scale))


def reduced(data: Comparisons, shared: Fitted, by_level: Fitted | None, most: int) -> Reduction:
    """Directions of a low-rank fit of users, and one of levels: the shared reward, then levels', then users'.

    Levels' directions are used where held-out items allow levels to differ in them.
    """
    own = _rewards(shared)
    of_levels = own[:0]
    if by_level is not None and by_level.report["spread"] >= MIN_HELD_OUT_SHARE:
        of_levels = _rewards(by_level)[1:]
    rewards = torch.cat([own[:1], of_levels, own[1:], _widest(data)])
    difference, share = _differences(data, rewards), torch.as_tensor(data.weight / data.weight.sum())
    moment = difference.T @ (share[:, None] * difference)
    moment[-1, -1] = moment[-1, -1].clamp_min(1e-12)  # compared items may be one and the same
    kept = _distinct(moment[:-1, :-1], most) or [len(rewards) - 1]
    directions = torch.linalg.solve_triangular(torch.linalg.cholesky(moment[kept][:, kept]), rewards[kept], upper=False)
    worth = torch.ones(len(kept), dtype=torch.float64)
    if kept[0] == 0:
        worth[0] = _worth(_rows(data, own), shared)
    return Reduction(directions, worth, float(shared.report["spread"]), (len(of_levels), len(own) - 1))


def levels_as_users(data: Comparisons, factors: Sequence[Factor]) -> Comparisons:
    """Every comparison once a factor, by the level its user is at, in weight 1 / factors: who the groups are."""
    rows, users = [], []
    names: list[str] = []
    for factor in factors:
        level = codes_of_levels(factor, data.users)[data.user]
        known = np.flatnonzero(level >= 0)
        rows.append(known)
        users.append(level[known] + len(names))
        names += [f"{factor.column} {i}" for i in range(int(level.max(initial=0)) + 1)]
    stacked = data.take(np.concatenate(rows))
    table = pl.DataFrame({"user_id": names})
    return replace(stacked, user=np.concatenate(users), users=table, weight=stacked.weight / len(factors))


def _rewards(fitted: Fitted) -> Tensor:
    """The rewards of a low-rank fit, per unit of x: (1 + rank, d), float64."""
    assert isinstance(fitted.head, LowRankHead)
    projector = fitted.head.projector
    return projector.linear.double() / (projector.scale.double() * fitted.head.n_embedding**0.5)


def _differences(data: Comparisons, directions: Tensor) -> Tensor:
    """W (x₁ − x₂) of every comparison: (N, C), float64."""
    f = torch.empty(len(data.items), len(directions), dtype=torch.float64)
    for start in range(0, len(f), BLOCK):
        block = np.asarray(data.items[start : start + BLOCK], dtype=np.float64)
        f[start : start + BLOCK] = torch.as_tensor(block) @ directions.T
    return f[torch.as_tensor(data.first)] - f[torch.as_tensor(data.second)]


def _rows(data: Comparisons, directions: Tensor) -> DifferenceRows:
    columns = data.user, data.label, data.weight, data.base_gap
    user, label, weight, base = (torch.as_tensor(np.ascontiguousarray(column)) for column in columns)
    return DifferenceRows(_differences(data, directions), user, label, weight, base, data.users.height)


def _widest(data: Comparisons) -> Tensor:
    """The axis of the embedding along which compared items differ most, where no taste is found."""
    sample = slice(0, BLOCK)
    difference = np.asarray(data.items[data.first[sample]] - data.items[data.second[sample]], dtype=np.float64)
    return torch.eye(data.dim, dtype=torch.float64)[[int(np.square(difference).sum(0).argmax())]]


def _distinct(moment: Tensor, most: int) -> list[int]:
    """Rows of a second moment that say something of their own, in order, at most so many."""
    kept: list[int] = []
    for row in range(len(moment)):
        trial = [*kept, row]
        lower, failed = torch.linalg.cholesky_ex(moment[trial][:, trial])
        if len(trial) <= most and not failed and lower[-1, -1] ** 2 > DISTINCT * moment[row, row]:
            kept = trial
    return kept


def _worth(rows: DifferenceRows, shared: Fitted) -> float:
    """What the shared reward is worth on new items for what it is on those it was fitted to: at most 1.

    Held-out items chose its length; the labels it was fitted to pull it to `length` times that (Newton's method).
    """
    codes = torch.cat([torch.ones(rows.n_users, 1, dtype=torch.float64), shared.posterior.codes], 1)
    covariance = torch.nn.functional.pad(shared.posterior.covariance, (1, 0, 1, 0))
    along, length = rows.difference[:, 0], 1.0
    for _ in range(NEWTON):
        _, slope, curvature = expected(rows, codes * torch.tensor([length] + [1.0] * (codes.shape[1] - 1)), covariance)
        step = float((slope * along).sum()) / max(float((curvature * along.square()).sum()), 1e-300)
        length = min(max(length - step, length / 2), 2 * length)
    return min(1.0, max(LEAST, 1 / length))
