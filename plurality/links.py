"""From a utility gap to a choice probability: the only place a sigmoid is written."""

from torch import Tensor
from torch.nn.functional import logsigmoid


def log_prob(gap: Tensor) -> Tensor:
    """Log-probability (nats) that first is preferred: log σ(gap), any shape, gap in log-odds."""
    return logsigmoid(gap)


def prob(gap: Tensor) -> Tensor:
    """Probability that first is preferred: σ(gap), any shape, gap in log-odds."""
    return log_prob(gap).exp()


def nll(gap: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy (nats) of each comparison, −[y log σ(g) + (1−y) log σ(−g)]; one number a comparison.

    A tie is label ½; a soft label y in [0, 1] is P(first preferred).
    """
    return -(label * log_prob(gap) + (1 - label) * log_prob(-gap))
