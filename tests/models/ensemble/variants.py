"""Forms of an ensemble, for the tests that every family must pass: pooled, personal, and of a mixture."""

from plurality.models.bradley_terry import BradleyTerry
from plurality.models.ensemble import Ensemble
from plurality.models.maxmin import MaxMin

VARIANTS = [
    Ensemble(BradleyTerry(temperature=True, decay=10.0), n=4),
    Ensemble(BradleyTerry(decay=10.0), n=4),
    Ensemble(MaxMin(n_groups=2, decay=10.0), n=4),
]
SLOW = VARIANTS  # every check fits every member
