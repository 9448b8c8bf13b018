"""Forms of Bradley–Terry, for the tests that every family must pass."""

from plurality.models.bradley_terry import BradleyTerry

VARIANTS = [
    BradleyTerry(),
    BradleyTerry(hidden=8, decay=30.0),
    BradleyTerry(temperature=True, decay=10.0),
]
