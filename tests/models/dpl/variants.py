"""Forms of DPL, for the tests that every family must pass."""

from plurality.models.dpl import DPL

VARIANTS = [
    DPL(),
    DPL(kind="categorical", decay=3.0, quantile=0.05),
]
SLOW = VARIANTS[1:]
