"""Recalibration of log-odds by group, fitted on other users than it is judged on.

The temperature of a group is 1 / its calibration slope (see `slopes`); the isotonic map is that of `corp`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from plurality.analyses.calibration.binning import Floats
from plurality.analyses.calibration.calibration import log_loss_rows
from plurality.analyses.calibration.isotonic_regression import isotonic
from plurality.analyses.calibration.slopes import (
    PositionBias,
    Slope,
    checked_gaps,
    fitted_slopes,
    position_bias,
    shrunk_log_temperature,
    slope,
    slopes_by_group,
    user_codes,
)
from plurality.analyses.inference.bootstrap import cluster_draws, interval
from plurality.deprecation import renamed
from plurality.errors import InputError

__all__ = [
    "LEAST_ISOTONIC",
    "PositionBias",
    "Recalibrated",
    "Slope",
    "position_bias",
    "recalibrated",
    "shrunk_log_temperature",
    "slope",
    "slopes_by_group",
]

Kind = Literal["temperature", "isotonic"]
Ints = NDArray[np.intp]
LEAST_ISOTONIC = 1000  # comparisons below which a group has no isotonic map of its own


@dataclass(frozen=True)
class Recalibrated:
    """Out-of-fold probabilities `p` (n,) and the `gain`, log-loss before less that after, in nats a comparison.

    `lo`, `hi` is its interval from resampling users with the fitted maps as they are. `by_group` holds the
    gain of every group. `pooled` (n,) marks rows whose group could not be fitted, for which the map of all
    groups together stands in.
    """

    p: Floats
    gain: float
    lo: float
    hi: float
    by_group: pl.DataFrame
    pooled: NDArray[np.bool_]


@renamed(draws="n_bootstrap")
def recalibrated(
    gap: ArrayLike,
    y: ArrayLike,
    users: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    kind: Kind = "temperature",
    folds: int = 5,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Recalibrated:
    """Recalibrate `gap` (n,), log-odds, within `groups` (n,), each user by maps fitted without that user.

    `kind` "temperature" is p = σ(b_g·gap) with the slope b_g of the other folds, at least 0; "isotonic" is
    the monotone map of the group, kept within [1/(N + 2), 1 − 1/(N + 2)] for N comparisons fitted, since an
    observed frequency of 0 or 1 would promise certainty. A group whose slope is not finite in the other
    folds, or (isotonic) with fewer than LEAST_ISOTONIC comparisons there, takes the map of all groups; where
    even that cannot be fitted, the gap stays as it is. The gain is a weighted mean over comparisons. Bad
    rows, and fewer users than folds, raise InputError.

    gap            (n,) predicted log-odds that the first response is preferred
    y              (n,) labels in [0, 1]
    users          (n,) user of each row
    groups         (n,) label of each row's group; one group by default
    weights        (n,) frequencies; equal by default
    kind           "temperature" (default) or "isotonic"
    folds          parts that users are divided into at random, 2 to the number of users
    n_bootstrap    resamples of users behind the intervals, of level .95; 0 gives none
    seed           of the folds and the resamples
    """
    d, y, w = checked_gaps(gap, y, weights)
    member = user_codes(users, len(d))
    labels = np.zeros(len(d), int) if groups is None else np.asarray(groups)
    names, code = np.unique(labels, return_inverse=True)
    if len(code) != len(d):
        raise InputError(f"groups: {len(code)} for {len(d)} comparisons; give one a comparison")
    n_users = int(member.max(initial=-1)) + 1
    if not 2 <= folds <= n_users:
        raise InputError(f"folds: {folds} for {n_users} users; give at least 2 and no more than the users")
    if kind not in ("temperature", "isotonic"):
        raise InputError(f'kind: {kind!r}; use "temperature" or "isotonic"')
    fold = np.random.default_rng(seed).permutation(n_users)[member] % folds
    p, after, pooled = np.empty(len(d)), np.empty(len(d)), np.zeros(len(d), bool)
    for k in range(folds):
        held = fold == k
        others = _Rows(d[~held], y[~held], w[~held], code[~held])
        if kind == "temperature":
            b, pooled[held] = _temperatures(others, code[held], len(names))
            p[held], after[held] = expit(b * d[held]), log_loss_rows(y[held], y[held], b * d[held])
        else:
            p[held], pooled[held] = _isotonic(others, d[held], code[held])
            after[held] = log_loss_rows(p[held], y[held], None)
    gain = log_loss_rows(y, y, d) - after
    overall = _gains(gain, w, member, np.zeros(len(d), np.intp), n_users, 1, n_bootstrap, seed)
    by_group = _gains(gain, w, member, code, n_users, len(names), n_bootstrap, seed)
    table = pl.DataFrame({"group": names}).with_columns(by_group)
    mean, lo, hi = overall.select("gain", "lo", "hi").row(0)
    return Recalibrated(p, mean, lo, hi, table, pooled)


@dataclass(frozen=True)
class _Rows:
    """Comparisons that a map is fitted on."""

    gap: Floats
    y: Floats
    weight: Floats
    code: Ints


def _temperatures(others: _Rows, code: Ints, groups: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Slope for each held-out row, and whether it is that of all groups."""
    own, _ = fitted_slopes(others.gap, others.y, others.weight, others.code, groups)
    every, _ = fitted_slopes(others.gap, others.y, others.weight, np.zeros_like(others.code), 1)
    unknown = np.isnan(own)
    # below 0 the best temperature there is calls every comparison even
    slopes = np.maximum(np.where(unknown, 1.0 if np.isnan(every[0]) else every[0], own), 0.0)
    return slopes[code], unknown[code]


def _isotonic(others: _Rows, gap: Floats, code: Ints) -> tuple[Floats, NDArray[np.bool_]]:
    """Probability of each held-out row, and whether it is by the map of all groups."""
    p, pooled = np.empty(len(gap)), np.zeros(len(gap), bool)
    for g in np.unique(code):
        here, fitted = code == g, others.code == g
        if others.weight[fitted].sum() < LEAST_ISOTONIC:
            pooled[here], fitted = True, np.ones_like(fitted)
        total = others.weight[fitted].sum()
        if total == 0:
            p[here] = expit(gap[here])
            continue
        curve = isotonic(expit(others.gap[fitted]), others.y[fitted], others.weight[fitted])
        p[here] = np.clip(curve.at(expit(gap[here])), 1 / (total + 2), 1 - 1 / (total + 2))
    return p, pooled


def _gains(
    gain: Floats, w: Floats, member: Ints, code: Ints, users: int, groups: int, draws: int, seed: int
) -> pl.DataFrame:
    """Users, mean gain and its interval for every group, a row a group."""
    cell, shape = member * groups + code, (users, groups)
    top = np.bincount(cell, w * gain, minlength=users * groups).reshape(shape)
    bottom = np.bincount(cell, w, minlength=users * groups).reshape(shape)
    n_users = (bottom > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = top.sum(axis=0) / bottom.sum(axis=0)
    lo, hi = interval(cluster_draws(top, bottom, draws=draws, seed=seed), n_users=n_users)
    return pl.DataFrame({"n_users": n_users, "gain": mean, "lo": lo, "hi": hi})
