"""EM for the flip mixture, in sample for the reward and out of sample for what is reported of users."""

import math
from dataclasses import dataclass, replace

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.fitting.em import EMResult, em, squared
from plurality.fitting.optimisers import lbfgs
from plurality.fitting.tuning import standardise
from plurality.models.lcpo.head import BetaPrior, FlipMixture, clean_probability, flip_log_odds
from plurality.reward.links import log_prob, nll, prob
from plurality.reward.posterior import Evidence, Posterior
from plurality.reward.tensors import Tensors

M_STEPS = 6  # line searches an M-step takes for the reward
INNER = 3  # updates of reliabilities an M-step takes, each of which raises the likelihood


@dataclass(frozen=True)
class FlipParameters:
    """Parameters: the reward's map (1, d) at unit size, and logit reliabilities (U,), all the same if global."""

    weights: Tensor
    logits: Tensor


class FlipEM:
    """A flip mixture on one set of comparisons; `personal` reliabilities or one for all users."""

    def __init__(self, head: FlipMixture, data: Comparisons, prior: BetaPrior, *, personal: bool) -> None:
        self.head, self.prior, self.personal = head, prior, personal
        standardise(head, data)
        self.rows = Tensors.of(data, head)
        self.total = float(self.rows.weight.sum())
        self.n_units = data.users.height if personal else 1
        self.unit = self.rows.user if personal else torch.zeros_like(self.rows.user)

    def gap(self, rows: Tensors | None = None) -> Tensor:
        """Gaps of the clean preference in log-odds, (N,) float64."""
        rows = rows or self.rows
        features = self.head.features(rows.items, None)[:, 0]
        return (features[rows.first] - features[rows.second] + rows.base).double()

    def start(self, weights: Tensor, reliability: float) -> FlipParameters:
        """A reward and one reliability for all users."""
        logit = torch.logit(torch.tensor(reliability, dtype=torch.float64, device=self.rows.user.device))
        return FlipParameters(weights.clone(), logit.expand(self.n_units))

    def em(self, start: FlipParameters, decay: float, *, max_iter: int, tol: float) -> EMResult[FlipParameters, Tensor]:
        """EM on reward and reliabilities; responsibilities are P(the clean preference is first), (N,)."""
        rows, head = self.rows, self.head
        label, weight = rows.label.double(), rows.weight.double()

        def e_step(flips: FlipParameters) -> tuple[Tensor, float]:
            with torch.no_grad():
                head.projector.linear.copy_(flips.weights)
                gap, logit = self.gap(), flips.logits[self.unit]
                fit = -(weight * nll(flip_log_odds(gap, logit), label)).sum()
                bound = float(fit + self._log_prior(flips.logits) - head.penalty(decay))
                return clean_probability(gap, label, logit), bound

        def m_step(clean: Tensor, flips: FlipParameters) -> FlipParameters:
            weights = self._reward(clean, flips.weights, decay)
            with torch.no_grad():
                gap, logits = self.gap(), flips.logits
                for _ in range(INNER):
                    logits = self._reliabilities(gap, label, weight, logits)
            return FlipParameters(weights, logits)

        cut = start.weights.numel()

        def to_vector(flips: FlipParameters) -> Tensor:
            return torch.cat([flips.weights.flatten().double(), flips.logits])

        def from_vector(vector: Tensor) -> FlipParameters:
            return FlipParameters(vector[:cut].view(1, -1).to(start.weights), vector[cut:].clamp(-20, 20))

        leaping = squared(e_step, m_step, to_vector, from_vector)  # flips against scale is a long narrow valley
        return em(start, e_step, leaping, max_iter=max_iter, tol=tol)

    def _reward(self, clean: Tensor, weights: Tensor, decay: float) -> Tensor:
        """Logistic ridge regression on soft clean labels, a few steps from where it stands (RE-PO eq. 5)."""
        linear, rows = self.head.projector.linear, self.rows
        with torch.no_grad():
            linear.copy_(weights)
        linear.requires_grad_(True)

        def loss(step: int) -> Tensor:
            return ((rows.weight.double() * nll(self.gap(), clean)).sum() + self.head.penalty(decay)) / self.total

        lbfgs(loss, [linear], steps=M_STEPS)
        linear.requires_grad_(False)
        return linear.detach().clone()

    def _reliabilities(self, gap: Tensor, label: Tensor, weight: Tensor, logits: Tensor) -> Tensor:
        """η = (Σ w P(label right) + a − 1) / (Σ w + a + b − 2), RE-PO eq. 6 with a Beta prior."""
        right = weight * right_probability(gap, label, logits[self.unit])
        zero = logits.new_zeros(self.n_units)
        mode, labels = self.prior.mode, self.prior.labels
        eta = (zero.index_add(0, self.unit, right) + labels * mode) / (zero.index_add(0, self.unit, weight) + labels)
        return torch.logit(eta.clamp(1e-9, 1 - 1e-9))

    def _log_prior(self, logits: Tensor) -> Tensor:
        """Beta log-density of all reliabilities, up to a constant, in nats."""
        mode, labels = self.prior.mode, self.prior.labels
        return labels * (mode * log_prob(logits) + (1 - mode) * log_prob(-logits)).sum()

    def mean_reliability(self, logits: Tensor) -> float:
        """Mean over labels: the share of labels that is right."""
        weight = self.rows.weight.double()
        return float((weight * prob(logits)[self.unit]).sum() / weight.sum())


