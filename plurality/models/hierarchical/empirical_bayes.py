"""Empirical Bayes: the population that makes the labels likeliest, codes and coefficients integrated out.

    z_u ~ N(μ + B x_u, Σ),  μ ~ N(0, Λ⁻¹),  rows of B of factor f ~ N(0, ρ_f Σ),
with ρ_f how much users differ by the factor for what they differ within its levels. Variational EM: the E-step is the
best joint Gaussian of codes, μ and B (so Σ and ρ are those of restricted likelihood), the M-step is closed. Σ and ρ
have weak priors that weigh as one more user and one more coefficient; both are at their mode on the log scale, the
scale on which a spread is uncertain evenly.
Source: Laird & Ware 1982 (EM for random effects); Ormerod & Wand 2012 (Gaussian variational approximation).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from plurality.fitting.em import em
from plurality.models.hierarchical.gaussian import CodeRegression, DifferenceRows, JointGaussian, posterior
from plurality.reward.posterior import Posterior, Prior

GUESS = 1.5  # variance of users' utility gaps, over all C directions, that Σ is guessed to give
GUESS_RATIO = 0.1  # guess of ρ


@dataclass(frozen=True)
class HierarchicalProblem:
    """Comparisons in C dimensions and what is known of users.

    design        (U, P) demographics, 0 on average
    factors       (P,) the factor each design column belongs to
    stiffness     (C, C) Λ, prior precision of the population's mean
    """

    rows: DifferenceRows
    design: Tensor
    factors: Tensor
    stiffness: Tensor

    @property
    def n_factors(self) -> int:
        """Number of factors F."""
        return int(self.factors.max()) + 1 if len(self.factors) else 0

    @property
    def full_design(self) -> Tensor:
        """The constant, then demographics: (U, 1 + P)."""
        return torch.cat([self.design.new_ones(len(self.design), 1), self.design], 1)

    def without_demographics(self) -> "HierarchicalProblem":
        """The same question of users nothing is known of."""
        return replace(self, design=self.design[:, :0], factors=self.factors[:0])


@dataclass(frozen=True)
class Hyperparameters:
    """Σ (C, C), ρ (F,), and the Gaussian that the next E-step begins at."""

    covariance: Tensor
    ratio: Tensor
    start: JointGaussian | None = None


@dataclass(frozen=True)
class EmpiricalBayesFit:
    """The population found, and the Gaussian of codes and coefficients under it.

    bounds     of the evidence (nats) along EM, hyperpriors included; they never fall
    """

    covariance: Tensor
    ratio: Tensor
    joint: JointGaussian
    design: Tensor
    bounds: list[float]
    converged: bool

    @property
    def mean(self) -> Tensor:
        """μ: (C,)."""
        return self.joint.coefficients[0]

    @property
    def effects(self) -> Tensor:
        """B: (P, C)."""
        return self.joint.coefficients[1:]

    @property
    def posterior(self) -> Posterior:
        """Of users' codes, what is not known of μ and B included."""
        return Posterior(self.joint.codes, self.joint.covariance)

    @property
    def prior(self) -> Prior:
        """Of a new user at the population's mean: Σ and, on average over users, what is not known of μ + B x."""
        unsure = self.joint.mean_covariance(self.design).mean(0)
        return Prior(self.mean.clone(), torch.linalg.inv(self.covariance + unsure))


def fit(
    problem: HierarchicalProblem, *, spread: float = 1.0, max_iter: int = 200, tol: float = 1e-6
) -> EmpiricalBayesFit:
    """Fit the population and the posterior under it; Σ is then scaled by `spread`, 1 to leave it."""
    width = problem.rows.difference.shape[1]
    guess = GUESS / max(1, width) * torch.eye(width, dtype=torch.float64)

    def e_step(hyper: Hyperparameters) -> tuple[JointGaussian, float]:
        joint = posterior(problem.rows, _population(problem, hyper), hyper.start, max_iter=2 if hyper.start else 5)
        return joint, joint.bound + _log_prior(hyper, guess)

    def m_step(joint: JointGaussian, hyper: Hyperparameters) -> Hyperparameters:
        return _m_step(problem, joint, hyper, guess)

    start = Hyperparameters(guess, torch.full((problem.n_factors,), GUESS_RATIO, dtype=torch.float64))
    end = em(start, e_step, m_step, max_iter=max_iter, tol=tol)
    covariance = end.params.covariance * spread
    last = replace(end.params, covariance=covariance)
    joint = posterior(problem.rows, _population(problem, last), end.responsibilities)
    return EmpiricalBayesFit(covariance, last.ratio, joint, problem.full_design, end.bounds, end.converged)


def _population(problem: HierarchicalProblem, hyper: Hyperparameters) -> CodeRegression:
    precision = torch.linalg.inv(hyper.covariance)
    own = precision / hyper.ratio[problem.factors][:, None, None]
    offset = precision.new_zeros(problem.rows.n_users, len(precision))
    return CodeRegression(precision, offset, problem.full_design, torch.cat([problem.stiffness[None], own]))


def _log_prior(hyper: Hyperparameters, guess: Tensor) -> float:
    """Log-density (nats) of Σ and ρ on the log scale, but for a constant: inverse Wishart and gamma, one case each."""
    of_covariance = torch.logdet(hyper.covariance) + (torch.linalg.inv(hyper.covariance) * guess).sum()
    return -0.5 * float(of_covariance + (hyper.ratio.log() + GUESS_RATIO / hyper.ratio).sum())


def _m_step(
    problem: HierarchicalProblem, joint: JointGaussian, hyper: Hyperparameters, guess: Tensor
) -> Hyperparameters:
    """Σ given ρ, then ρ given Σ: each raises the bound."""
    off = joint.codes - problem.full_design @ joint.coefficients
    scatter = off.T @ off + joint.around.sum(0)
    own = joint.coefficients[1:]
    spread = joint.root.diagonal(dim1=0, dim2=2).permute(2, 0, 1)[1:]
    moments = own[:, :, None] * own[:, None, :] + spread  # E[B_p B_pᵀ], (P, C, C)
    by_factor = moments.new_zeros(problem.n_factors, *guess.shape).index_add(0, problem.factors, moments)
    count = torch.bincount(problem.factors, minlength=problem.n_factors).double()
    total = scatter + guess + (by_factor / hyper.ratio[:, None, None]).sum(0)
    covariance = total / (len(off) + float(count.sum()) + 1)
    size = (torch.linalg.inv(covariance) * by_factor).sum((1, 2))
    return Hyperparameters(covariance, (size + GUESS_RATIO) / (count * len(guess) + 1), joint)
