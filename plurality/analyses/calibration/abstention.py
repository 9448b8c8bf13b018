"""Abstention: how often one is wrong where one answers only what one is surest of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plurality.analyses.calibration.binning import Floats, checked, floats
from plurality.errors import InputError


@dataclass(frozen=True, eq=False)
class CoverageRisk:
    """The curve of Chow's trade-off, from the surest rows on: k points, one for each level of doubt.

    coverage    (k,) share of the rows' weight that is answered, ascending to 1
    risk        (k,) share of that which is answered wrongly, half of a tie
    unsure      (k,) the doubt up to which rows are answered
    area        mean risk over coverage; that of answering at random is the last risk
    """

    coverage: Floats
    risk: Floats
    unsure: Floats
    area: float

    def at(self, coverage: float) -> float:
        """Risk where this share in (0, 1] is answered: of the first level of doubt that reaches it.

        coverage    share of the rows' weight
        """
        if not 0 < coverage <= 1:
            raise InputError(f"coverage {coverage} is not a share that is answered; give one above 0, and 1 at most")
        return float(self.risk[np.searchsorted(self.coverage, coverage - 1e-12)])


def coverage_risk(p: ArrayLike, y: ArrayLike, unsure: ArrayLike, *, weights: ArrayLike | None = None) -> CoverageRisk:
    """Risk(c) = P(pick is wrong | unsure ≤ t), t where P(unsure ≤ t) = c, for picks p > ½ against labels (n,).

    Rows of equal doubt are answered together, so that their order does not matter.

    p          probability that the first is preferred (n,)
    y          label in [0, 1] (n,)
    unsure     doubt of each row (n,), less is surer: the sd of its gap, `RewardModel.gap_sd`, over the gap's size, say
    weights    (n,) frequencies; equal by default

    Raises InputError for bad rows and where nothing has weight. Source: Chow 1970; El-Yaniv & Wiener 2010.

    >>> curve = coverage_risk([0.9, 0.8, 0.6, 0.6], [1, 1, 0, 1], [0.1, 0.2, 0.5, 0.5])
    >>> curve.coverage.tolist(), curve.risk.tolist()
    ([0.25, 0.5, 1.0], [0.0, 0.0, 0.25])
    """
    probability, label, weight = checked(p, y, weights)
    doubt = floats(unsure)
    if doubt.shape != probability.shape or np.isnan(doubt).any():
        raise InputError(f"unsure: give a number for each of {len(probability)} rows, not shape {doubt.shape} or NaN")
    if not weight.sum() > 0:
        raise InputError("coverage_risk: no row has weight; give some that count")
    pick = np.where(probability == 0.5, 0.5, probability > 0.5)
    wrong = np.abs(pick - label)
    levels, place = np.unique(doubt[weight > 0], return_inverse=True)
    mass = np.bincount(place, weight[weight > 0]).cumsum()
    risk = np.bincount(place, (weight * wrong)[weight > 0]).cumsum() / mass
    coverage = mass / mass[-1]
    area = float((np.diff(coverage, prepend=0.0) * risk).sum())
    return CoverageRisk(coverage, risk, levels, area)
