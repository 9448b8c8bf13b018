"""What is known of users: a Gaussian prior on codes, and the posterior that a user's comparisons give.

Every user is a small problem of its own: minimise over z ∈ R^C
    Σ_i w_i nll(log-odds(x_i1, x_i2, z), y_i) + ½ (z − μ)ᵀ Λ (z − μ).
Thousands are solved at once by damped Newton steps; the last information matrix is the Laplace posterior.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from plurality.errors import InputError
from plurality.reward.links import nll

POINTS = 32  # draws of a code that a prediction is averaged over


@dataclass(frozen=True)
class Prior:
    """z ~ N(mean, precision⁻¹) over users, in code space, float64: mean (C,), precision (C, C); or (U, …) by user."""

    mean: Tensor
    precision: Tensor

    @staticmethod
    def isotropic(width: int, sd: float) -> "Prior":
        """Mean zero and the same standard deviation in every direction."""
        eye = torch.eye(width, dtype=torch.float64)
        return Prior(torch.zeros(width, dtype=torch.float64), eye / sd**2)

    def scaled(self, factor: float) -> "Prior":
        """The same prior with its covariance multiplied by `factor`."""
        return Prior(self.mean, self.precision / factor)

    def updated(self, codes: Tensor, covariance: Tensor, mean: Tensor) -> "Prior":
        """Empirical Bayes: covariance of codes (U, C) around `mean`, posterior spread (U, C, C) included.

        This is the M-step of EM for a Gaussian population, with the present prior counted as C + 2
        more users, so that a handful of users cannot make it singular.
        """
        count, width = codes.shape
        if count == 0 or width == 0:
            return self
        off = codes - mean
        scatter = off.T @ off + covariance.sum(0)
        pseudo = width + 2
        pooled = (scatter + pseudo * torch.linalg.inv(self.precision)) / (count + pseudo)
        return Prior(mean, torch.linalg.inv(pooled))


@dataclass(frozen=True)
class Posterior:
    """Laplace posterior of each user's code: mode (U, C), covariance (U, C, C), float64."""

    codes: Tensor
    covariance: Tensor

    def uncertainty(self, prior: Prior) -> Tensor:
        """Geometric mean over directions of posterior sd / prior sd: 1 knows nothing new, 0 is certainty; (U,)."""
        width = self.codes.shape[1]
        if width == 0:
            return torch.zeros(len(self.codes), dtype=torch.float64)
        logdet: Tensor = torch.linalg.slogdet(self.covariance).logabsdet
        logdet = logdet + torch.linalg.slogdet(prior.precision).logabsdet
        return (logdet / (2 * width)).exp()

    @staticmethod
    def of_prior(prior: Prior, n_users: int) -> "Posterior":
        """What is believed of users without comparisons: the prior itself."""
        covariance = torch.linalg.inv(prior.precision)
        return Posterior(prior.mean.expand(n_users, -1), covariance.expand(n_users, -1, -1))

    def put(self, rows: Tensor, other: "Posterior") -> "Posterior":
        """The same with other beliefs about the users at `rows` (n,)."""
        return Posterior(
            self.codes.clone().index_copy_(0, rows, other.codes),
            self.covariance.clone().index_copy_(0, rows, other.covariance),
        )

    def forgotten(self, prior: Prior, share: float) -> "Posterior":
        """Evidence shrunk towards the population: Λ₀ + (1 − share)(Λ − Λ₀), and the linear term Λm likewise."""
        if share == 0 or not self.codes.shape[1]:
            return self
        precision = torch.linalg.inv(self.covariance)
        linear = times(self.codes, precision).lerp(times(prior.mean.expand_as(self.codes), prior.precision), share)
        covariance = torch.linalg.inv(precision.lerp(prior.precision.expand_as(precision), share))
        return Posterior(times(linear, covariance), covariance)

    def as_prior(self) -> Prior:
        """What is known of each user as the prior of what comes next."""
        return Prior(self.codes, torch.linalg.inv(self.covariance))

    def of(self, rows: Tensor) -> "Posterior":
        """The users at `rows`, indices or mask."""
        return Posterior(self.codes[rows], self.covariance[rows])

    def concat(self, other: "Posterior") -> "Posterior":
        """These users, then the other ones."""
        return Posterior(torch.cat([self.codes, other.codes]), torch.cat([self.covariance, other.covariance]))

    def normal_points(self) -> Tensor:
        """The same quasi-random normal draws for all users, moved to each user's mode and spread: (U, S, C)."""
        width = self.codes.shape[1]
        if width == 0:
            return self.codes[:, None]
        root: Tensor
        root, failed = torch.linalg.cholesky_ex(self.covariance)
        if failed.any():  # covariances without full rank; the others' draws do not know of them
            values, vectors = torch.linalg.eigh(self.covariance)
            root = torch.where(failed.bool()[:, None, None], vectors * values.clamp_min(0).sqrt()[:, None, :], root)
        return self.codes[:, None] + _normal_draws(width).to(root) @ root.mT


