"""What an audit could have found: the smallest gap that would be shown four times in five, and what follows from it."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.wording import ALPHA
from plurality.arrays import floats
from plurality.errors import InputError

__all__ = ["detectable_gap", "finding"]

POWER = 0.8
MARGIN = 0.05  # gap in a share that matters, if the reader says nothing else
DIFFERS, ALIKE = "differs", "no gap that matters"
NONE_FOUND, BLIND = "no difference found", "could not have found one"


def detectable_gap(
    error: ArrayLike, n_users: ArrayLike, *, power: float = POWER, alpha: float = ALPHA, tests: ArrayLike = 1
) -> Floats:
    """Smallest true gap (...,) that a two-sided test shows with this power: (t_{1 − α/2k} + t_power) · SE.

    t has n − 1 degrees of freedom for n users, k is the number of tests that α is spread over (Bonferroni). With many
    users and one test it is 2.80 SE. NaN without an error, and for one user. Raises InputError for shares outside
    (0, 1). Source: Bloom (1995), minimum detectable effects.

    error      (...,) standard errors of the gap
    n_users    (...,) users behind each
    power      chance of showing a gap of this size, in (0, 1)
    alpha      chance of showing a gap where there is none, in (0, 1)
    tests      (...,) how many gaps are searched together, at least 1

    >>> from plurality.analyses.audit.power import detectable_gap
    >>> round(float(detectable_gap(0.01, 10_000)), 4)
    0.028
    """
    if not 0 < power < 1 or not 0 < alpha < 1:
        raise InputError(f"detectable_gap: power {power}, alpha {alpha}; give both in (0, 1)")
    se, n, k = np.broadcast_arrays(floats(error), floats(n_users), floats(tests))
    freedom = np.where(n > 1, n - 1, np.nan)
    found: Floats = (student.isf(alpha / 2 / k, freedom) + student.ppf(power, freedom)) * np.where(se > 0, se, np.nan)
    return found


def finding(gap: float, error: float, n_users: int, q: float, detectable: float, margin: float) -> str | None:
    """What may be said of one gap where gaps of `margin` matter; None where nothing was tested.

    "differs" where q < 0.05. Else "no gap that matters" where two one-sided tests (Schuirmann 1987) place the gap
    within ± margin: |gap| + t_{.95} SE < margin. Else "no difference found" where a gap of the margin would have been
    shown four times in five, and "could not have found one" where it would not.

    gap           estimate
    error         its standard error
    n_users       users behind it
    q             p-value corrected for the search
    detectable    smallest gap that would have been shown
    margin        gap that matters, in the same unit
    """
    if not np.isfinite([gap, error, q, detectable]).all():
        return None
    if q < ALPHA:
        return DIFFERS
    if abs(gap) + student.isf(ALPHA, n_users - 1) * error < margin:
        return ALIKE
    return NONE_FOUND if detectable <= margin else BLIND
