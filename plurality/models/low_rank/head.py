"""The low-rank head: a user is a few weights on rewards that all users share."""

import torch
from torch import Tensor
from torch.nn.functional import softmax

from plurality.reward.heads import Projected, Projector

WEIGHTS = ("deviations", "signed", "simplex")


class LowRankHead(Projected):
    """u = ⟨x, V w_u⟩ with B shared rewards, the columns of V (d, B).

    weights = "deviations": u = ⟨x, m + V z⟩, z ~ N(0, Σ): around a population mean m that need not lie in V's span
    weights = "signed":     u = ⟨x, V z⟩, z ~ N(μ, Σ)
    weights = "simplex":    u = ⟨x, V softmax(z)⟩, z ~ N(μ, Σ)
    With rank 0 there is one reward for all users and no code. All three are bilinear, and the first two convex in z.
    Sources: RFM, arXiv 2503.17338, and PReF, arXiv 2503.06358 (signed); LoRe, arXiv 2504.14439 (simplex).
    """

    def __init__(self, width: int, *, rank: int, weights: str, generator: torch.Generator) -> None:
        super().__init__()
        self.n_embedding, self.n_codes, self.weights = width, rank, weights
        self.rotatable = weights != "simplex"
        self.shared = rank == 0 or weights == "deviations"  # whether the first feature is all users', with weight 1
        self.projector = Projector(width, rank + self.shared, 0, generator)

    def coefficients(self, codes: Tensor) -> Tensor:
        if self.shared:
            return torch.cat([codes.new_ones(*codes.shape[:-1], 1), codes], -1)
        return softmax(codes, -1) if self.weights == "simplex" else codes

    def mean_code(self, codes: Tensor) -> Tensor:
        if self.shared:
            return codes.new_zeros(codes.shape[1])  # the mean is a reward of its own
        return softmax(codes, -1).mean(0).log() if self.weights == "simplex" else codes.mean(0)

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        shown = softmax(codes, -1) if self.weights == "simplex" else codes
        return {f"weight_{k}": w for k, w in enumerate(shown.T)}

    def like(self, rank: int, weights: str | None = None) -> "LowRankHead":
        """A head of another rank or kind of weights on the same scale of inputs, its rewards yet to be learned."""
        head = LowRankHead(self.n_embedding, rank=rank, weights=weights or self.weights, generator=torch.Generator())
        head.projector.mean.copy_(self.projector.mean)
        head.projector.scale.copy_(self.projector.scale)
        return head
