"""Everything the audit needs of the comparisons, as sums per user: rows are read once, then forgotten.

A slice is a set of users and a bootstrap draw a count per user, so both are sums of these sums.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plurality.analyses.audit.metrics import FOLDED_BINS, UTILITY
from plurality.analyses.calibration.binning import Binned, Floats, bin_points, fold
from plurality.analyses.calibration.calibration import log_loss_rows
from plurality.analyses.calibration.cumulative import KNOTS, knot_index
from plurality.analyses.inference.bootstrap import count_blocks, per_user_sums
from plurality.analyses.inputs import Predictions

DIAGRAM_BINS = 6  # of equal mass, for reliability diagrams
_SIMULATED = 100_000_000  # labels redrawn in all for the consistency null
_HELD = 20_000_000  # entries of a table (users, knots) or (draws, users, bins)


@dataclass(frozen=True)
class UserSums:
    """Sums over the rows of each user, the first axis (U,).

    `comparisons` is the weight of the user's rows, as many as they stand for, v. `means` (U, 6) are the user's own
    weighted means, in the order of METRICS, `squares` (U, 6) the sums v·x² and `totals` (U, 6) the sums v·x. With w, v
    times what the person weighs, `weight` is Σ w, `width` and `mass` (U, 4, B) hold, per bin, the sums w, w(z − c), wz
    and wz², `knots` (U, K) is w(z − c) along c, and `spread` Σ w c(1 − c).
    """

    rows: NDArray[np.int64]
    comparisons: Floats
    weight: Floats
    means: Floats
    totals: Floats
    squares: Floats
    width: Floats
    mass: Floats
    knots: NDArray[np.float32]
    spread: Floats
    ties: NDArray[np.int64]
    infinite: NDArray[np.int64]

    @property
    def utility_noise(self) -> Floats:
        """Sampling variance (U,) of each user's mean utility; NaN with a single comparison."""
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = self.squares[:, UTILITY] / self.comparisons - self.means[:, UTILITY] ** 2
            return np.where(self.comparisons > 1, np.maximum(variance, 0) / (self.comparisons - 1), np.nan)


def user_sums(data: Predictions) -> tuple[UserSums, Binned, Binned]:
    """Sums per user, and the folded points in bins of equal width and of equal mass."""
    users = len(data.ids)
    confidence, outcome = fold(data.p, data.y)
    loss = log_loss_rows(data.p, data.y, data.gap)
    infinite = np.isinf(loss)
    values = np.stack(
        [
            outcome,
            np.where(infinite, np.nan, loss),
            (data.p - data.y) ** 2,
            outcome - confidence,
            data.served * data.y + (1 - data.served) * (1 - data.y),
            data.served * data.p + (1 - data.served) * (1 - data.p),
        ],
        axis=1,
    )
    totals, comparisons = per_user_sums(data.user, values, data.weight, users)
    squares, _ = per_user_sums(data.user, values**2, data.weight, users)
    spread, weight = per_user_sums(data.user, confidence * (1 - confidence), data.pooled, users)
    width = bin_points(data.p, data.y, data.pooled, "folded", FOLDED_BINS, "width")
    mass = bin_points(data.p, data.y, data.pooled, "folded", DIAGRAM_BINS, "equal")
    tie = (data.p == 0.5) | (data.y == 0.5)
    sums = UserSums(
        rows=np.bincount(data.user, minlength=users),
        comparisons=comparisons,
        weight=weight,
        means=totals / comparisons[:, None],
        totals=totals,
        squares=squares,
        width=_bin_sums(data.user, width, users),
        mass=_bin_sums(data.user, mass, users),
        knots=_knot_sums(data, confidence, outcome),
        spread=spread[:, 0],
        ties=np.bincount(data.user[tie], minlength=users),
        infinite=np.bincount(data.user[infinite], minlength=users),
    )
    return sums, width, mass


