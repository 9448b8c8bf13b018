"""Policy losses as probabilities: the margin s that a preference loss on log-ratios amounts to.

Any loss L(winner ≻ loser) is a probability model by Gibbs weights, P(w ≻ l) = σ(s), s = L(l ≻ w) − L(w ≻ l), after
which reliabilities can be read off a policy as they are off a reward. Δ are log-ratios log π/π_ref of winner minus
loser, in nats. Source: RE-PO (LCPO), arXiv 2509.24159, eq. 2 and Table 1.
"""

from torch import Tensor
from torch.nn.functional import softplus

from plurality.errors import InputError
from plurality.reward.links import nll


def dpo_margin(log_ratio: Tensor, beta: float) -> Tensor:
    """s = βΔ, exactly: (N,) nats -> (N,) log-odds."""
    return beta * log_ratio


def ipo_margin(log_ratio: Tensor, beta: float) -> Tensor:
    """s = 2Δ/β: of the squared loss (Δ − 1/2β)² only a slope is left, so it is DPO with another one."""
    return 2 * log_ratio / beta


def simpo_margin(scaled: Tensor, gamma: float) -> Tensor:
    """s = softplus(m + γ) − softplus(γ − m), m = β (log π(w)/|w| − log π(l)/|l|): the target margin shifts nothing."""
    return softplus(scaled + gamma) - softplus(gamma - scaled)


def cpo_margin(log_policy: Tensor, beta: float) -> Tensor:
    """s = (1 + β) d, d = log π(w) − log π(l): the behaviour-cloning term becomes part of the margin."""
    return (1 + beta) * log_policy


def smoothed_nll(gap: Tensor, label: Tensor, flip_rate: float) -> Tensor:
    """cDPO, label smoothing: (1 − ε) nll(s, y) + ε nll(s, 1 − y), least at s = ± log((1 − ε)/ε); (N,) nats.

    Source: cDPO in arXiv 2403.00409, §3. Raises InputError for a flip rate outside [0, ½).
    """
    return nll(gap, smoothed_label(label, flip_rate))


def unbiased_nll(gap: Tensor, label: Tensor, flip_rate: float) -> Tensor:
    """rDPO: [(1 − ε) nll(s, y) − ε nll(s, 1 − y)] / (1 − 2ε), whose mean over flips is the clean loss; (N,) nats.

    Not bounded below a comparison, so it needs a penalty on the weights. Source: arXiv 2403.00409, eq. 12 (as coded in
    TRL). Raises InputError for a flip rate outside [0, ½).
    """
    return nll(gap, unbiased_label(label, flip_rate))


def smoothed_label(label: Tensor, flip_rate: float) -> Tensor:
    """The soft label y (1 − ε) + (1 − y) ε that smoothing amounts to."""
    return label + _checked(flip_rate) * (1 - 2 * label)


def unbiased_label(label: Tensor, flip_rate: float) -> Tensor:
    """The label (y − ε) / (1 − 2ε), outside [0, 1], that the unbiased loss amounts to."""
    return (label - _checked(flip_rate)) / (1 - 2 * flip_rate)


def _checked(flip_rate: float) -> float:
    if not 0 <= flip_rate < 0.5:
        raise InputError(f"flip_rate {flip_rate} must lie in [0, ½): from ½ on, labels say nothing or the opposite")
    return flip_rate
