"""The best joint Gaussian for users' codes and the coefficients of their prior means: a variational posterior.

    z_u = o_u + x_uᵀβ + e_u,  e_u ~ N(0, Σ),  β_q ~ N(0, K_q⁻¹),  first preferred ~ Bernoulli(σ(⟨δ_i, z_u⟩ + b_i))
    q(z, β) maximises  L = Σ_i −w_i E_q[nll(⟨δ_i, z_u⟩, y_i)] − KL(q ‖ prior)  ≤ log p(labels).
A gap is normal under q, so that each expectation is one-dimensional; its slope and curvature in the gap's mean are all
a Newton step needs. With few labels a user this is nearer to the posterior than the mode and the curvature there,
whose spread is too small. Source: Opper & Archambeau 2009, eqs. 8–10; Ormerod & Wand 2012, §2.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from plurality.reward.links import nll
from plurality.reward.posterior import Evidence, Posterior, Prior, laplace

NODES, MASS = (torch.as_tensor(a) for a in np.polynomial.hermite_e.hermegauss(9))  # of a normal gap
BLOCK = 1 << 22  # numbers held at once while outer products are summed
HALVINGS = 8
ROUNDING = 1e-12  # of the bound


@dataclass(frozen=True)
class DifferenceRows:
    """Comparisons as a bilinear model sees them: difference δ (N, C), then (N,) columns; float64.

    base    gap of the base reward, in log-odds, to which ⟨δ, z⟩ is added
    """

    difference: Tensor
    user: Tensor
    label: Tensor
    weight: Tensor
    base: Tensor
    n_users: int

    @staticmethod
    def of(evidence: Evidence, n_users: int) -> "DifferenceRows":
        """The same comparisons, by the difference of both sides' features."""
        difference = evidence.first - evidence.second
        return DifferenceRows(difference, evidence.user, evidence.label, evidence.weight, evidence.base, n_users)

    def evidence(self) -> Evidence:
        """What `codes.laplace` takes: the difference as the first side, nothing as the second."""
        return Evidence(self.difference, self.difference[:, :0], self.user, self.label, self.weight, self.base)

    def parts(self) -> "list[DifferenceRows]":
        """The rows in blocks of which an outer product each can be held."""
        columns = (self.difference, self.user, self.label, self.weight, self.base)
        size = max(1, BLOCK // max(1, self.difference.shape[1] ** 2))
        return [
            DifferenceRows(d, u, y, w, b, self.n_users)
            for d, u, y, w, b in zip(*(c.split(size) for c in columns), strict=True)
        ]


@dataclass(frozen=True)
class CodeRegression:
    """Where codes come from: precision Σ⁻¹ (C, C), offset o (U, C), design x (U, Q), K (Q, C, C)."""

    precision: Tensor
    offset: Tensor
    design: Tensor
    stiffness: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Users U, coefficients Q, width C."""
        return len(self.design), self.design.shape[1], len(self.precision)


@dataclass(frozen=True)
class JointGaussian:
    """The Gaussian over codes and coefficients, and what the data say at it.

    codes, coefficients     means (U, C) and (Q, C)
    given                   covariance of codes given the coefficients (U, C, C)
    root                    covariance of the coefficients (Q, C, Q, C)
    covariance, around      covariance of codes, and of codes less x_uᵀβ (U, C, C)
    slope, curvature        of the expected loss in each gap's mean (N,), weights included
    bound                   L, nats
    """

    codes: Tensor
    coefficients: Tensor
    given: Tensor
    root: Tensor
    covariance: Tensor
    around: Tensor
    slope: Tensor
    curvature: Tensor
    bound: float

    def mean_covariance(self, design: Tensor) -> Tensor:
        """Covariance of x_uᵀβ: (U, Q) -> (U, C, C)."""
        q, c = self.coefficients.shape
        flat = self.root.permute(0, 2, 1, 3).reshape(q * q, c * c)
        parts = [_pairs(x) @ flat for x in design.split(max(1, BLOCK // max(1, q * q)))]
        return torch.cat(parts).view(-1, c, c)


def posterior(
    rows: DifferenceRows,
    population: CodeRegression,
    start: JointGaussian | None = None,
    *,
    max_iter: int = 30,
    tol: float = 1e-6,
) -> JointGaussian:
    """The best Gaussian under a population: joint Newton steps, halved until the bound rises; from `start`."""
    joint = _at(rows, population, *_first(population)) if start is None else _again(rows, population, start)
    for _ in range(max_iter):
        new, moved = _step(rows, population, joint)
        if new is None:
            return joint
        joint = new
        if moved < tol:
            return joint
    return joint


def infer(rows: DifferenceRows, prior: Prior, *, start: Tensor | None = None, tol: float = 1e-6) -> Posterior:
    """The best Gaussian of every user's code under a prior that is known, initialised at its mode."""

    def log_odds(first: Tensor, second: Tensor, codes: Tensor, base: Tensor) -> Tensor:
        return (first * codes).sum(-1) + base

    n, width = rows.n_users, len(prior.precision)
    offset = prior.mean.expand(n, width)
    mode = laplace(log_odds, rows.evidence(), Prior(offset, prior.precision), n, start=start, tol=max(tol, 1e-3))
    nothing = offset.new_zeros(0, width)
    known = CodeRegression(prior.precision, offset, offset.new_zeros(n, 0), offset.new_zeros(0, width, width))
    init = _at(rows, known, mode.codes, nothing, mode.covariance, offset.new_zeros(0, width, 0, width))
    found = posterior(rows, known, init, tol=tol)
    return Posterior(found.codes, found.covariance)


def _first(population: CodeRegression) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Before any comparison: means of the prior, coefficients as if known."""
    _, q, c = population.shape
    spread = torch.linalg.inv(population.precision).expand(len(population.design), c, c)
    zero = population.offset.new_zeros(q, c)
    return population.offset, zero, spread, 1e-6 * torch.eye(q * c, dtype=zero.dtype).view(q, c, q, c)


def _again(rows: DifferenceRows, population: CodeRegression, start: JointGaussian) -> JointGaussian:
    """The same Gaussian under another population."""
    return _at(rows, population, start.codes, start.coefficients, start.given, start.root)


def _at(
    rows: DifferenceRows, population: CodeRegression, codes: Tensor, coefficients: Tensor, given: Tensor, root: Tensor
) -> JointGaussian:
    """A Gaussian with its covariances, its expected loss and its bound."""
    users, q, width = population.shape
    bare = JointGaussian(codes, coefficients, given, root, given, given, codes, codes, 0.0)
    of_mean = bare.mean_covariance(population.design)
    pull = given @ population.precision  # how far codes follow their prior mean
    push = pull - torch.eye(width, dtype=codes.dtype)
    covariance, around = given + pull @ of_mean @ pull.mT, given + push @ of_mean @ push.mT
    loss, slope, curvature = expected(rows, codes, covariance)
    off = codes - population.offset - population.design @ coefficients
    scatter = off.T @ off + around.sum(0)
    moments = coefficients[:, :, None] * coefficients[:, None, :] + root.diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    bound = (
        -loss
        + 0.5 * (users * torch.logdet(population.precision) - (population.precision * scatter).sum())
        + 0.5 * (torch.logdet(population.stiffness).sum() - (population.stiffness * moments).sum())
        + 0.5 * (torch.logdet(given).sum() + torch.logdet(root.reshape(q * width, q * width)) + (users + q) * width)
    )
    return JointGaussian(codes, coefficients, given, root, covariance, around, slope, curvature, float(bound))


def _step(rows: DifferenceRows, population: CodeRegression, at: JointGaussian) -> tuple[JointGaussian | None, float]:
    """One Newton step in the means with the covariances that belong to it, and how far codes moved.

    Codes are eliminated: H β-step = gradient with H = Σ_u x xᵀ ⊗ (Π − Π V_u Π) + K.
    """
    precision, x = population.precision, population.design
    users, q, width = population.shape
    off = at.codes - population.offset - x @ at.coefficients
    curved, pushed = precision.repeat(users, 1, 1), -off @ precision
    for part, slope, curvature in zip(rows.parts(), *_like(rows, at), strict=True):
        d = part.difference
        curved.index_add_(0, part.user, (curvature[:, None] * d)[:, :, None] * d[:, None, :])
        pushed.index_add_(0, part.user, -slope[:, None] * d)
    given = torch.linalg.inv(curved)
    gain = torch.einsum("ucd,ud->uc", given, pushed)
    hessian = _crossed(x, precision - precision @ given @ precision)
    hessian[range(q), range(q)] += population.stiffness
    gradient = x.T @ ((off + gain) @ precision) - torch.einsum("qcd,qd->qc", population.stiffness, at.coefficients)
    square = hessian.permute(0, 2, 1, 3).reshape(q * width, q * width)
    root = torch.linalg.inv((square + square.T) / 2)
    step = (root @ gradient.reshape(-1)).view(q, width)
    move = gain + torch.einsum("ucd,ud->uc", given @ precision, x @ step)
    share = 1.0
    for _ in range(HALVINGS):
        codes, coefficients = at.codes + share * move, at.coefficients + share * step
        new = _at(rows, population, codes, coefficients, given, root.view(q, width, q, width))
        if new.bound >= at.bound - ROUNDING * (1 + abs(at.bound)):
            return new, float(share * move.abs().max()) if move.numel() else 0.0
        share /= 2
    return None, 0.0


def _like(rows: DifferenceRows, at: JointGaussian) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Slopes and curvatures in the blocks of `rows.parts()`."""
    size = max(1, BLOCK // max(1, rows.difference.shape[1] ** 2))
    return at.slope.split(size), at.curvature.split(size)


def expected(rows: DifferenceRows, codes: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Expected loss (nats) in sum, its slope and its curvature in each gap's mean (N,)."""
    slopes, curvatures, total = [], [], codes.new_zeros(())
    for part in rows.parts():
        d = part.difference
        mean = ((d * codes[part.user]).sum(-1) + part.base).requires_grad_()
        sd = torch.einsum("nc,ncd,nd->n", d, covariance[part.user], d).clamp_min(0).sqrt()
        with torch.enable_grad():
            each = part.weight * (nll(mean[:, None] + sd[:, None] * NODES, part.label[:, None]) @ (MASS / MASS.sum()))
            (slope,) = torch.autograd.grad(each.sum(), mean, create_graph=True)
            (curvature,) = torch.autograd.grad(slope.sum(), mean)
        total = total + each.detach().sum()
        slopes.append(slope.detach())
        curvatures.append(curvature)
    return total, torch.cat(slopes), torch.cat(curvatures)


def _pairs(x: Tensor) -> Tensor:
    """x xᵀ of every row, flat: (U, Q) -> (U, Q²)."""
    return (x[:, :, None] * x[:, None, :]).flatten(1)


def _crossed(x: Tensor, weight: Tensor) -> Tensor:
    """Σ_u x_u x_uᵀ ⊗ W_u: (U, Q), (U, C, C) -> (Q, Q, C, C)."""
    q, c = x.shape[1], weight.shape[-1]
    size = max(1, BLOCK // max(1, q * q))
    total = x.new_zeros(q * q, c * c)
    for block, flat in zip(x.split(size), weight.flatten(1).split(size), strict=True):
        total += _pairs(block).T @ flat
    return total.view(q, q, c, c)
