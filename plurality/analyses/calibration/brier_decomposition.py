"""What the Brier score is made of: miscalibration, discrimination, and the uncertainty of the labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plurality.analyses.calibration.binning import Binned, Floats, Mass, Orientation, bin_points, checked


@dataclass(frozen=True)
class BrierParts:
    """`score` = `reliability` − `resolution` + `uncertainty` + `within`, all in squared probability.

    `reliability` is lower for better calibration, `resolution` higher for better discrimination; `within` is
    what the bins hide, 0 where p is constant in each.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float

    @property
    def skill(self) -> float:
        """Brier skill score 1 − score/uncertainty; NaN where every label is the same."""
        return 1 - self.score / self.uncertainty if self.uncertainty > 0 else float("nan")


def brier_parts(
    p: ArrayLike,
    y: ArrayLike,
    *,
    orientation: Orientation = "symmetrised",
    bins: int = 10,
    mass: Mass = "width",
    weights: ArrayLike | None = None,
    corrected: bool = False,
) -> BrierParts:
    """Decomposition BS = REL − RES + UNC + W of p (n,) against labels y (n,), exact for any binning.

    REL = Σ_b q_b (P̄_b − Ȳ_b)², RES = Σ_b q_b (Ȳ_b − ȳ)², UNC = Var(y) and W = Σ_b q_b [Var_b(p) − 2
    Cov_b(p, y)] (Murphy 1973; W: Stephenson et al. 2008). The score is the same in every orientation, the
    parts are not: symmetrised UNC is .25 for labels 0 and 1, folded UNC is acc(1 − acc). `corrected` removes
    the bias of few rows a bin (Ferro & Fricker 2012), with c = Σ_b q_b s_b²/(n_b − 1) over bins of two rows
    or more: REL − c, RES − c + UNC/(n − 1), UNC·n/(n − 1); the sum stays. Symmetrised labels have the mean .5
    by construction, which needs no estimate, so there UNC stays and RES loses c alone. Corrected parts may be
    negative. NaN without rows, and parts of a single row to be corrected; bad rows raise InputError.

    orientation    "folded" to the side the model favours, "symmetrised" both ways round, or "presented" as stored
    bins           number of bins at most
    mass           bins of equal mass rather than equal width
    weights        (n,) frequencies; equal by default
    """
    points = bin_points(p, y, weights, orientation, bins, mass)
    total = points.weight.sum()
    if total == 0:
        return BrierParts(*[float("nan")] * 5)
    # folding gives a tie of the model, p = .5, the label .5: the mean of both ways of seeing it, but not
    # the spread, which is lost alike for score and uncertainty
    lost = _tie_spread(p, y, weights) if points.folded else 0.0
    weight = points.sums(np.ones(len(points.weight)))
    held = np.where(weight > 0, weight, 1.0)
    predicted, observed = points.sums(points.predicted) / held, points.sums(points.observed) / held
    share, mean = weight / total, (points.weight @ points.observed) / total
    uncertainty = float(points.weight @ (points.observed - mean) ** 2 / total) + lost
    reliability = float(share @ (predicted - observed) ** 2)
    resolution = float(share @ (observed - mean) ** 2)
    spread = points.predicted - predicted[points.index]
    within = float(points.weight @ (spread**2 - 2 * spread * (points.observed - observed[points.index])) / total)
    score = float(points.weight @ (points.predicted - points.observed) ** 2 / total) + lost
    if corrected:
        rows = total / points.copies
        if rows <= 1:
            return BrierParts(score, *[float("nan")] * 4)
        excess = float(share @ _mean_variance(points, weight, observed))
        once = uncertainty / (rows - 1) if points.copies == 1 else 0.0
        reliability -= excess
        resolution += once - excess
        uncertainty += once
    return BrierParts(score, reliability, resolution, uncertainty, within)


def _mean_variance(points: Binned, weight: Floats, observed: Floats) -> Floats:
    """Estimated variance s_b²/(n_b − 1) of each bin's mean label (B,); 0 for fewer than two rows."""
    squares = points.sums((points.observed - observed[points.index]) ** 2)
    used = weight >= 2
    n = np.where(used, weight, 2.0)
    return np.where(used, squares / n / (n - 1), 0.0)


def _tie_spread(p: ArrayLike, y: ArrayLike, weights: ArrayLike | None) -> float:
    """Σ w (y − ½)² / Σ w over rows with p = ½."""
    p, y, w = checked(p, y, weights)
    return float((w * (y - 0.5) ** 2)[p == 0.5].sum() / w.sum())
