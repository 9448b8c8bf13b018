"""How far people agree about the same items, within groups and between them, and what their differences hang on.

Ratings are long rows: item, person, value. Where people are resampled, two copies of one person are never a
pair: they agree with themselves, which would say that people agree with each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from plurality.analyses.inference.bootstrap import Floats, count_blocks, interval
from plurality.arrays import floats
from plurality.deprecation import renamed
from plurality.errors import InputError

Level = Literal["nominal", "ordinal", "interval"]
Ints = NDArray[np.intp]

_ENTRIES = 2_000_000  # numbers held at once in a bootstrap
ZERO = 1e-12  # disagreement below this share of the largest is rounding


def codes_of(size: int, labels: tuple[tuple[str, ArrayLike], ...]) -> list[Ints]:
    """Codes from 0, (n,) each, of labels; InputError where one does not fit the rows or is missing."""
    found = []
    for name, values in labels:
        column = np.asarray(values)
        if column.shape != (size,):
            raise InputError(f"{name}: shape {column.shape} for {size} values; align the rows")
        missing = np.flatnonzero((column == np.array(None)) | (column != column))  # None, or NaN, which is not itself
        if len(missing):
            raise InputError(f"{name}: row {missing[0]} is missing; drop the row or give it a name")
        try:
            found.append(np.unique(column, return_inverse=True)[1])
        except TypeError as error:
            raise InputError(f"{name}: labels of several kinds ({error}); make all of them strings") from error
    return found


def numbers(values: ArrayLike) -> Floats:
    """Values (n,) as floats; InputError names the first that is none or not finite."""
    try:
        x = floats(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"value: {error}; give numbers, such as the ranks of ordered answers") from error
    if x.ndim != 1 or not np.isfinite(x).all():
        row = np.flatnonzero(~np.isfinite(x.ravel()))[:1].tolist()
        raise InputError(f"value: shape {x.shape}, rows {row} not finite; give one number a row, drop missing ones")
    return x


def incidence(codes: Ints) -> sparse.csr_array:
    """Sums of rows (n,) by code (K,), as a sparse matrix (K, n)."""
    size = int(codes.max(initial=-1)) + 1
    return sparse.coo_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(size, len(codes))).tocsr()


def count_columns(users: int, rows: int, draws: int, seed: int, strata: Ints | None = None) -> Iterator[Floats]:
    """Bootstrap counts as columns (users, block), so few that (rows, block) fits in memory; first the sample.

    With `strata` (users,), codes from 0, each stratum keeps its number of users in every draw.
    """
    yield np.ones((users, 1))
    if draws and users:
        entries = max(1, _ENTRIES * users // max(rows, users))
        if strata is None:
            yield from (counts.T.astype(float) for counts in count_blocks(users, draws, seed, entries))
        else:
            yield from _stratified(strata, draws, seed, max(1, entries // users))


def _stratified(strata: Ints, draws: int, seed: int, block: int) -> Iterator[Floats]:
    order, size = np.argsort(strata, kind="stable"), np.bincount(strata)
    first, many, users = np.repeat(np.cumsum(size) - size, size), np.repeat(size, size), len(strata)
    rng = np.random.default_rng(seed)
    for at in range(0, draws, block):
        width = min(block, draws - at)
        drawn = order[first + (rng.random((width, users)) * many).astype(np.intp)]
        cell = drawn * width + np.arange(width)[:, None]
        yield np.bincount(cell.ravel(), minlength=users * width).reshape(users, width).astype(float)


def weights_of_people(weights: ArrayLike | None, person: Ints) -> Floats:
    """Weights (U, 1) of people, 1 on average, from those of rows (n,); InputError where one is none."""
    people = int(person.max(initial=-1)) + 1
    if weights is None:
        return np.ones((people, 1))
    w = floats(weights)
    if w.shape != person.shape or not (np.isfinite(w) & (w >= 0)).all():
        raise InputError(f"weights: shape {w.shape} for {len(person)} rows; give finite weights >= 0, one a row")
    own = np.zeros(people)
    own[person] = w
    if (own[person] != w).any():
        row = int(np.argmax(own[person] != w))
        raise InputError(f"weights: the person of row {row} has several; they are people's, so give each person one")
    return (own / own.mean() if own.any() else own)[:, None]


def bounds(found: Floats, level: float, n_users: ArrayLike) -> tuple[Floats, Floats]:
    """Interval over what `count_columns` gave, (1 + draws, ...), of which the first is the sample's own."""
    drawn = found.copy()
    drawn[0] = np.nan  # left out by `interval`, which takes no empty table
    return interval(drawn, level, n_users=n_users)


