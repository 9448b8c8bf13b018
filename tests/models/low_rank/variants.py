"""Forms of the low-rank family, for the tests that every family must pass."""

from plurality.models.low_rank import LowRank

VARIANTS = [
    LowRank(),
    LowRank(rank=2, weights="simplex", decay=3.0),
    LowRank(rank=2, weights="signed", decay=3.0),
]
SLOW = [VARIANTS[0], VARIANTS[2]]
