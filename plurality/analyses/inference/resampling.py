"""The metrics of one slice under every bootstrap draw: sums per user times counts per user."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plurality.analyses.audit.metrics import CALIBRATION, ECE, FOLDED_BINS, KUIPER, L2, MEANS, METRICS, SPREAD, UTILITY
from plurality.analyses.audit.user_sums import Material
from plurality.analyses.calibration.binning import Floats
from plurality.analyses.calibration.calibration import l2_from_sums
from plurality.analyses.calibration.cumulative import cumulative_range, small_sample
from plurality.analyses.welfare.spread import spread_draws

Counts = NDArray[np.float32]
Users = NDArray[np.integer]

_WORK = 8_000_000  # draws x users of one slice held at once


@dataclass(frozen=True)
class Drawn:
    """A slice's observed metrics (M,) and their bootstrap draws (draws, M).

    `null` (draws, 3) are draws of the calibration statistics around no gap, and `compared` (3,) what is held
    against them.
    """

    observed: Floats
    values: Floats
    null: Floats
    compared: Floats


def draw(base: Material, users: Users) -> Drawn:
    """Observed and resampled metrics of the slice of `users`, and the null of its calibration."""
    users = users[np.argsort(base.sums.means[users, UTILITY], kind="stable")]
    columns, knots, utility = (
        _columns(base, users),
        base.sums.knots[users],
        base.sums.means[users, UTILITY],
    )
    total = _Sums(columns.sum(axis=0)[None], knots.sum(axis=0, dtype=np.float64)[None])
    weigh = base.weights_of(users)
    people: NDArray[np.floating] = np.ones(len(users), np.float32) if weigh is None else weigh
    observed = _metrics(total, people[None], utility)[0]
    compared = observed[CALIBRATION].copy()
    observed[KUIPER] = _range_of_rows(base, users) / _positive_root(total.spread)[0]
    values, null = [], []
    for counts in count_parts(base.counts[users]):
        sums = _Sums(counts.astype(np.float64) @ columns, (counts @ knots).astype(np.float64))
        values.append(_metrics(sums, counts * people, utility))
        null.append(_centred(sums, total, small_sample(len(users))))
    return Drawn(observed, np.concatenate(values), np.concatenate(null), compared)


def count_parts(counts: NDArray[np.uint8]) -> Iterator[Counts]:
    """Counts (users, draws) as (draws, users) in single precision, a bounded number of draws at a time."""
    size = max(1, _WORK // len(counts))
    if not counts.shape[1]:
        yield np.empty((0, len(counts)), np.float32)
    for at in range(0, counts.shape[1], size):
        yield np.ascontiguousarray(counts[:, at : at + size].T, dtype=np.float32)


def _columns(base: Material, users: Users) -> Floats:
    """What a draw adds up, (users, C): the person's weight, that of the rows, spread, the six means times the person's
    weight, and the bins of equal width.
    """
    sums, people = base.sums, base.people[users]
    single = np.stack([people, sums.weight[users], sums.spread[users]], axis=1)
    return np.hstack([single, people[:, None] * sums.means[users], sums.width[users].reshape(len(users), -1)])


@dataclass(frozen=True)
class _Sums:
    """Sums over drawn users, of `columns` (draws, C) and of knots (draws, K)."""

    columns: Floats
    knots: Floats

    @property
    def users(self) -> Floats:
        return self.columns[:, 0]

    @property
    def weight(self) -> Floats:
        return self.columns[:, 1]

    @property
    def spread(self) -> Floats:
        return self.columns[:, 2]

    @property
    def means(self) -> Floats:
        return self.columns[:, 3:9]

    @property
    def width(self) -> Floats:
        """Per bin the sums of 1, z − c, z and z², (4, draws, B)."""
        return np.moveaxis(self.columns[:, 9:].reshape(-1, 4, FOLDED_BINS), 1, 0)


def _metrics(sums: _Sums, counts: NDArray[np.floating], utility: Floats) -> Floats:
    """Every metric (draws, M) for counts (draws, n) of users with ascending utility (n,).

    Observed values are the same formula at counts of one.
    """
    result = np.full((len(counts), len(METRICS)), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        result[:, MEANS] = sums.means / sums.users[:, None]
        weight, gap, outcome, square = sums.width
        result[:, ECE] = np.abs(gap).sum(axis=1) / sums.weight
        result[:, L2] = l2_from_sums(weight, gap, outcome, square)
        result[:, KUIPER] = cumulative_range(sums.knots) / _positive_root(sums.spread)
    result[:, SPREAD] = spread_draws(utility, counts)
    return result


def _positive_root(spread: Floats) -> Floats:
    """√spread, NaN where every confidence is 1 and nothing can vary."""
    return np.sqrt(np.where(spread > 0, spread, np.nan))


def _centred(sums: _Sums, total: _Sums, scale: float) -> Floats:
    """ECE, debiased L2 and Kuiper (draws, 3) of gaps less the observed ones: what the spread of users alone
    gives.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (sums.weight / total.weight)[:, None]
        weight, gap, outcome, square = sums.width
        centred = (gap - share * total.width[1]) * scale
        knots = (sums.knots / share - total.knots) * scale
        return np.stack(
            [
                np.abs(centred).sum(axis=1) / sums.weight,
                l2_from_sums(weight, centred, outcome, square),
                cumulative_range(knots) / _positive_root(total.spread),
            ],
            axis=1,
        )


def _range_of_rows(base: Material, users: Users) -> float:
    """Range of the running gap over rows in order of confidence, rows of the same confidence one step."""
    member = np.zeros(len(base.counts), bool)
    member[users] = True
    rows = np.flatnonzero(member[base.rows_user])
    step, running = base.rows_step[rows], np.cumsum(base.rows_gap[rows])
    ends = running[np.append(step[1:] > step[:-1], True)]
    return float(max(ends.max(), 0) - min(ends.min(), 0))