@dataclass(frozen=True)
class _Ratings:
    """Ratings as sparse sums; `x` (n,) are numbers, or codes of values where only sameness counts."""

    rater: Ints
    x: Floats
    level: Level
    by_unit: sparse.csr_array
    by_value: sparse.csr_array
    by_cell: sparse.csr_array  # a cell is one value within one unit
    cell_unit: sparse.csr_array

    @staticmethod
    def of(unit: Ints, rater: Ints, value: ArrayLike, level: Level) -> "_Ratings":
        if level not in ("nominal", "ordinal", "interval"):
            raise InputError(f'metric: {level!r}; use "nominal", "ordinal" or "interval"')
        (code,) = codes_of(len(unit), (("value", value),))
        x = code.astype(float) if level == "nominal" else numbers(value)
        x = x - x.mean() if len(x) else x
        _, first, times = np.unique(unit * (rater.max(initial=0) + 1) + rater, return_index=True, return_counts=True)
        if (times > 1).any():
            row = first[times > 1][0]
            raise InputError(f"rater: that of row {row} rates the same unit again; keep one rating each")
        cells, cell = np.unique(unit * (code.max(initial=0) + 1) + code, return_inverse=True)
        of_cell = cells // (code.max(initial=0) + 1)
        return _Ratings(rater, x, level, incidence(unit), incidence(code), incidence(cell), incidence(of_cell))

    def within(self, count: Floats) -> Floats:
        """Which rows, under counts (n, B), stand in a unit that two different people rate."""
        people = self.by_unit @ (count > 0)
        return (count > 0) & (self.by_unit.T @ (people > 1) > 0)

    def scale(self, count: Floats) -> Floats:
        """Values (n, B): for ordinal ones their mid-ranks, whose squared differences are the ordinal metric."""
        if self.level != "ordinal":
            return np.broadcast_to(self.x[:, None], count.shape)
        held = self.by_value @ count
        return self.by_value.T @ (np.cumsum(held, axis=0) - held / 2 - held.sum(axis=0) / 2)

    def cross(self, left: Floats, right: Floats, scale: Floats, by: str = "unit") -> Floats:
        """Sum of squared differences over pairs of a left and a right row: by unit (units, B), or all (1, B)."""
        add = self.by_unit if by == "unit" else np.ones((1, len(left)))
        if self.level == "nominal":
            table = self.by_cell if by == "unit" else self.by_value
            same = (table @ left) * (table @ right)
            agreed = self.cell_unit @ same if by == "unit" else same.sum(axis=0)
            return (add @ left) * (add @ right) - agreed
        sums = [(add @ side, add @ (side * scale), add @ (side * scale**2)) for side in (left, right)]
        (m, s, q), (n, t, r) = sums
        return np.maximum(m * r + n * q - 2 * s * t, 0)


def _alpha(ratings: _Ratings, count: Floats) -> Floats:
    """Alpha (B,) under counts (n, B) of each rating; a unit's disagreement is the mean over its pairs of people."""
    count = np.where(ratings.within(count), count, 0.0)
    scale = ratings.scale(count)
    m, own = ratings.by_unit @ count, ratings.by_unit @ count**2
    pairs = m**2 - own
    observed = (m * ratings.cross(count, count, scale) / np.where(pairs > 0, pairs, np.inf)).sum(axis=0)
    n = m.sum(axis=0)
    expected = ratings.cross(count, count, scale, "all")[0]
    pairs = n**2 - own.sum(axis=0)
    return _one_minus(observed / np.where(n > 0, n, 1), expected / np.where(pairs > 0, pairs, 1), ratings)


