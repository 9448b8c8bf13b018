"""What any of the ways of inference finds, and what is said of it: effects of groups, and how much they weigh."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from plurality.data.demographics import Factor
from plurality.models.hierarchical.empirical_bayes import EmpiricalBayesFit, HierarchicalProblem
from plurality.reward.posterior import Posterior, Prior

NORMAL_90 = 1.6449  # a normal's central 90 %


@dataclass(frozen=True)
class PopulationEstimate:
    """Posterior of users' codes and of the population they come from; what is not known of either is in both.

    prior         of a new user nothing is known of: mean μ (C,), precision (C, C)
    covariance    Σ (C, C), what users of the same demographics differ by
    effects       B (P, C), with their covariance (P, C, P, C)
    report        what the inference says of itself, ready for JSON
    """

    posterior: Posterior
    prior: Prior
    covariance: Tensor
    effects: Tensor
    effects_covariance: Tensor
    report: dict[str, Any]

    @staticmethod
    def of(fit: EmpiricalBayesFit) -> "PopulationEstimate":
        """What empirical Bayes found."""
        report = {"bounds": fit.bounds, "converged": fit.converged}
        return PopulationEstimate(
            fit.posterior, fit.prior, fit.covariance, fit.effects, fit.joint.root[1:, :, 1:], report
        )

    @staticmethod
    def of_draws(
        codes: Posterior, coefficients: Tensor, covariance: Tensor, problem: HierarchicalProblem, report: Any
    ) -> "PopulationEstimate":
        """From draws of μ and B, (S, 1 + P, C), and the posterior mean of Σ."""
        count, q, width = coefficients.shape
        mean = coefficients.mean(0)
        off = (coefficients - mean).flatten(1)
        root = (off.T @ off / (count - 1)).view(q, width, q, width)
        of_mean = torch.einsum("uq,sqc->suc", problem.full_design, coefficients - mean)
        unsure = torch.einsum("suc,sud->cd", of_mean, of_mean) / (count - 1) / len(problem.design)
        prior = Prior(mean[0].clone(), torch.linalg.inv(covariance + unsure))
        return PopulationEstimate(codes, prior, covariance, mean[1:].clone(), root[1:, :, 1:].clone(), report)

    def worth(self, factor: Tensor) -> "PopulationEstimate":
        """The same with each dimension of codes scaled: factor (C,)."""
        square = factor[:, None] * factor
        return replace(
            self,
            posterior=Posterior(self.posterior.codes * factor, self.posterior.covariance * square),
            prior=Prior(self.prior.mean * factor, self.prior.precision / square),
            covariance=self.covariance * square,
            effects=self.effects * factor,
            effects_covariance=self.effects_covariance * factor[:, None, None] * factor,
        )

    def describe(self, factors: Sequence[Factor], problem: HierarchicalProblem) -> dict[str, Any]:
        """The population in numbers that a person reads, in log-odds for one sd of items' difference a dimension.

        effects      a row a level: its deviation from the population in each dimension with its 90 % interval, and
                     `size`, the sd over comparisons by which it moves a utility gap
        population   mean and sd over users in each dimension
        explained    share of the variance of users' codes that demographics account for
        """
        between = (problem.design @ self.effects).var(0, correction=0)
        within = self.covariance.diagonal()
        return {
            "population": {"mean": self.prior.mean.tolist(), "sd": (between + within).sqrt().tolist()},
            "explained": float(between.sum() / (between + within).sum()),
            "effects": self._effects(factors, problem),
            **self.report,
        }

    def _effects(self, factors: Sequence[Factor], problem: HierarchicalProblem) -> list[dict[str, Any]]:
        rows, start = [], 0
        for factor in factors:
            part = slice(start, start + len(factor.levels))
            start = part.stop
            contrast = torch.as_tensor(factor.contrasts())
            effect = contrast @ self.effects[part]
            variance = torch.einsum("lp,pcqc,lq->lc", contrast, self.effects_covariance[part, :, part], contrast)
            half = NORMAL_90 * variance.clamp_min(0).sqrt()
            size = (problem.rows.difference @ effect.T).square().mean(0).sqrt()
            for i, name in enumerate(factor.names):
                interval = {"lo": (effect - half)[i].tolist(), "hi": (effect + half)[i].tolist()}
                row = {"factor": factor.column, "level": name, "size": float(size[i]), "effect": effect[i].tolist()}
                rows.append({**row, **interval})
        return rows
