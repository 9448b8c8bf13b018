"""Algorithm 1 of RE-PO as published: one pass of mini-batches with moving averages of reliabilities."""

import math

import torch
from torch import Tensor

from plurality.fitting.optimisers import adam
from plurality.models.lcpo.fit import FlipEM, FlipParameters, right_probability
from plurality.models.lcpo.head import clean_probability
from plurality.reward.links import nll

BATCH, MEMORY, START = 64, 0.1, 0.9  # the paper's, §5
RATE = 0.05


def one_pass(fit: FlipEM, weights: Tensor, decay: float, seed: int) -> FlipParameters:
    """Reward and reliabilities after every batch was seen once; biased towards the start where noise is high.

    η_k ← (1 − α) η_k + α mean of P(right) over the batch's labels of k, others unchanged (eq. 7); α = .1, η₀ = .9.
    """
    rows, linear = fit.rows, fit.head.projector.linear
    order = torch.randperm(len(rows.first), generator=torch.Generator().manual_seed(seed)).to(rows.first.device)
    eta = torch.full((fit.n_units,), START, dtype=torch.float64, device=rows.first.device)
    with torch.no_grad():
        linear.copy_(weights)
    linear.requires_grad_(True)

    def loss(step: int) -> Tensor:
        chosen = order[step * BATCH : (step + 1) * BATCH]
        part, unit = rows.batch(chosen), fit.unit[chosen]
        gap, logit, label = fit.gap(part), torch.logit(eta[unit]), part.label.double()
        right = right_probability(gap.detach(), label, logit)
        zero = torch.zeros_like(eta)
        seen = zero.index_add(0, unit, torch.ones_like(right))
        mean = zero.index_add(0, unit, right) / seen.clamp_min(1)
        eta.copy_(torch.where(seen > 0, (1 - MEMORY) * eta + MEMORY * mean, eta).clamp(1e-6, 1 - 1e-6))
        clean = clean_probability(gap.detach(), label, logit)  # detached, as in eq. 5
        weight = part.weight.double()
        return (weight * nll(gap, clean)).sum() / weight.sum() + fit.head.penalty(decay) / fit.total

    adam(loss, [([linear], RATE)], steps=math.ceil(len(order) / BATCH))
    linear.requires_grad_(False)
    return FlipParameters(linear.detach().clone(), torch.logit(eta))
