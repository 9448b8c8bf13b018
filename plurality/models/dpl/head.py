"""Rewards that are distributions: they see that people disagree, not who is of which mind.

Source: Distributional Preference Learning, arXiv 2312.08358, §4 and appendix.
"""

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softplus

from plurality.reward.heads import Projected, Projector

ATOMS = 10
FLOOR = 0.05  # of a reward's standard deviation, where softplus alone would run to 0 and the probit to infinity


class MeanVariance(Projected):
    """Reward of an item ~ N(m(x), s(x)²), s = softplus + .05: P = Φ((m₁ − m₂) / √(s₁² + s₂²)), the exact normal CDF.

    Utility is m, or with `quantile` the reward that an item falls short of with that probability.
    """

    def __init__(self, width: int, *, hidden: int, quantile: float | None, generator: torch.Generator) -> None:
        super().__init__()
        self.n_embedding, self.n_codes, self.quantile = width, 0, quantile
        self.projector = Projector(width, 2, hidden, generator)
        with torch.no_grad():
            self.projector.linear.mul_(0.01)

    def features(self, items: Tensor, prompts: Tensor | None) -> Tensor:
        """Mean and standard deviation of the reward: (M, 2)."""
        out = self.projector(items)
        return torch.stack([out[:, 0], softplus(out[:, 1]) + FLOOR], 1)

    def utility(self, features: Tensor, codes: Tensor) -> Tensor:
        return features @ self._reading().to(features)

    def population(self, features: Tensor, codes: Tensor) -> Tensor:
        return (features @ self._reading().to(features)).expand(len(codes), -1)

    def _reading(self) -> Tensor:
        steps = 0.0 if self.quantile is None else float(torch.special.ndtri(torch.tensor(self.quantile)))
        return torch.tensor([1.0, steps])

    def log_odds(self, first: Tensor, second: Tensor, codes: Tensor, base: Tensor | float = 0.0) -> Tensor:
        spread = (first[..., 1].square() + second[..., 1].square()).sqrt()
        t = (first[..., 0] - second[..., 0]) / spread
        odds: Tensor = torch.special.log_ndtr(t) - torch.special.log_ndtr(-t)
        return odds + base

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        return {}

    def moments(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each item's reward: (M,), (M,)."""
        return features[:, 0], features[:, 1].square()


class Categorical(Projected):
    """Reward of an item on 10 atoms in [0, 1]: P = Σ_ij p₁(i) p₂(j) (1[v_i > v_j] + ½ 1[i = j]).

    Utility is the mean, or with `quantile` the smallest atom whose distribution function reaches it.
    """

    atoms: Tensor
    wins: Tensor

    def __init__(self, width: int, *, hidden: int, quantile: float | None, generator: torch.Generator) -> None:
        super().__init__()
        self.n_embedding, self.n_codes, self.quantile = width, 0, quantile
        self.projector = Projector(width, ATOMS, hidden, generator)
        with torch.no_grad():
            self.projector.linear.mul_(0.1)
        self.register_buffer("atoms", torch.linspace(0, 1, ATOMS, device="cpu"))
        self.register_buffer("wins", (1 + (self.atoms[:, None] - self.atoms).sign()) / 2)  # 1, ½ on the diagonal, 0

    def features(self, items: Tensor, prompts: Tensor | None) -> Tensor:
        """Probability of every atom: (M, 10)."""
        return log_softmax(self.projector(items), -1).exp()

    def utility(self, features: Tensor, codes: Tensor) -> Tensor:
        if self.quantile is None:
            return features @ self.atoms
        reached = features.cumsum(-1) >= self.quantile - 1e-9
        return self.atoms[reached.to(torch.uint8).argmax(-1)]

    def population(self, features: Tensor, codes: Tensor) -> Tensor:
        return self.utility(features, codes).expand(len(codes), -1)

    def log_odds(self, first: Tensor, second: Tensor, codes: Tensor, base: Tensor | float = 0.0) -> Tensor:
        p = ((first @ self.wins) * second).sum(-1)
        q = ((second @ self.wins) * first).sum(-1)
        return p.clamp_min(1e-30).log() - q.clamp_min(1e-30).log() + base

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        return {}

    def moments(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each item's reward: (M,), (M,)."""
        mean = features @ self.atoms
        return mean, (features @ self.atoms.square() - mean.square()).clamp_min(0)