def times(vectors: Tensor, matrices: Tensor) -> Tensor:
    """Rows (U, C) times one symmetric matrix (C, C) or each its own (U, C, C): (U, C)."""
    return (vectors.unsqueeze(-2) @ matrices).squeeze(-2)


@functools.cache
def _normal_draws(width: int) -> Tensor:
    """Antithetic scrambled Sobol points through the normal quantile: (S, C), mean exactly 0."""
    engine = torch.quasirandom.SobolEngine(width, scramble=True, seed=0)  # type: ignore[no-untyped-call]  # torch's
    uniform = engine.draw(POINTS // 2, dtype=torch.float64)
    half = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))
    return torch.cat([half, -half])


LogOdds = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # (N, F), (N, F), (N, C), (N,) -> (N,)


@dataclass(frozen=True)
class Bilinear:
    """Log-odds ⟨φ₁ − φ₂, c(z)⟩ + base, by c (U, C) -> (U, F): its derivatives are taken a user, not a comparison."""

    coefficients: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Evidence:
    """Comparisons as the solver sees them, a row each: features (N, F), then (N,) columns.

    second  features, or (N, 0) where the first are differences already
    base    gap of the reward that utilities come on top of, in log-odds
    """

    first: Tensor
    second: Tensor
    user: Tensor
    label: Tensor
    weight: Tensor
    base: Tensor

    def of_users(self, keep: Tensor) -> "Evidence":
        """The rows of the users marked in `keep` (U,), users renumbered."""
        rows = keep[self.user]
        number = keep.cumsum(0) - 1
        columns = self.label[rows], self.weight[rows], self.base[rows]
        return Evidence(self.first[rows], self.second[rows], number[self.user[rows]], *columns)

    @property
    def difference(self) -> Tensor:
        """φ₁ − φ₂: (N, F)."""
        return self.first - self.second if self.second.shape[1] else self.first

    def gap(self, log_odds: LogOdds | Bilinear, codes: Tensor) -> Tensor:
        """Log-odds of each comparison under its user's code: (U, C) -> (N,)."""
        if isinstance(log_odds, Bilinear):
            return (self.difference * log_odds.coefficients(codes)[self.user]).sum(-1) + self.base
        return log_odds(self.first, self.second, codes[self.user], self.base)


def laplace(
    log_odds: LogOdds | Bilinear,
    evidence: Evidence,
    prior: Prior,
    n_users: int,
    *,
    start: Tensor | None = None,
    max_iter: int = 100,
    tol: float = 1e-6,
) -> Posterior:
    """Mode and Laplace covariance of every user's code, all users at once.

    Damped Newton steps on the Hessian where it is positive definite and on the Fisher information where not; each
    user has its own damping and takes a step only if it lowers that user's own objective. The covariance is the
    inverse Fisher information at the mode. A user without comparisons keeps the prior. Raises InputError where a
    utility is not finite.
    """
    width = prior.mean.shape[-1]
    prior = Prior(prior.mean.expand(n_users, width), prior.precision.expand(n_users, width, width))
    codes = (prior.mean if start is None else start).clone()
    if width == 0:
        return Posterior(codes, codes.new_zeros(n_users, 0, 0))
    damping = torch.full((n_users,), 1e-3, dtype=codes.dtype, device=codes.device)
    value = _objective(log_odds, evidence, prior, codes)
    if not torch.isfinite(value).all():
        raise InputError(
            f"codes of {int((~torch.isfinite(value)).sum()):,} users cannot be inferred, as utilities of their items "
            "are not finite; look for NaN, infinite or huge embeddings"
        )
    active = torch.arange(n_users, device=codes.device)  # users still moving; the others' rows are set aside
    part = evidence
    eye = torch.eye(width, dtype=codes.dtype, device=codes.device)
    for _ in range(max_iter):
        z, centred = codes[active], Prior(prior.mean[active], prior.precision[active])
        gradient, information, hessian = _derivatives(log_odds, part, centred, z)
        convex = torch.linalg.cholesky_ex(hessian).info == 0
        information = torch.where(convex[:, None, None], hessian, information)
        scale = information.diagonal(dim1=-2, dim2=-1).mean(-1)
        damped = information + (damping[active] * scale)[:, None, None] * eye
        step = torch.linalg.solve(damped, gradient.unsqueeze(-1)).squeeze(-1)
        trial_value = _objective(log_odds, part, centred, z - step)
        better = trial_value <= value[active]
        codes[active] = torch.where(better[:, None], z - step, z)
        value[active] = torch.where(better, trial_value, value[active])
        damping[active] = torch.where(better, damping[active] * 0.2, damping[active] * 8)
        moving = step.abs().amax(-1) > tol
        if not moving.any():
            break
        if moving.sum() < 0.7 * len(active):
            part, active = part.of_users(moving), active[moving]
    _, information, _ = _derivatives(log_odds, evidence, prior, codes)
    return Posterior(codes, torch.linalg.inv(information))