def _one_minus(observed: Floats, expected: Floats, ratings: _Ratings) -> Floats:
    widest = 1.0 if ratings.level != "interval" else float(np.ptp(ratings.x)) ** 2 if len(ratings.x) else 0.0
    return 1 - observed / np.where(expected > ZERO * widest, expected, np.nan)


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha with its interval, and the ratings, units and raters that it comes from.

    value         alpha, 1 for full agreement, 0 as by chance, negative below that; NaN without variation
    lo, hi        ends of the interval; NaN without resamples
    n_pairable    ratings of units that two or more raters rated
    n_units       units that these ratings belong to
    n_raters      raters who gave them
    """

    value: float
    lo: float
    hi: float
    n_pairable: int
    n_units: int
    n_raters: int


@renamed(draws="n_bootstrap")
def krippendorff_alpha(
    unit: ArrayLike,
    rater: ArrayLike,
    value: ArrayLike,
    *,
    metric: Level = "nominal",
    weights: ArrayLike | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Alpha:
    """Krippendorff's alpha 1 − D_o/D_e of rows (n,): a value that a rater gave a unit; interval from resampled raters.

    D_o is the mean over units, weighted by their m ratings, of the metric's mean over pairs of different raters, D_e
    its mean over all pairs of pairable ratings. Units with fewer than two ratings are dropped; NaN without variation.
    The ordinal metric is the squared difference of mid-ranks among pairable ratings. Krippendorff (2004). With weights
    w of people a pair counts w_i w_j in both means, and a unit's m is the sum of its weights; a weight of 0 is absence.

    unit           (n,) labels of what was rated
    rater          (n,) labels of who rated it; each rates a unit at most once
    value          (n,) the rating: any label if nominal, else a finite number
    metric         "nominal" (same or not), "ordinal" (mid-ranks) or "interval" (squared difference of the values)
    weights        (n,) weight >= 0 of the row's rater, the same in all rows of a rater; equal by default
    n_bootstrap    resamples of raters behind the interval; 0 gives none
    seed           makes the result the same again
    level          coverage of the interval, in (0, 1)

    >>> from plurality.analyses.agreement import krippendorff_alpha
    >>> unit, rater, value = ["a", "a", "b", "b", "c", "c"], ["ada", "bo"] * 3, [1, 1, 2, 2, 1, 2]
    >>> round(krippendorff_alpha(unit, rater, value, n_bootstrap=0).value, 3)
    0.444
    """
    n = np.size(value)
    units, raters = codes_of(n, (("unit", unit), ("rater", rater)))
    ratings = _Ratings.of(units, raters, value, metric)
    nan, people = float("nan"), int(raters.max(initial=-1)) + 1
    own = weights_of_people(weights, raters)
    paired = ratings.within(own[raters])[:, 0] if n else np.zeros(0, bool)
    counted = (int(paired.sum()), len(np.unique(units[paired])), len(np.unique(raters[paired])))
    if not paired.any():
        return Alpha(nan, nan, nan, *counted)
    drawn = np.concatenate([_alpha(ratings, (c * own)[raters]) for c in count_columns(people, n, n_bootstrap, seed)])
    lo, hi = bounds(drawn, level, counted[2])
    return Alpha(float(drawn[0]), float(lo), float(hi), *counted)


@dataclass(frozen=True)
class GroupAgreement:
    """Agreement within a group, with everybody else, and the ratio of the two; an interval is a pair (lo, hi).

    irr             alpha among the group's members
    irr_interval    of irr
    xrr             agreement of a member with somebody else
    xrr_interval    of xrr
    gai             irr / xrr, above 1 where the group agrees with itself more; NaN unless both are positive
    gai_interval    of gai, over the resamples in which both are positive; NaN where gai is
    n_in, n_out     raters who are members, and who are not
    """

    irr: float
    irr_interval: tuple[float, float]
    xrr: float
    xrr_interval: tuple[float, float]
    gai: float
    gai_interval: tuple[float, float]
    n_in: int
    n_out: int


@renamed(draws="n_bootstrap")
def group_agreement(
    unit: ArrayLike,
    rater: ArrayLike,
    value: ArrayLike,
    member: ArrayLike,
    *,
    metric: Level = "nominal",
    weights: ArrayLike | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> GroupAgreement:
    """Does a group agree with itself more than with the others? GAI = IRR / XRR, above 1 if so.

    IRR is alpha among rows (n,) whose rater is a `member`. XRR = 1 − d_o/d_e over pairs of a member and another: d_o
    their mean difference within a unit, weighted by its ratings, d_e that over all units (κ_x of Wong et al. 2021).
    GAI is NaN, and so is its interval, unless both are positive. Members and others are resampled apart. With weights w
    of people a pair counts w_i w_j, as in `krippendorff_alpha`. After the GRASP of Prabhakaran et al. (2024).

    unit           (n,) labels of what was rated
    rater          (n,) labels of who rated it; each rates a unit at most once
    value          (n,) the rating: any label if nominal, else a finite number
    member         (n,) True where the rater belongs to the group, the same in all rows of a rater
    metric         "nominal" (same or not), "ordinal" (mid-ranks) or "interval" (squared difference of the values)
    weights        (n,) weight >= 0 of the row's rater, the same in all rows of a rater; equal by default
    n_bootstrap    resamples of raters behind the intervals; 0 gives none
    seed           makes the result the same again
    level          coverage of the interval, in (0, 1)
    """
    n = np.size(value)
    units, raters, _ = codes_of(n, (("unit", unit), ("rater", rater), ("member", member)))
    inside = np.asarray(member)
    if inside.dtype != bool and not np.isin(inside, (0, 1)).all():
        raise InputError(f"member: {inside.dtype}, row {(~np.isin(inside, (0, 1))).argmax()}; give True or False a row")
    inside = inside.astype(bool)
    people, own = int(raters.max(initial=-1)) + 1, weights_of_people(weights, raters)
    in_rows = np.bincount(raters, inside, minlength=people)
    mixed = np.flatnonzero((in_rows > 0) & (in_rows < np.bincount(raters, minlength=people)))
    if len(mixed):
        raise InputError(
            f"member: rater of row {(raters == mixed[0]).argmax()} is both in and out; give one group each"
        )
    everyone = _Ratings.of(units, raters, value, metric)
    n_in, n_out = int((in_rows > 0).sum()), people - int((in_rows > 0).sum())
    nan, none = float("nan"), (float("nan"), float("nan"))
    if not n_in or not n_out:
        return GroupAgreement(nan, none, nan, none, nan, none, n_in, n_out)

    def draw(counts: Floats) -> Floats:
        count = (counts * own)[raters]
        irr, xrr = _alpha(everyone, count * inside[:, None]), _cross_alpha(everyone, count, inside[:, None])
        return np.stack([irr, xrr, irr / np.where((irr > 0) & (xrr > 0), xrr, np.nan)])

    columns = count_columns(people, n, n_bootstrap, seed, (in_rows > 0).astype(np.intp))
    drawn = np.concatenate([draw(c) for c in columns], axis=1)
    lo, hi = bounds(drawn.T, level, [n_in, min(n_in, n_out), min(n_in, n_out)])
    ends = [(float(a), float(b)) for a, b in zip(lo, hi, strict=True)]
    irr, xrr, gai = drawn[:, 0].tolist()
    ends[2] = none if np.isnan(gai) else ends[2]  # of what is undefined there is none
    return GroupAgreement(irr, ends[0], xrr, ends[1], gai, ends[2], n_in, n_out)


def _cross_alpha(ratings: _Ratings, count: Floats, inside: NDArray[np.bool_]) -> Floats:
    left, right = np.where(inside, count, 0.0), np.where(inside, 0.0, count)
    both = ((ratings.by_unit @ left) > 0) & ((ratings.by_unit @ right) > 0)
    keep = ratings.by_unit.T @ both.astype(float)
    left, right = left * keep, right * keep
    scale = ratings.scale(left + right)
    m, n = ratings.by_unit @ left, ratings.by_unit @ right
    observed = ((m + n) * ratings.cross(left, right, scale) / np.where(both, m * n, np.inf)).sum(axis=0)
    expected = ratings.cross(left, right, scale, "all")[0] / np.maximum(m.sum(axis=0) * n.sum(axis=0), 1)
    return _one_minus(observed / np.maximum((m + n).sum(axis=0), 1), expected, ratings)
