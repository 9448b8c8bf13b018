"""EM for low-rank rewards: users' codes are integrated out while the shared rewards are learned.

E-step: every user's Laplace posterior N(ẑ, C) under a Gaussian population, itself fitted by empirical Bayes.
M-step: the rewards W (F, d) minimise Σ_i w_i E[nll(gap_i, y_i)] + ½ tr(WᵀAW), convex in W. With δ_i = x_i1 − x_i2 and
J = ∂c/∂z, gap_i is normal with mean ⟨Wδ_i, c(ẑ)⟩ and variance (Wδ_i)ᵀ J C Jᵀ (Wδ_i); where coefficients are the codes
this is exact, on a simplex to first order. A is such that the penalty is on rewards as functions (`ridge`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from plurality.arrays import Array
from plurality.data.comparisons import Comparisons
from plurality.fitting.optimisers import lbfgs
from plurality.models.low_rank.head import LowRankHead
from plurality.reward.links import cross_entropy, log_predictive, nll
from plurality.reward.posterior import Bilinear, Evidence, Posterior, Prior, laplace
from plurality.reward.tensors import to_tensor

MAX_DOUBLE = 1 << 22  # embedding values up to which all is in double precision
MAX_COPIED = 1 << 28  # values of differences, 1 GB, that are worth holding to save two look-ups a comparison
BLOCK = 16_384  # comparisons whose differences are taken at once
NODES, MASS = (torch.as_tensor(a) for a in np.polynomial.hermite_e.hermegauss(5))  # of a normal gap
LOG_MASS = (MASS / MASS.sum()).log()


Decays = tuple[float, float]
"""Prior precision of what users share and of how they differ, on inputs scaled as in BradleyTerry."""


@dataclass(frozen=True)
class LowRankRows:
    """Comparisons with their differences (N, d), or where items recur the items (M, d) and each side's row.

    base    (N,) gap of the base reward, in log-odds
    size    (d,) what inputs are divided by, so that weights mean the same on any embeddings
    """

    x: Tensor
    first: Tensor | None
    second: Tensor | None
    user: Tensor
    label: Tensor
    weight: Tensor
    base: Tensor
    n_users: int
    size: Tensor

    @staticmethod
    def of(data: Comparisons, head: LowRankHead, device: str = "cpu") -> "LowRankRows":
        """Rows on a device, on the scale of the head's inputs."""
        recur = len(data.items) <= len(data) or len(data) * data.dim > MAX_COPIED
        double = min(len(data), len(data.items)) * data.dim <= MAX_DOUBLE and torch.device(device).type != "mps"
        like = torch.empty(0, dtype=torch.float64 if double else torch.float32, device=device)
        x = to_tensor(data.items, like) if recur else torch.cat([to_tensor(d, like) for d in _differences(data)])
        column = [torch.as_tensor(np.ascontiguousarray(c)) for c in (data.first, data.second, data.user)]
        return LowRankRows(
            x=x,
            first=column[0].to(device) if recur else None,
            second=column[1].to(device) if recur else None,
            user=column[2],
            label=torch.as_tensor(data.label),
            weight=torch.as_tensor(data.weight),
            base=torch.as_tensor(data.base_gap),
            n_users=data.users.height,
            size=head.projector.scale.double().cpu() * data.dim**0.5,
        )

    @property
    def seen(self) -> Tensor:
        """Users who have comparisons: (U,)."""
        return torch.bincount(self.user, minlength=self.n_users) > 0

    def features(self, rewards: Tensor) -> Tensor:
        """Difference of both sides under each reward: (F, d) -> (N, F)."""
        f = self.x @ (rewards / self.size.to(rewards)).T
        return f if self.first is None else f[self.first] - f[self.second]

    @torch.no_grad()
    def evidence(self, rewards: Tensor) -> Evidence:
        """What the solver for codes sees: differences as the first side, nothing as the second."""
        f = self.features(rewards.to(self.x)).double().cpu()
        return Evidence(f, f[:, :0], self.user, self.label, self.weight, self.base)


def _differences(data: Comparisons) -> Iterator[Array]:
    for start in range(0, len(data), BLOCK):
        part = slice(start, start + BLOCK)
        yield data.items[data.first[part]] - data.items[data.second[part]]


@dataclass(frozen=True)
class EMState:
    """Where a fit states: shared rewards (F, d) on the projector's scale, population and users' codes; float64."""

    rewards: Tensor
    prior: Prior
    posterior: Posterior

    def scaled(self, spread: float) -> "EMState":
        """The same with a population `spread` times as varied; codes are to be inferred again."""
        return replace(self, prior=self.prior.scaled(max(spread, 1e-6)))


def infer(head: LowRankHead, rows: LowRankRows, state: EMState, *, tol: float = 1e-6, max_iter: int = 100) -> EMState:
    """Users' codes under the population and rewards as they stand."""
    evidence, codes = rows.evidence(state.rewards), state.posterior.codes
    odds = Bilinear(head.coefficients)
    found = laplace(odds, evidence, state.prior, rows.n_users, start=codes, tol=tol, max_iter=max_iter)
    return replace(state, posterior=found)


def empirical(head: LowRankHead, rows: LowRankRows, state: EMState, *, rounds: int = 2) -> EMState:
    """Population fitted to users who have comparisons, by a few rounds of empirical Bayes."""
    for _ in range(rounds):
        state = infer(head, rows, state, tol=1e-2, max_iter=5)
        codes, covariance = state.posterior.codes[rows.seen], state.posterior.covariance[rows.seen]
        prior, mean = state.prior, head.mean_code(codes)
        simplex = head.weights == "simplex"  # there only the mean: the rewards take the scale, which codes cannot tell
        prior = replace(prior, mean=mean) if simplex else prior.updated(codes, covariance, mean)
        state = replace(state, prior=prior)
    return state


