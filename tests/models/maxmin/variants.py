"""Forms of MaxMin, for the tests that every family must pass."""

from plurality.models.maxmin import MaxMin

VARIANTS = [
    MaxMin(),
    MaxMin(n_groups=2, decay=3.0),
    MaxMin(n_groups=2, decay=3.0, hard=True, init="round_robin"),
]
SLOW = VARIANTS[:1]
