"""CORP: calibration by isotonic regression, which chooses its own bins (Dimitriadis, Gneiting & Jordan 2021).

A comparison may be written down from either side, so the fit is on both ways of writing it and q(1 − t) =
1 − q(t). By that symmetry it is the isotonic fit of the label z on the confidence c = max(p, 1 − p), raised
to ½ where it falls below.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.special import xlogy

from plurality.analyses.calibration.binning import Floats, checked, fold
from plurality.analyses.calibration.calibration import log_loss_rows
from plurality.analyses.calibration.cumulative import exceedance
from plurality.analyses.inference.bootstrap import count_blocks, interval
from plurality.analyses.levels import labels
from plurality.arrays import floats
from plurality.errors import InputError

Score = Literal["brier", "log_loss"]


@dataclass(frozen=True)
class Isotonic:
    """A calibration map, fitted at K distinct confidences.

    confidence    (K,) the distinct max(p, 1 − p), ascending
    calibrated    (K,) fitted frequency with which the model's pick is preferred there, at least ½
    weight        (K,) weight of the comparisons there
    """

    confidence: Floats
    calibrated: Floats
    weight: Floats

    def at(self, p: ArrayLike) -> Floats:
        """q(p) of the shape of p, with q(1 − p) = 1 − q(p); linear between fitted points and flat beyond.

        p    P(first preferred) in [0, 1], of any shape
        """
        p = floats(p)
        upper = _between(np.maximum(p, 1 - p), self.confidence, self.calibrated)
        return np.where(p < 0.5, 1 - upper, upper)


@dataclass(frozen=True)
class Corp:
    """`score` = `miscalibration` − `discrimination` + `uncertainty`, in the units of the score.

    score                  mean Brier score or log-loss (nats) of the model
    miscalibration         what recalibration would save in this sample, ≥ 0
    discrimination         what the recalibrated model gains over saying ½
    uncertainty            score of saying ½
    null_miscalibration    mean miscalibration of a calibrated model with these p; NaN without draws
    p_value                share of such models that miss by as much, the data counted as one; NaN without draws
    """

    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float
    null_miscalibration: float
    p_value: float


@dataclass(frozen=True)
class _Steps:
    """Comparisons of positive weight by distinct confidence: `value` (K,), and of each row (n,) its step."""

    value: Floats
    step: NDArray[np.intp]
    confidence: Floats
    outcome: Floats  # label seen from the model's pick, .5 at a tie of the model
    weight: Floats

    def sums(self, values: Floats) -> Floats:
        return np.bincount(self.step, values, minlength=len(self.value)).astype(float)


def isotonic(p: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> Isotonic:
    """Isotonic fit q of labels on both ways of writing p: the nondecreasing map of least Σ w (y − q(p))².

    Bad rows raise InputError, and so does a sample without weight.

    p          (n,) P(first preferred)
    y          (n,) labels in [0, 1]
    weights    (n,) frequencies; equal by default
    """
    steps = _steps(*checked(p, y, weights))
    if not len(steps.value):
        raise InputError("isotonic: no row has a positive weight; give at least one comparison")
    weight = steps.sums(steps.weight)
    return Isotonic(steps.value, _fit(steps.sums(steps.weight * steps.outcome) / weight, weight), weight)


def corp(
    p: ArrayLike,
    y: ArrayLike,
    *,
    score: Score = "brier",
    gap: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    draws: int = 200,
    seed: int = 0,
) -> Corp:
    """Decomposition S = MCB − DSC + UNC of the Brier score or the log-loss (nats), on both ways of writing.

    With the isotonic fit q: MCB = S(p) − S(q), DSC = S(½) − S(q), UNC = S(½), since ½ is the mean label of
    symmetrised data. MCB ≥ 0 in sample, so it is set beside its mean under labels y* ~ Bernoulli(p) (a row
    one draw, rows independent), by `draws` simulations. `gap` (n,), the log-odds, keeps the log-loss of p
    finite; without it a p of 0 or 1 against its label makes S and MCB infinite. NaN without rows; bad rows
    raise InputError.

    p          (n,) P(first preferred)
    y          (n,) labels in [0, 1]
    score      "brier" (default) or "log_loss", in nats
    gap        (n,) log-odds behind p, which keep the log-loss of p near 0 and 1 exact; taken from p by default
    weights    (n,) frequencies; equal by default
    draws      simulated data sets behind the null; 0 gives none
    seed       of the simulations
    """
    if score not in ("brier", "log_loss"):
        raise InputError(f'score: {score!r}; use "brier" or "log_loss"')
    p, y, w = checked(p, y, weights)
    odds = None if gap is None else floats(gap)
    loss = (p - y) ** 2 if score == "brier" else log_loss_rows(p, y, odds)
    steps = _steps(p, y, w)
    if not len(steps.value):
        return Corp(*[float("nan")] * 6)
    weight = steps.sums(steps.weight)
    calibrated = _fit(steps.sums(steps.weight * steps.outcome) / weight, weight)[steps.step]
    label = np.where(p > 0.5, y, 1 - y)[w > 0]
    refit = (calibrated - label) ** 2 if score == "brier" else log_loss_rows(calibrated, label, None)
    known = (label - 0.5) ** 2 if score == "brier" else np.full(len(label), np.log(2))
    total = steps.weight.sum()
    stated, least, chance = (float(steps.weight @ rows / total) for rows in (loss[w > 0], refit, known))
    null = np.array([_miscalibration(steps.value, q, z, weight, score) for z, q in _redrawn(steps, draws, seed)])
    mean = float(null.mean()) if draws else float("nan")
    p_value = exceedance(stated - least - 1e-12, null)  # a tie up to rounding counts as one
    return Corp(stated, stated - least, chance - least, chance, mean, p_value)


def corp_curve(
    p: ArrayLike,
    y: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    users: ArrayLike | None = None,
    draws: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> pl.DataFrame:
    """The CORP reliability curve: the two ends of each block of the isotonic fit, two rows a block.

    Columns: `block`, `confidence`, the `calibrated` frequency there, the `weight` of the block. `null_lo`, `null_hi` is
    the consistency band around the diagonal, of labels y* ~ Bernoulli(p). `lo`, `hi` is the pointwise confidence band
    from resampling `users`, NaN without them; its level is approximate, since the bootstrap of a monotone fit is not
    consistent where the curve rises smoothly (Sen, Banerjee & Woodroofe 2010, for the Grenander estimator). Without
    weight no row; bad rows raise InputError.

    p          (n,) P(first preferred)
    y          (n,) labels in [0, 1]
    weights    (n,) frequencies; equal by default
    users      (n,) user of each comparison, for the confidence band; no such band by default
    draws      simulated data sets and resamples of users behind the bands; 0 gives none
    seed       of simulations and resamples
    level      coverage of the bands, in (0, 1)
    """
    p, y, w = checked(p, y, weights)
    steps = _steps(p, y, w)
    weight = steps.sums(steps.weight)
    calibrated = _fit(steps.sums(steps.weight * steps.outcome) / weight, weight)
    first = np.flatnonzero(np.diff(calibrated, prepend=-1.0))
    last = np.append(first[1:], len(calibrated))[: len(first)] - 1
    ends = np.stack([first, last], axis=1).ravel()
    at, blocks = steps.value[ends], np.repeat(np.arange(len(first)), 2)
    lo = hi = null_lo = null_hi = np.full(len(at), np.nan)
    if len(at) and draws:
        null = np.stack([_between(at, steps.value, q) for _, q in _redrawn(steps, draws, seed)])
        null_lo, null_hi = np.quantile(null, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    if users is not None:
        if len(labels(users)) != len(p):
            raise InputError(f"users: {len(labels(users))} for {len(p)} comparisons; align the rows")
        if len(at) and draws:
            ids, codes = np.unique(labels(users, "users")[w > 0], return_inverse=True)
            table = np.stack([_between(at, *fit) for fit in _resampled(steps, codes, len(ids), draws, seed)])
            lo, hi = interval(table, level, n_users=len(ids))
    columns = {
        "block": blocks,
        "confidence": at,
        "calibrated": calibrated[ends],
        "weight": np.add.reduceat(weight, first)[blocks] if len(first) else weight,
        "lo": lo,
        "hi": hi,
        "null_lo": null_lo,
        "null_hi": null_hi,
    }
    return pl.DataFrame(columns)


def _steps(p: Floats, y: Floats, w: Floats) -> _Steps:
    confidence, outcome = fold(p, y)
    used = w > 0
    value, step = np.unique(confidence[used], return_inverse=True)
    return _Steps(value, step, confidence[used], outcome[used], w[used])


def _fit(mean: Floats, weight: Floats) -> Floats:
    """Isotonic fit to mean labels (K,) in ascending confidence, at least ½."""
    return np.maximum(isotonic_regression(mean, weights=weight).x, 0.5) if len(mean) else mean


def _between(x: Floats, confidence: Floats, calibrated: Floats) -> Floats:
    """The fit at confidences x: linear between its points, and from ½ at ½, where symmetry pins it."""
    return np.interp(x, np.append(0.5, confidence), np.append(0.5, calibrated))


def _redrawn(steps: _Steps, draws: int, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """Mean labels (K,) and their fit (K,) under labels drawn from the model; a tie of the model stays ½."""
    if draws < 0:
        raise InputError(f"draws: {draws}; give 0 for no simulation, or more")
    rng, weight = np.random.default_rng(seed), steps.sums(steps.weight)
    tie = steps.confidence == 0.5
    for _ in range(draws):
        drawn = np.where(tie, 0.5, rng.random(len(tie)) < steps.confidence)
        mean = steps.sums(steps.weight * drawn) / weight
        yield mean, _fit(mean, weight)


def _resampled(
    steps: _Steps, codes: NDArray[np.intp], users: int, draws: int, seed: int
) -> Iterator[tuple[Floats, Floats]]:
    """Confidences and fits of resampled users; values that nobody drawn holds are left out."""
    for block in count_blocks(users, draws, seed):
        for counts in block:
            w = steps.weight * counts[codes]
            weight = steps.sums(w)
            held = weight > 0
            mean = steps.sums(w * steps.outcome)[held] / weight[held]
            yield steps.value[held], _fit(mean, weight[held])


def _miscalibration(c: Floats, q: Floats, mean: Floats, weight: Floats, score: Score) -> float:
    """S(c) − S(q) for mean labels (K,) at confidences c (K,)."""
    if score == "brier":
        terms = (c - q) * (c + q - 2 * mean)
    else:
        terms = xlogy(mean, q) - xlogy(mean, c) + xlogy(1 - mean, 1 - q) - xlogy(1 - mean, 1 - c)
    return float(weight @ terms / weight.sum())
