"""Forms of VPL, for the tests that every family must pass."""

from plurality.models.vpl import VPL

VARIANTS = [
    VPL(),
    VPL(n_codes=2, n_features=3, beta=0.1, decay=15.0),
    VPL(aggregation="attention", n_codes=2, n_features=3, beta=0.1, decay=15.0),
    VPL(aggregation="attention", n_codes=2),
]
SLOW = [VARIANTS[0], *VARIANTS[2:]]