def _bin_sums(user: NDArray[np.int64], points: Binned, users: int) -> Floats:
    z, gap, bins = points.observed, points.observed - points.predicted, points.n_bins
    values = np.stack([np.ones_like(z), gap, z, z**2], axis=1)
    sums, _ = per_user_sums(user * bins + points.index, values, points.weight, users * bins)
    return sums.reshape(users, bins, 4).transpose(0, 2, 1)


def _knot_sums(data: Predictions, confidence: Floats, outcome: Floats) -> NDArray[np.float32]:
    users = len(data.ids)
    knot = knot_index(confidence, data.pooled, int(np.clip(_HELD // users, 32, KNOTS)))
    knots = int(knot.max()) + 1
    sums = np.bincount(data.user * knots + knot, data.pooled * (outcome - confidence), minlength=users * knots)
    return sums.reshape(users, knots).astype(np.float32)


def consistency_draws(data: Predictions, points: Binned, draws: int, seed: int) -> NDArray[np.float32]:
    """Sums w(z* − c) per user and bin, (U, draws, B), of labels redrawn from a calibrated model; ties stay
    ties.
    """
    users, bins = len(data.ids), points.n_bins
    cell, tie = data.user * bins + points.index, points.predicted == 0.5
    weight = np.where(tie, 0.0, points.weight)
    rng = np.random.default_rng(seed)
    result = np.empty((users, draws, bins), np.float32)
    for draw in range(draws):
        gap = weight * ((rng.random(len(cell)) < points.predicted) - points.predicted)
        result[:, draw] = np.bincount(cell, gap, minlength=users * bins).reshape(users, bins)
    return result


def simulations(rows: int, users: int) -> int:
    """How many times labels are redrawn: 1000 for small data, fewer as rows and users grow."""
    return int(np.clip(min(_SIMULATED // rows, _HELD // (users * DIAGRAM_BINS)), 20, 1000))


@dataclass(frozen=True)
class Material:
    """All that the estimates of any slice are made from: users stand first (U,), rows in ascending confidence
    (n,).
    """

    sums: UserSums
    people: Floats  # (U,) what each person weighs, 1 on average
    mass_edges: Floats  # (B + 1,) of the bins of equal mass
    counts: NDArray[np.uint8]  # (U, draws) of the bootstrap
    calibrated: NDArray[np.float32]  # (U, simulations, B) in bins of equal width
    calibrated_mass: NDArray[np.float32]  # the same in bins of equal mass
    rows_user: NDArray[np.int64]
    rows_gap: Floats
    rows_step: NDArray[np.int64]  # the same for rows of the same confidence

    def weights_of(self, users: NDArray[np.integer]) -> Floats | None:
        """What some people weigh, 1 on average of these; None where all weigh the same."""
        return None if (self.people == 1).all() else self.people[users] / self.people[users].mean()


def material(data: Predictions, draws: int, seed: int) -> Material:
    """Sums per user, bootstrap counts and simulated labels of a calibrated model."""
    # a count is at most the number of users, and above 255 with probability 1e-500
    counts = [block.T.astype(np.uint8) for block in count_blocks(len(data.ids), draws, seed)]
    return material_of(data, np.concatenate(counts, axis=1), seed)


def material_of(data: Predictions, counts: NDArray[np.uint8], seed: int) -> Material:
    """The same with given bootstrap counts.

    data      comparisons of U users
    counts    (U, draws) how often each user counts in each draw
    seed      of the simulated labels
    """
    sums, width, mass = user_sums(data)
    users = len(data.ids)
    times = simulations(len(data.p), users)
    order = np.argsort(width.predicted, kind="stable")
    confidence = width.predicted[order]
    return Material(
        sums=sums,
        people=data.people,
        mass_edges=mass.edges,
        counts=counts,
        calibrated=consistency_draws(data, width, times, seed),
        calibrated_mass=consistency_draws(data, mass, times, seed),
        rows_user=data.user[order],
        rows_gap=(width.weight * (width.observed - width.predicted))[order],
        rows_step=np.append(0, np.cumsum(confidence[1:] > confidence[:-1])),
    )
