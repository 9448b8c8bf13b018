"""A reward for each objective, and a user as a direction over them."""

import torch
from torch import Tensor

from plurality.reward.heads import Projected, Projector


class Objectives(Projected):
    """R = vᵀr(x): m linear rewards on a common scale, v a user's direction over them, of any length and sign.

    Source: Directional Preference Alignment, arXiv 2402.18571, §3, with v fitted to comparisons instead of given.
    """

    scale: Tensor

    def __init__(self, width: int, *, objectives: tuple[str, ...], generator: torch.Generator) -> None:
        super().__init__()
        self.n_embedding, self.n_codes, self.objectives = width, len(objectives), objectives
        self.projector = Projector(width, self.n_codes, 0, generator)
        torch.nn.init.zeros_(self.projector.linear)
        self.register_buffer("scale", torch.ones(self.n_codes))

    def features(self, items: Tensor, prompts: Tensor | None) -> Tensor:
        """Reward by every objective, of unit spread between compared items once fitted: (M, m)."""
        return self.projector(items) / self.scale

    def by_objective(self, features: Tensor) -> Tensor:
        return features

    def coefficients(self, codes: Tensor) -> Tensor:
        return codes

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        return {f"objective_{k}": v for k, v in enumerate(codes.T)}