def right_probability(gap: Tensor, label: Tensor, logit: Tensor) -> Tensor:
    """P(the label is what was preferred | label): η σ(s) / (η σ(s) + (1 − η) σ(−s)) on the label's side, (N,)."""
    return label * prob(logit + gap) + (1 - label) * prob(logit - gap)


def anchored(flips: FlipParameters, mean: float) -> FlipParameters:
    """The mirror image with mean reliability above one half, which the likelihood cannot tell from the other."""
    return flips if mean >= 0.5 else FlipParameters(-flips.weights, -flips.logits)


def given_gaps(head: FlipMixture, gap: Tensor, rows: Tensors, prior: BetaPrior, n_users: int) -> Posterior:
    """Reliability of every user from gaps that were not fitted to their labels: (N,) -> (U, 1)."""
    column = gap.double().cpu()[:, None]
    user, label, weight = rows.user.cpu(), rows.label.double().cpu(), rows.weight.double().cpu()
    nothing = torch.zeros_like(column)
    evidence = Evidence(column, nothing, user, label, weight, nothing[:, 0])
    return head.doubled().infer(evidence, prior.prior(), n_users)


def best_stretch(gap: Tensor, rows: Tensors, prior: BetaPrior, n_users: int) -> float:
    """The factor on gaps out of sample at which they and reliabilities, one a user or one in all, explain labels best.

    Ridge shrinks gaps, and overfitting stretches them; either would be taken for flips, or hide them.
    """
    head = FlipMixture(1, personal=True, generator=torch.Generator())
    if n_users == 1:
        rows = replace(rows, user=torch.zeros_like(rows.user))
    user, label, weight = rows.user.cpu(), rows.label.double().cpu(), rows.weight.double().cpu()
    gap = gap.double().cpu()

    def loss(log_stretch: float) -> float:
        stretched = math.exp(log_stretch) * gap
        logits = given_gaps(head, stretched, rows, prior, n_users).codes[:, 0]
        fit = (weight * nll(flip_log_odds(stretched, logits[user]), label)).sum()
        known = log_prob(logits) * prior.mode + log_prob(-logits) * (1 - prior.mode)
        return float(fit - prior.labels * known.sum())

    return math.exp(minimize_scalar(loss, bounds=(-2.0, 2.0), method="bounded", options={"xatol": 0.01}).x)
