"""What a prediction of a comparison is worth: right or wrong, and its log-loss."""

import numpy as np

from plurality.analyses.calibration.calibration import log_loss_rows
from plurality.arrays import Array, Float

__all__ = ["hits", "losses"]


def hits(gap: Array, label: Array) -> Float:
    """Share of the label on the side that the gap (log-odds) names, ½ where the gap is 0: shapes that broadcast.

    gap      log-odds of the first
    label    P(first preferred) in [0, 1]
    """
    return np.where(gap == 0, 0.5, np.where(gap > 0, label, 1.0 - label))


def losses(gap: Array, label: Array) -> Float:
    """Cross-entropy in nats, y log(1 + e^−gap) + (1 − y) log(1 + e^gap): shapes that broadcast.

    gap      log-odds of the first, finite
    label    P(first preferred) y in [0, 1]
    """
    gap, label = np.broadcast_arrays(gap, label)
    return log_loss_rows(np.empty(0), label, gap)