def rescaled(head: LowRankHead, state: EMState) -> EMState:
    """The same rewards of the same users with E[zzᵀ] = I, axes in falling order of what they move."""
    if head.n_codes == 0 or head.weights == "simplex":
        return state
    prior, own = state.prior, state.rewards[int(head.shared) :]
    moment = torch.linalg.inv(prior.precision) + prior.mean[:, None] * prior.mean
    root = torch.linalg.cholesky(moment)
    vectors, _, _ = torch.linalg.svd(root.T @ own, full_matrices=False)  # rewards of unit codes, strongest first
    turn = root @ vectors  # z = turn @ z'
    moved = turn.T @ own
    sign = torch.where(moved.gather(1, moved.abs().argmax(1, keepdim=True)) < 0, -1.0, 1.0).to(moved)[:, 0]
    turn, back = turn * sign, torch.linalg.inv(turn * sign)
    return EMState(
        torch.cat([state.rewards[: int(head.shared)], turn.T @ own]),
        Prior(back @ prior.mean, turn.T @ prior.precision @ turn),
        Posterior(state.posterior.codes @ back.T, back @ state.posterior.covariance @ back.T),
    )


def coefficients(head: LowRankHead, posterior: Posterior) -> tuple[Tensor, Tensor]:
    """Users' coefficients at their codes (U, F), and a root R (U, F, C) of their covariance, J C Jᵀ = RRᵀ."""
    codes = posterior.codes
    mean = head.coefficients(codes)
    if head.n_codes == 0:
        return mean, mean.new_zeros(*mean.shape, 0)
    return mean, _jacobian(head, codes) @ torch.linalg.cholesky(posterior.covariance)


@torch.enable_grad()
def _jacobian(head: LowRankHead, codes: Tensor) -> Tensor:
    """∂c/∂z at each user's code: (U, F, C). A gradient a column, since torch.func brings in torch's compiler."""
    codes = codes.detach().requires_grad_()
    columns = head.coefficients(codes).sum(0)
    return torch.stack([torch.autograd.grad(column, codes, retain_graph=True)[0] for column in columns], dim=1)


def gap(features: Tensor, mean: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of gaps: features (N, F), coefficients (N, F) with root (N, F, C) -> (N,), (N,)."""
    turned = torch.einsum("nf,nfc->nc", features, root)
    return (features * mean).sum(1), (turned.square().sum(1) + 1e-12).sqrt()


def ridge(head: LowRankHead, rows: LowRankRows, state: EMState, decays: Decays) -> Tensor:
    """A (F, F) of the penalty ½ tr(WᵀAW): decays times the mean square of what users share and of how they differ.

    With c̄ and Cov(c) of users' coefficients it is shared · c̄c̄ᵀ + own · Cov(c), so that the penalty is on rewards
    as functions, whatever basis they are written in.
    """
    each, root = coefficients(head, state.posterior.of(rows.seen))
    mean = each.mean(0)
    moment = (each - mean).T @ (each - mean) / len(each) + (root @ root.mT).mean(0)
    floor = 0.01 * moment.diagonal().mean() * torch.eye(len(mean), dtype=moment.dtype)  # few users, or all the same
    return decays[0] * mean[:, None] * mean + decays[1] * (moment + floor)


def m_step(head: LowRankHead, rows: LowRankRows, state: EMState, decays: Decays, *, steps: int) -> EMState:
    """Rewards that explain the labels best, codes as they are believed to be."""
    rewards = state.rewards.to(rows.x).contiguous().clone().requires_grad_()
    label, weight, base = (column.to(rewards) for column in (rows.label, rows.weight, rows.base))
    centre, root = (t.to(rewards)[rows.user.to(rewards.device)] for t in coefficients(head, state.posterior))
    stiff = ridge(head, rows, state, decays).to(rewards)
    nodes, mass = NODES.to(rewards), LOG_MASS.exp().to(rewards)
    total = float(rows.weight.sum())

    def loss(_: int) -> Tensor:
        mean, sd = gap(rows.features(rewards), centre, root)
        mean = mean + base
        each = nll(mean[:, None] + sd[:, None] * nodes, label[:, None]) @ mass if head.n_codes else nll(mean, label)
        penalty = (rewards * (stiff @ rewards)).sum() / 2
        return ((weight * each).sum(dtype=torch.float64 if rewards.device.type != "mps" else None) + penalty) / total

    lbfgs(loss, [rewards], steps=steps)
    return replace(state, rewards=rewards.detach().double().cpu())


def em(head: LowRankHead, rows: LowRankRows, state: EMState, decays: Decays, *, rounds: int, steps: int) -> EMState:
    """A few rounds of empirical Bayes, E- and M-step, ending on the first two."""
    for _ in range(rounds):
        state = m_step(head, rows, rescaled(head, empirical(head, rows, state)), decays, steps=steps)
    return rescaled(head, empirical(head, rows, state)) if head.n_codes else state


def held_out(head: LowRankHead, rows: LowRankRows, state: EMState) -> Tensor:
    """Nats of other comparisons by the same users times their weights, the codes' uncertainty averaged out: (N,)."""
    with torch.no_grad():
        features = rows.features(state.rewards.to(rows.x)).double().cpu()
        mean, sd = gap(features, *(t[rows.user] for t in coefficients(head, state.posterior)))
        points = (rows.base + mean)[:, None] + sd[:, None] * NODES
        return rows.weight * cross_entropy(*log_predictive(points, LOG_MASS), rows.label)
