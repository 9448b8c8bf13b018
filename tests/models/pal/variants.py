"""Forms of PAL, for the tests that every family must pass."""

from plurality.models.pal import PAL

SMALL = {"n_prototypes": 2, "preference": 3, "decay": 3.0}
VARIANTS = [
    PAL(),
    PAL(**SMALL),
    PAL(**SMALL, hidden=8),
    PAL(**SMALL, utility="norm"),
    PAL(**SMALL, form="B"),
    PAL(**SMALL, form="B", utility="angle"),
]
SLOW = [VARIANTS[0], *VARIANTS[2:4], VARIANTS[5]]
