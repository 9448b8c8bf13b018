"""From a utility gap to a choice probability: the only place a sigmoid is written."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def log_prob(gap: Tensor) -> Tensor:
    """Log-probability (nats) that first is preferred: log σ(gap), any shape, gap in log-odds."""
    return logsigmoid(gap)


def prob(gap: Tensor) -> Tensor:
    """Probability that first is preferred: σ(gap), any shape, gap in log-odds."""
    return log_prob(gap).exp()


def win(utility: Tensor, against: Tensor) -> Tensor:
    """Mean probability that an item beats a person's reference items, E_r σ(u_pm − u_pr): (P, M), (P, R) -> (P, M).

    A pass an item of the shorter side, so that no (P, M, R) is ever held.
    """
    if utility.shape[1] < against.shape[1]:
        each = [prob(u[:, None] - against).mean(1) for u in utility.unbind(1)]
        return torch.stack(each, 1) if each else utility
    total = torch.zeros_like(utility)
    for r in against.unbind(1):
        total += prob(utility - r[:, None])
    return total / against.shape[1]


def nll(gap: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy (nats) of each comparison, −[y log σ(g) + (1−y) log σ(−g)]; one number a comparison.

    A tie is label ½; a soft label y in [0, 1] is P(first preferred).
    """
    return cross_entropy(log_prob(gap), log_prob(-gap), label)


def cross_entropy(log_first: Tensor, log_second: Tensor, label: Tensor) -> Tensor:
    """−[y log p + (1−y) log(1−p)] in nats, from both log-probabilities and the label y in [0, 1]; matching shapes."""
    return -(label * log_first + (1 - label) * log_second)


def log_predictive(gap: Tensor, log_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of first and of second, log Σ_s w_s σ(±gap_s), codes averaged out: (N,), (N,).

    gap           (N, S) log-odds at each of S codes
    log_weight    (S,) or (N, S) logarithms of their weights, which sum to 1
    """
    return (log_prob(gap) + log_weight).logsumexp(1), (log_prob(-gap) + log_weight).logsumexp(1)
