"""Forms of the hierarchical family, for the tests that every family must pass."""

from plurality.models.hierarchical import Hierarchical

VARIANTS = [
    Hierarchical(),
    Hierarchical(folds=0, dimensions=3),
]
SLOW = VARIANTS[1:]
