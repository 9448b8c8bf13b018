"""Flipped labels: the flip mixture on utility gaps, how reliable people are, and whether that can be known.

P(label says first) = η σ(s) + (1 − η) σ(−s), gap s in log-odds, reliability η. Its mirror image (−s, 1 − η) says the
same, and with small gaps only (2η − 1) s is seen: what is read off such data has to say how surely it is known.
Source: RE-PO (LCPO), arXiv 2509.24159, eqs 3, 4 and 6.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from plurality.reward.heads import Projected, Projector
from plurality.reward.links import log_prob, prob
from plurality.reward.posterior import Evidence, Posterior, Prior

SATURATED = 40.0  # a gap, in log-odds, at which σ is 0 or 1 to double precision
NEGLIGIBLE_PRECISION = 1e-9  # precision of the Gaussian beside which only the Beta prior counts


def flip_log_odds(gap: Tensor, logit: Tensor) -> Tensor:
    """Log-odds that the label says first, of a gap and a reliability η = σ(logit): any matching shapes."""
    right, wrong = log_prob(logit), log_prob(-logit)
    first = torch.logaddexp(right + log_prob(gap), wrong + log_prob(-gap))
    second = torch.logaddexp(right + log_prob(-gap), wrong + log_prob(gap))
    return first - second


def clean_probability(gap: Tensor, label: Tensor, logit: Tensor) -> Tensor:
    """P(the clean preference is first | label), the E-step: σ(s ± logit η), for soft labels their mean; (N,).

    Source: RE-PO eq. 4, w = p η / (p η + (1 − p)(1 − η)) = σ(s + logit η), written for sides instead of winners.
    """
    return label * prob(gap + logit) + (1 - label) * prob(gap - logit)


@dataclass(frozen=True)
class BetaPrior:
    """Prior of a reliability by its mode and how many labels it counts for: Beta(n m + 1, n (1 − m) + 1)."""

    mode: float
    labels: float

    @staticmethod
    def of(a: float, b: float) -> "BetaPrior":
        """From the usual parameters, both above 1."""
        return BetaPrior((a - 1) / (a + b - 2), a + b - 2)

    def prior(self) -> Prior:
        """In code space, logit η: the mode, and the precision n m (1 − m) there."""
        precision = self.labels * self.mode * (1 - self.mode)
        mean = torch.tensor([math.log(self.mode / (1 - self.mode))], dtype=torch.float64)
        return Prior(mean, torch.tensor([[precision]], dtype=torch.float64))


class FlipMixture(Projected):
    """One linear reward for all users; the code is the reliability of a user's labels, z = logit η.

    `utility` and gaps are the clean preference, log-odds those of the label. Without codes one reliability serves all.
    """

    log_odds_right: Tensor

    def __init__(self, width: int, *, personal: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.n_embedding, self.n_codes = width, int(personal)
        self.projector = Projector(width, 1, 0, generator)
        torch.nn.init.zeros_(self.projector.linear)
        self.register_buffer("log_odds_right", torch.tensor(SATURATED))

    def coefficients(self, codes: Tensor) -> Tensor:
        return codes.new_ones(*codes.shape[:-1], 1)

    def log_odds(self, first: Tensor, second: Tensor, codes: Tensor, base: Tensor | float = 0.0) -> Tensor:
        gap = (first - second)[..., 0] + base
        return flip_log_odds(gap, codes[..., 0] if self.n_codes else self.log_odds_right.expand_as(gap))

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        return {"reliability": prob(codes[:, 0])} if self.n_codes else {}

    def reliability(self, posterior: Posterior) -> Tensor | None:
        """E η, what is not known of it averaged out; None where labels were smoothed and none is taken as flipped."""
        if not self.n_codes:
            given = float(self.log_odds_right)
            return None if given >= SATURATED else prob(self.log_odds_right.double()).expand(len(posterior.codes))
        points, weight = self.points(posterior)
        return prob(points[..., 0]) @ weight.exp().to(points)

    def infer(
        self, evidence: Evidence, prior: Prior, n_users: int, *, start: Tensor | None = None, tol: float = 1e-6
    ) -> Posterior:
        """Mode under the Beta prior, which is so many labels known to be right, and so many known to be wrong."""
        if not self.n_codes:
            return super().infer(evidence, prior, n_users, start=start, tol=tol)
        mode = prob(prior.mean).expand(n_users, 1)[:, 0]
        labels = (prior.precision[..., 0, 0] / (mode * (1 - mode))).expand(n_users)
        sure = torch.full((2 * n_users, 1), SATURATED, dtype=evidence.first.dtype)
        sure[n_users:] *= -1
        more = Evidence(
            torch.cat([evidence.first, sure]),
            torch.cat([evidence.second, torch.zeros_like(sure)]),
            torch.cat([evidence.user, torch.arange(n_users).repeat(2)]),
            torch.cat([evidence.label, torch.ones(2 * n_users, dtype=evidence.label.dtype)]),
            torch.cat([evidence.weight, labels * mode, labels * (1 - mode)]),
            torch.cat([evidence.base, evidence.base.new_zeros(2 * n_users)]),
        )
        flat = Prior(prior.mean, torch.full_like(prior.precision, NEGLIGIBLE_PRECISION))
        init = prior.mean.expand(n_users, 1) if start is None else start
        return super().infer(more, flat, n_users, start=init, tol=tol)

    def update(self, evidence: Evidence, known: Posterior, prior: Prior, forget: float = 0.0) -> Posterior:
        """What is known is as many labels known to be right, and wrong, as have its mode and its spread."""
        if not self.n_codes:
            return super().update(evidence, known, prior, forget)
        before = known.forgotten(prior, forget)
        return self.infer(evidence, before.as_prior(), len(before.codes), start=before.codes)


def fisher_error(gap: Tensor, difference: Tensor, weight: Tensor, reliability: float, ridge: float) -> float:
    """Standard error of a global reliability when the reward's weights are unknown too.

    gap (N,), difference (N, d) its derivative by the weights, ridge their prior precision. From the expected
    information of (weights, η): I = Σ w ∇p ∇pᵀ / (p (1 − p)), the weights eliminated.
    """
    s = gap.detach().double().requires_grad_()
    eta = torch.full_like(s, reliability, requires_grad=True)
    p = eta * prob(s) + (1 - eta) * prob(-s)
    by_gap, by_eta = torch.autograd.grad(p.sum(), (s, eta))
    size = (weight.double() / (p * (1 - p)).clamp_min(1e-12)).sqrt().detach()
    rows = torch.cat([(size * by_gap)[:, None] * difference.double(), (size * by_eta)[:, None]], 1)
    information = rows.T @ rows
    information.diagonal()[:-1] += ridge
    return math.sqrt(float(torch.linalg.inv(information)[-1, -1]))
