"""The head of hierarchical Bayes: a few directions of utility, and what demographics say of a user's place in them."""

from collections.abc import Sequence

import polars as pl
import torch
from torch import Tensor

from plurality.data.demographics import Factor, design, width
from plurality.models.hierarchical.gaussian import DifferenceRows, infer
from plurality.reward.heads import Projected, Projector
from plurality.reward.posterior import Evidence, Posterior, Prior


class HierarchicalHead(Projected):
    """u = ⟨φ(x), z⟩ with φ(x) = W x (C,) and z ~ N(μ + B demographics, Σ); B (P, C) is a buffer."""

    effects: Tensor
    rotatable = True

    def __init__(self, n_embedding: int, dimensions: int, factors: Sequence[Factor]) -> None:
        super().__init__()
        self.n_embedding, self.n_codes, self.factors = n_embedding, dimensions, tuple(factors)
        self.projector = Projector(n_embedding, dimensions, 0, torch.Generator())
        self.register_buffer("effects", torch.zeros(width(self.factors), dimensions))

    @torch.no_grad()
    def project(self, directions: Tensor) -> None:
        """Take W (C, d), in log-odds per unit of x and code."""
        self.projector.linear.copy_(directions * self.projector.scale * self.n_embedding**0.5)

    def coefficients(self, codes: Tensor) -> Tensor:
        return codes

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        return {f"code_{k}": z for k, z in enumerate(codes.T)}

    def infer(
        self, evidence: Evidence, prior: Prior, n_users: int, *, start: Tensor | None = None, tol: float = 1e-6
    ) -> Posterior:
        return infer(DifferenceRows.of(evidence, n_users), prior, start=start, tol=tol)

    def prior_of(self, prior: Prior, users: pl.DataFrame) -> Prior:
        known = torch.as_tensor(design(self.factors, users))
        return Prior(prior.mean + known @ self.effects.double().cpu(), prior.precision)
