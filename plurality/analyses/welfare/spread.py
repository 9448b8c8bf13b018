"""How users' utilities are spread, under every bootstrap draw, and what noise alone would show of people all alike."""

import numpy as np
from numpy.typing import ArrayLike

from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.welfare.welfare import equal_people
from plurality.analyses.welfare.welfare_draws import WelfareDraws

SHARE = 0.2  # of users: the percentile, and those whose mean is taken
AVERSION = 0.5  # ε of Atkinson's index, for which 1 − (E√x)² / E x
STATISTICS = ("gini", "p20", "worst_fifth", "atkinson")


def spread_draws(x: ArrayLike, counts: ArrayLike) -> Floats:
    """Gini, 20th percentile, mean of the worst fifth and Atkinson's index (draws, 4) of ascending utilities x (n,).

    Under each row of counts (draws, n); x may be (draws, n), and counts (1, n), as in `WelfareDraws`.
    The percentile is the
    smallest utility that a fifth of people do not exceed; the person on the boundary of the worst fifth is split.
    """
    draws = WelfareDraws.of(x, counts)
    percentile = draws.quantile(SHARE, "inverted_cdf")
    return np.stack([draws.gini(), percentile, draws.cvar(SHARE), draws.atkinson(AVERSION)], axis=1)


def spread_noise(
    n: ArrayLike, mean: float, *, people: ArrayLike | None = None, draws: int = 200, seed: int = 0
) -> Floats:
    """The same statistics (draws, 4) of people whose true utility is all `mean`, seen through n (users,) comparisons.

    x*_u ~ Binomial(n_u, mean) / n_u. NaN for one person or a mean of 0.
    """
    users = len(np.asarray(n))
    if users < 2 or not 0 < mean <= 1:
        return np.full((draws, len(STATISTICS)), np.nan)
    return np.concatenate([spread_draws(x, once) for x, once in equal_people(n, mean, draws, seed, people)])
