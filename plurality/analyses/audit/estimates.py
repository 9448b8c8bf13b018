"""The estimates of one slice: values, intervals, nulls, differences from everybody, reliability diagram."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from plurality.analyses.audit.metrics import (
    CALIBRATION,
    ECE,
    GAP,
    GINI,
    KUIPER,
    L2,
    MEANS,
    METRICS,
    SPREAD,
    TAIL,
    TAIL_SHARE,
    UTILITY,
)
from plurality.analyses.audit.power import MARGIN
from plurality.analyses.audit.user_sums import Material
from plurality.analyses.calibration.binning import Floats
from plurality.analyses.calibration.cumulative import BROWNIAN_RANGE, brownian_range_tail, exceedance
from plurality.analyses.inference.bootstrap import interval, ratio_draws, standard_error, two_sided_p
from plurality.analyses.inference.resampling import Drawn, Users, count_parts, draw
from plurality.analyses.welfare.spread import spread_noise
from plurality.analyses.welfare.welfare import gini_shrunk

_NOISE_WORK = 20_000  # users simulated for the noise floor of spread

# which metrics have a p-value of no difference, a difference that means something, a biased plug-in value
_COMPARED = np.array([m.null == "difference" for m in METRICS])
_DIFFERENT = np.array([m.kind == "mean" or m.name == "l2_debiased" for m in METRICS])
_BIASED = np.array([m.name in ("ece", "kuiper") or m.kind == "spread" for m in METRICS])
_WORSE = np.array([-1 if m.better == "higher" else 1 for m in METRICS[SPREAD]])  # which way noise pulls


@dataclass(frozen=True)
class Estimate:
    """One slice: arrays (M,) in the order of METRICS.

    `shrunk` is that of Gini alone, since others need groups. `tail` says whether the worst-off fifth is people enough
    to be told of; without, those metrics are NaN. `dropped` counts bootstrap draws without any of
    its users, `infinite` rows of infinite log-loss. `diagram` is the reliability diagram, arrays (B,), if
    asked for.
    """

    n_users: int
    n_rows: int
    value: Floats
    error: Floats
    lo: Floats
    hi: Floats
    null: Floats
    p: Floats
    shrunk: Floats
    n_eff: Floats
    diff: Floats
    diff_lo: Floats
    diff_hi: Floats
    diff_error: Floats
    dropped: int
    infinite: int
    all_ties: bool
    tail: bool
    diagram: dict[str, Floats] | None


@dataclass(frozen=True)
class Plan:
    """What is asked of every slice: coverage, seed, users below which nothing is told of them, a gap that matters."""

    level: float
    seed: int
    least: int
    margin: float = MARGIN


def estimate(
    base: Material, users: Users, plan: Plan, everybody: Drawn | None = None, diagram: bool = False
) -> tuple[Estimate, Drawn]:
    """Estimates of the slice of `users`, compared with `everybody` where given, and its draws."""
    sums, n, drawn = base.sums, len(users), draw(base, users)
    error = standard_error(drawn.values, n)
    lo, hi = interval(drawn.values, plan.level, n_users=n)
    biased = interval(drawn.values[:, _BIASED], plan.level, n_users=n, estimate=drawn.observed[_BIASED])
    lo[_BIASED], hi[_BIASED] = biased
    null, p = _nulls(base, users, drawn, plan.seed)
    diff, diff_lo, diff_hi, diff_error = np.full((4, len(METRICS)), np.nan)
    if everybody is not None:
        paired = np.where(_DIFFERENT, drawn.values - everybody.values, np.nan)
        diff = np.where(_DIFFERENT, drawn.observed - everybody.observed, np.nan)
        diff_lo, diff_hi = interval(paired, plan.level, n_users=n)
        diff_error = standard_error(paired, n)
        p = np.where(_COMPARED, two_sided_p(diff, diff_error, n), p)
    tied = bool(sums.ties[users].sum() == sums.rows[users].sum())
    if tied:  # nothing was observed on either side
        for array in (drawn.observed, lo, hi, null, p, diff, diff_lo, diff_hi, diff_error):
            array[CALIBRATION] = np.nan
    tail = TAIL_SHARE * n >= plan.least
    if not tail:
        for array in (drawn.observed, lo, hi, null, p):
            array[TAIL] = np.nan
    shrunk = np.full(len(METRICS), np.nan)
    shrunk[GINI] = gini_shrunk(sums.means[users, UTILITY], sums.utility_noise[users], base.weights_of(users))
    return Estimate(
        n_users=n,
        n_rows=int(sums.rows[users].sum()),
        value=drawn.observed,
        error=error,
        lo=lo,
        hi=hi,
        null=null,
        p=p,
        shrunk=shrunk,
        n_eff=_effective(base, users, error),
        diff=diff,
        diff_lo=diff_lo,
        diff_hi=diff_hi,
        diff_error=diff_error,
        dropped=int(np.isnan(drawn.values[:, 0]).sum()),
        infinite=int(sums.infinite[users].sum()),
        all_ties=tied,
        tail=tail,
        diagram=_diagram(base, users, plan.level) if diagram else None,
    ), drawn


def _nulls(base: Material, users: Users, drawn: Drawn, seed: int) -> tuple[Floats, Floats]:
    """What chance gives (M,) and how often it gives as much (M,); NaN for metrics without a null of their
    own.
    """
    null, p = np.full((2, len(METRICS)), np.nan)
    weight, n = base.sums.weight[users], len(users)
    null[GAP] = null[L2] = 0.0
    p[GAP] = two_sided_p(drawn.observed[GAP], standard_error(drawn.values[:, GAP], n), n)
    p[CALIBRATION] = [exceedance(*pair) for pair in zip(drawn.compared, drawn.null.T, strict=True)]
    # beyond every draw: the tail of a Brownian range of their mean
    if len(drawn.null) and p[KUIPER] <= 1 / len(drawn.null):
        p[KUIPER] = min(p[KUIPER], brownian_range_tail(drawn.compared[-1] * BROWNIAN_RANGE / drawn.null[:, -1].mean()))
    calibrated = base.calibrated[users].sum(axis=0, dtype=np.float64)
    null[ECE] = np.abs(calibrated).sum(axis=1).mean() / weight.sum()
    null[KUIPER] = drawn.null[:, -1].mean() if len(drawn.null) else np.nan
    times = int(np.clip(_NOISE_WORK // n, 20, 200))
    seen, mean = base.sums.comparisons[users], float(drawn.observed[UTILITY])
    noise = spread_noise(seen, mean, people=base.weights_of(users), draws=times, seed=seed)
    null[SPREAD] = noise.mean(axis=0)
    # one more draw of normal noise stands √(1 + 1/times) deviations from the mean of the others
    spread = noise.std(axis=0, ddof=1) * np.sqrt(1 + 1 / times)
    excess = _WORSE * (drawn.observed[SPREAD] - null[SPREAD])
    with np.errstate(divide="ignore", invalid="ignore"):
        p[SPREAD] = np.where(spread > 0, student.sf(excess / spread, times - 1), np.nan)
    return null, p


def _effective(base: Material, users: Users, error: Floats) -> Floats:
    """How many independent comparisons would give the same standard error, (M,); at most those there are.

    Row variance over squared error. Calibration statistics have that of the confidence gap, statistics of
    spread count users.
    """
    weight = base.sums.comparisons[users].sum()
    mean = base.sums.totals[users].sum(axis=0) / weight
    variance = base.sums.squares[users].sum(axis=0) / weight - mean**2
    result = np.full(len(METRICS), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        independent = np.minimum(variance / error[MEANS] ** 2, weight)
    result[MEANS] = np.where(error[MEANS] > 0, independent, np.nan)
    result[CALIBRATION] = result[GAP]
    result[SPREAD] = len(users)
    return result


def _diagram(base: Material, users: Users, level: float) -> dict[str, Floats]:
    """Reliability in bins of equal mass (B,): observed, its interval, and the band of a calibrated model."""
    weight, gap, outcome, _ = base.sums.mass[users].sum(axis=0)
    held = np.where(weight > 0, weight, np.nan)
    weights, outcomes = base.sums.mass[users, 0], base.sums.mass[users, 2]
    parts = [ratio_draws(counts, outcomes, weights) for counts in count_parts(base.counts[users])]
    lo, hi = interval(np.concatenate(parts), level, n_users=(weights > 0).sum(axis=0))
    predicted = (outcome - gap) / held
    calibrated = base.calibrated_mass[users].sum(axis=0, dtype=np.float64) / held
    null_lo, null_hi = np.quantile(calibrated, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return {
        "weight": weight,
        "predicted": predicted,
        "observed": outcome / held,
        "lo": lo,
        "hi": hi,
        "null_lo": predicted + null_lo,
        "null_hi": predicted + null_hi,
    }
