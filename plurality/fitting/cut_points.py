"""Cut points of graded pairs, in log-odds: what the strengths are worth beside which side is preferred.

A model that knows the sides alone believes of every gap N(m, s²), given these very sides. So cut points maximise
    Σ_i w_i log E_g [ P(level_i | g) / P(side_i | g) ],  g ~ N(m_i, s_i²).
"""

import numpy as np
import torch

from plurality.data.comparisons import Comparisons
from plurality.data.graded import Grades
from plurality.errors import InputError
from plurality.fitting.optimisers import lbfgs
from plurality.reward.links import log_prob
from plurality.reward.responses import cumulative_logit
from plurality.reward.reward_model import RewardModel

NODES, MASS = np.polynomial.hermite_e.hermegauss(9)  # of a normal gap
STEPS = 60
FAR = 1e6  # beyond all cut points


def cut_points(model: RewardModel, data: Comparisons) -> Grades | None:
    """Levels and cut points of graded comparisons; None where strengths say nothing: of one level, without ties.

    model    fitted to which side is preferred
    data     the comparisons that it was fitted to, by its unit, with base scores as they were read
    """
    grades = Grades.of(data)
    level = grades.level(data)
    ties = bool((level == 0).any())
    if len(grades.levels) + ties < 2:
        return None
    mean = model.gap(data)
    try:
        sd = model.gap_sd(data) if model.head.n_codes else 0 * mean
    except InputError:  # a head of one's own that has no such thing
        sd = 0 * mean
    told = level >= 0
    sign = np.where(data.label[told] > 0.5, 1.0, -1.0)
    gap = torch.as_tensor((sign * mean[told])[:, None] + sd[told][:, None] * NODES)
    at, weight = torch.as_tensor(level[told]), torch.as_tensor(data.weight[told])
    mass = torch.as_tensor(np.log(MASS / MASS.sum()))
    steps = torch.full((len(grades.levels) - (not ties),), -0.5, dtype=torch.float64, requires_grad=True)
    start = torch.zeros(0 if ties else 1, dtype=torch.float64)
    end = torch.tensor([FAR], dtype=torch.float64)

    def loss(_: int) -> torch.Tensor:
        cuts = torch.cat([start, steps.exp().cumsum(0)])
        bounds = torch.cat([-cuts[:1], cuts, end])
        likely = -cumulative_logit(gap, bounds[at][:, None], bounds[at + 1][:, None])
        side = torch.where(at[:, None] > 0, log_prob(gap), 0.0)  # a tie names none
        nats = (likely - side + mass).logsumexp(1)
        return -(weight * nats).sum() / weight.sum() + 1e-4 * steps.square().sum()

    lbfgs(loss, [steps], steps=STEPS)
    cuts = torch.cat([start, steps.detach().exp().cumsum(0)])
    return grades.with_cuts(cuts.tolist())