def _objective(log_odds: LogOdds | Bilinear, evidence: Evidence, prior: Prior, codes: Tensor) -> Tensor:
    loss = evidence.weight * nll(evidence.gap(log_odds, codes), evidence.label)
    off = codes - prior.mean
    penalty = 0.5 * (times(off, prior.precision) * off).sum(-1)
    return penalty.index_add(0, evidence.user, loss)


def _derivatives(
    log_odds: LogOdds | Bilinear, evidence: Evidence, prior: Prior, codes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient (U, C), Fisher information and Hessian (U, C, C) of each user's objective, by autograd.

    Fisher's is JᵀDJ + Λ with J = ∂gap/∂z and D = ∂²nll/∂gap², never indefinite; the Hessian adds the curvature of
    the gap itself.
    """
    with torch.no_grad():
        gap = evidence.gap(log_odds, codes)
    with torch.enable_grad():
        g = gap.requires_grad_()
        (slope,) = torch.autograd.grad(nll(g, evidence.label).sum(), g, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), g)
    slope, curvature = evidence.weight * slope.detach(), evidence.weight * curvature
    if isinstance(log_odds, Bilinear):
        jacobian, bend = _by_user(log_odds, evidence, codes, slope)
    else:
        jacobian, bend = _by_row(log_odds, evidence, codes, slope)
    gradient = times(codes - prior.mean, prior.precision).index_add(0, evidence.user, slope[:, None] * jacobian)
    outer = curvature[:, None, None] * jacobian[:, :, None] * jacobian[:, None, :]
    fisher = prior.precision.index_add(0, evidence.user, outer)
    return gradient, fisher, fisher + bend


def _by_row(log_odds: LogOdds, evidence: Evidence, codes: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """∂gap/∂z (N, C), and Σ slope ∂²gap/∂z² of each user (U, C, C), whatever the log-odds are."""
    z = codes[evidence.user].requires_grad_()  # one row a comparison: one backward pass gives every row's gradient
    with torch.enable_grad():
        gap = log_odds(evidence.first, evidence.second, z, evidence.base)
        jacobian, second = _twice(gap, z)
    bend = codes.new_zeros(*codes.shape, codes.shape[1])
    return jacobian, bend.index_add(0, evidence.user, slope[:, None, None] * second)


def _by_user(log_odds: Bilinear, evidence: Evidence, codes: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """The same of bilinear ones: J = (φ₁ − φ₂) ∂c/∂z, and the sum is the Hessian of ⟨Σ slope (φ₁ − φ₂), c(z)⟩."""
    difference, user = evidence.difference, evidence.user
    z = codes.clone().requires_grad_()
    with torch.enable_grad():
        c = log_odds.coefficients(z)  # (U, F)
        slopes = [torch.autograd.grad(column.sum(), z, retain_graph=True)[0] for column in c.unbind(-1)]
        pull = c.new_zeros(c.shape).index_add(0, user, slope[:, None] * difference)
        _, bend = _twice((pull * c).sum(-1), z)
    of_user = torch.stack(slopes, 1)  # (U, F, C)
    return (difference[:, :, None] * of_user[user]).sum(1), bend


def _twice(value: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """First (n, C) and second (n, C, C) derivatives of each value (n,) by its own row of z (n, C)."""
    (first,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    second = [
        torch.autograd.grad(column.sum(), z, retain_graph=True)[0] if column.requires_grad else torch.zeros_like(z)
        for column in first.unbind(-1)
    ]
    return first.detach(), torch.stack(second, -1)
