"""A mixture over users: K rewards, and a user is one of K kinds of people, one does not quite know which."""

import torch
from torch import Tensor

from plurality.reward.heads import Projected, Projector
from plurality.reward.links import nll
from plurality.reward.posterior import Evidence, Posterior, Prior


class Mixture(Projected):
    """K linear rewards r_k = w_k·x; the code is P(group | user's comparisons), a point of the simplex.

    Utility is the expected reward Σ_k ρ_k r_k(x); predictions average the K probabilities, Σ_k ρ_k σ(gap_k).
    Source: MaxMin-RLHF, arXiv 2402.08925, Algorithm 2, with mixing weights and soft assignment unless `hard`.
    """

    def __init__(self, width: int, *, groups: int, hard: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.n_embedding, self.n_codes, self.hard = width, groups, hard
        self.projector = Projector(width, groups, 0, generator)

    def features(self, items: Tensor, prompts: Tensor | None) -> Tensor:
        """The reward of every group: (M, K), in log-odds up to a shift."""
        return self.projector(items)

    def coefficients(self, codes: Tensor) -> Tensor:
        return codes

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        return {f"group_{k}": share for k, share in enumerate(codes.T)}

    def infer(
        self, evidence: Evidence, prior: Prior, n_users: int, *, start: Tensor | None = None, tol: float = 1e-6
    ) -> Posterior:
        """The E-step: ρ_uk ∝ π_k Π_i σ(±gap_ik)^w_i, π the prior's mean; one exact pass."""
        gap = evidence.first - evidence.second + evidence.base[:, None]
        loss = nll(gap, evidence.label[:, None]) * evidence.weight[:, None]
        likelihood = -loss.new_zeros(n_users, self.n_codes).index_add(0, evidence.user, loss)
        codes = assign(likelihood, prior.mean.log(), self.hard)
        seen = torch.bincount(evidence.user, minlength=n_users) > 0
        codes = torch.where(seen[:, None], codes, prior.mean)
        return Posterior(codes, torch.diag_embed(codes) - codes[:, :, None] * codes[:, None, :])

    def update(self, evidence: Evidence, known: Posterior, prior: Prior, forget: float = 0.0) -> Posterior:
        """Responsibilities multiply, ρ ∝ ρ₀^(1 − forget) π^forget Π_i σ(±gap_ik)^w_i; hard ones go by the latest."""
        share = known.codes.clamp_min(1e-300).log().lerp(prior.mean.clamp_min(1e-300).log(), forget).softmax(-1)
        return self.infer(evidence, Prior(share, prior.precision), len(share))

    def points(self, posterior: Posterior) -> tuple[Tensor, Tensor]:
        """The K groups, weighted by how likely the user belongs to them."""
        codes = posterior.codes
        vertices = torch.eye(self.n_codes, dtype=codes.dtype).expand(len(codes), -1, -1)
        return vertices, codes.clamp_min(1e-300).log()

    def uncertainty(self, posterior: Posterior, prior: Prior) -> Tensor:
        """Entropy of the user's group over the population's; 1 where there is but one group, and nothing to learn."""
        most = torch.special.entr(prior.mean).sum(-1)
        left = torch.special.entr(posterior.codes).sum(-1) / most.clamp_min(1e-12)
        return torch.where(most > 1e-12, left, torch.ones_like(left))


def assign(likelihood: Tensor, log_shares: Tensor, hard: bool) -> Tensor:
    """Responsibilities (U, K) of log-likelihoods (U, K): softmax with shares, or all to the likeliest without them."""
    if hard:
        return torch.nn.functional.one_hot(likelihood.argmax(1), likelihood.shape[1]).to(likelihood)
    return (likelihood + log_shares).softmax(1)
