"""Forms of VPL, for the tests that every family must pass."""

from plurality.models.vpl import VPL

VARIANTS = [
    VPL(),
    VPL(aggregation="attention", n_codes=2),
]
