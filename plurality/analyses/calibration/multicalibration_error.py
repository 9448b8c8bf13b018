"""Calibration within every slice at once: which people, at which confidence, are told wrong probabilities.

A segment is a set of comparisons; segments may overlap. Two conventions of multicalibration error (Hébert-
Johnson et al. 2018) are in use and both are given: mass-weighted, P(segment, bin)·|gap|, which small slices
pass easily, and conditional, |gap|, which needs a least mass. Without bins, the cumulative error of a segment
in units of its own standard deviation compares slices of any size (Guy et al. 2025).
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from plurality.analyses.audit.segments import Segments, segments_of_attributes, segments_of_matrix, segments_of_slices
from plurality.analyses.calibration.binning import Binned, Floats, Mass, Orientation, bin_points
from plurality.analyses.calibration.calibration import l2_from_sums
from plurality.analyses.calibration.cumulative import (
    KNOTS,
    brownian_range_tail,
    cumulative_range,
    exceedance,
    knot_index,
    small_sample,
)
from plurality.analyses.inference.bootstrap import resample_counts
from plurality.analyses.levels import labels
from plurality.errors import InputError

__all__ = [
    "Multicalibration",
    "Segments",
    "multicalibration",
    "segments_of_attributes",
    "segments_of_matrix",
    "segments_of_slices",
]

Ints = NDArray[np.int64]
_HELD = 20_000_000  # entries of a table (users, knots)
_BLOCK = 50  # draws of labels held at once


@dataclass(frozen=True)
class Multicalibration:
    """`cells`, a row a segment and bin, and `segments`, a row a segment, beside their extremes.

    `mce_sigma` is the largest ratio of a segment, `mce` the same in probability, `worst` its row of
    `segments`. `alpha_mass` and `alpha_conditional` are the largest errors of a cell in the two conventions.
    `p_value` and `null_mean` belong to the largest ratio, over segments that have a null.
    """

    cells: pl.DataFrame
    segments: pl.DataFrame
    mce_sigma: float
    mce: float
    worst: int
    alpha_mass: float
    alpha_conditional: float
    p_value: float
    null_mean: float


@dataclass(frozen=True)
class _Sorted:
    """Comparisons of positive weight in ascending confidence, (n,) each, and `rank`, the place of every input
    row, −1 where it has no weight.
    """

    confidence: Floats
    outcome: Floats
    weight: Floats
    residual: Floats  # w (z − c)
    spread: Floats  # w c (1 − c)
    bin: Ints
    knot: Ints
    tie: NDArray[np.bool_]
    user: Ints | None
    rank: Ints


def multicalibration(  # noqa: PLR0913 - the arguments of ece and of kuiper
    p: ArrayLike,
    y: ArrayLike,
    segments: Segments,
    *,
    orientation: Orientation = "folded",
    bins: int = 5,
    mass: Mass = "width",
    weights: ArrayLike | None = None,
    users: ArrayLike | None = None,
    least_mass: float = 0.01,
    draws: int = 500,
    seed: int = 0,
) -> Multicalibration:
    """Calibration errors of p (n,) against labels y (n,) in every segment and bin of confidence.

    A cell has gap = Ȳ − P̄, its `sigma` = √(Σ w c(1−c))/Σ w for a calibrated model with independent rows, and
    `error`, the same allowing for what the rows of `users` (n,) share; `in_sigma` and `in_error` are the gap
    in these units, and `mass` = P(segment, bin). A segment has `statistic`, the range of its cumulative gap,
    `sigma` and `ratio` as in `kuiper` (tied p are one step) with Feller's `p_value`; `l2` = Σ_v P(v|g) gap²
    debiased as in `debiased_l2`, and its plug-in `l2_plugin`; `alpha_mass`, the largest mass·|gap|, and
    `alpha_conditional`, the largest |gap| of cells with at least `least_mass`. The null of the largest ratio
    is by resampling users around the observed gaps, or else by labels y* ~ Bernoulli(p), a row one draw;
    `p_adjusted` holds a segment against the largest ratio of all under it, which allows for the choice among
    segments. NaN where nothing can vary and, in the null of users, for a segment of one user. Bad rows, and
    symmetrised gaps, which cancel, raise InputError.

    p              (n,) P(first preferred)
    y              (n,) labels in [0, 1]
    segments       sets of the n comparisons, as from `segments_of_attributes`; the first is all of them
    orientation    "folded" to the side the model favours, "symmetrised" both ways round, or "presented" as stored
    bins           number of bins of confidence at most
    mass           "width" for bins equally wide (default), "equal" for bins of equal weight
    weights        (n,) frequencies; equal by default
    users          (n,) user of each comparison, for robust errors and the null by resampled users; none by default
    least_mass     P(segment, bin) that a cell needs to enter `alpha_conditional`
    draws          simulated data sets, or resamples of users; 0 gives none
    seed           of simulations and resamples
    """
    if orientation == "symmetrised":
        raise InputError('orientation: symmetrised gaps cancel in the cumulative sum; use "folded"')
    if draws < 1:
        raise InputError(f"draws: {draws}; give at least one")
    points = bin_points(p, y, weights, orientation, bins, mass)
    if segments.n != len(points.predicted):
        raise InputError(f"segments: of {segments.n} rows for {len(points.predicted)} comparisons; align the rows")
    data = _sorted(points, users)
    places = [np.sort(data.rank[rows][data.rank[rows] >= 0]) for rows in segments.rows]
    cells = _cells(data, places, points)
    table = _summary(data, places, cells, least_mass)
    null, coarse = (_user_null if users is not None else _label_null)(data, places, draws, seed)
    names = {"attribute": list(segments.attribute), "level": list(segments.level)}
    most = np.fmax.reduce(null, axis=1)  # NaN only where no segment has a null
    table["p_adjusted"] = np.array([exceedance(value, most) if value >= 0 else np.nan for value in coarse])
    ratio = table["ratio"]
    worst = int(np.nanargmax(ratio)) if np.isfinite(ratio).any() else -1
    largest = float(ratio[worst]) if worst >= 0 else float("nan")
    tested = float(np.fmax.reduce(coarse))
    return Multicalibration(
        cells=_frame(names, points.edges, cells),
        segments=pl.DataFrame({**names, **table}),
        mce_sigma=largest,
        mce=largest * float(table["sigma"][0]),
        worst=worst,
        alpha_mass=float(np.fmax.reduce(table["alpha_mass"])),
        alpha_conditional=float(np.fmax.reduce(table["alpha_conditional"])),
        p_value=exceedance(tested, most) if tested >= 0 else float("nan"),
        null_mean=float(np.mean(most)),
    )


def _sorted(points: Binned, users: ArrayLike | None) -> _Sorted:
    n = len(points.predicted)
    if users is not None and len(labels(users)) != n:
        raise InputError(f"users: {len(labels(users))} for {n} comparisons; give one a comparison")
    order = np.argsort(points.predicted, kind="stable")
    order = order[points.weight[order] > 0]
    rank = np.full(n, -1)
    rank[order] = np.arange(len(order))
    c, w = points.predicted[order], points.weight[order]
    user = None if users is None else np.unique(labels(users, "users")[order], return_inverse=True)[1].astype(np.int64)
    knots = KNOTS if user is None else int(np.clip(_HELD // (user.max(initial=0) + 1), 32, KNOTS))
    knot = knot_index(c, w, knots) if len(c) else np.zeros(0, np.int64)
    tie = points.folded & (c == 0.5)  # a tie of the model has the label .5 whatever is drawn
    z = points.observed[order]
    return _Sorted(c, z, w, w * (z - c), w * c * (1 - c), points.index[order], knot, tie, user, rank)


def _cells(data: _Sorted, places: list[Ints], points: Binned) -> dict[str, Floats]:
    """Numbers of every segment and bin, (S, B) each."""
    c, z, w = data.confidence, data.outcome, data.weight
    values = (w, w * c, w * z, w * z**2, data.spread)
    shape = (len(places), points.n_bins)
    sums = np.zeros((6, *shape))
    for s, at in enumerate(places):
        for k, value in enumerate(values):
            sums[k, s] = np.bincount(data.bin[at], value[at], minlength=points.n_bins)
        sums[5, s] = _cluster_variance(data, at, points.n_bins)
    weight, predicted, observed, square, variance, robust = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = (observed - predicted) / weight
        sigma = np.sqrt(variance) / weight
        error = sigma if data.user is None else np.sqrt(robust) / weight
        return {
            "weight": weight,
            "mass": weight / data.weight.sum(),
            "predicted": predicted / weight,
            "observed": observed / weight,
            "gap": gap,
            "sigma": sigma,
            "error": error,
            "in_sigma": gap / np.where(sigma > 0, sigma, np.nan),
            "in_error": gap / np.where(error > 0, error, np.nan),
            "square": square,
        }


def _frame(names: dict[str, list[str]], edges: Floats, cells: dict[str, Floats]) -> pl.DataFrame:
    bins, segments = len(edges) - 1, len(names["level"])
    named = {name: [value for value in values for _ in range(bins)] for name, values in names.items()}
    sides = {"left": np.tile(edges[:-1], segments), "right": np.tile(edges[1:], segments)}
    return pl.DataFrame({**named, **sides, **{name: values.ravel() for name, values in cells.items()}})


def _cluster_variance(data: _Sorted, at: Ints, bins: int) -> Floats:
    """Variance (B,) of a bin's summed residuals between users, Σ_u (e_u − gap·w_u)² · G/(G − 1); NaN for one."""
    if data.user is None:
        return np.full(bins, np.nan)
    cell, local = np.unique(data.user[at] * bins + data.bin[at], return_inverse=True)
    column = cell % bins
    own, weight = np.bincount(local, data.residual[at]), np.bincount(local, data.weight[at])
    top, bottom = np.bincount(column, own, minlength=bins), np.bincount(column, weight, minlength=bins)
    users = np.bincount(column, minlength=bins)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (own - (top / bottom)[column] * weight) ** 2
        between = np.bincount(column, spread, minlength=bins) * users / np.where(users > 1, users - 1, np.nan)
    alike = between <= 1e-20 * np.bincount(column, weight**2, minlength=bins)  # but for rounding
    return np.where(alike, 0.0, between)


def _summary(data: _Sorted, places: list[Ints], cells: dict[str, Floats], least_mass: float) -> dict[str, Floats]:
    """Numbers of every segment, (S,) each."""
    running = np.array([_row_range(data, at) for at in places])
    total = np.array([data.weight[at].sum() for at in places])
    root = np.sqrt(np.array([data.spread[at].sum() for at in places]))
    weight, gap = cells["weight"], np.where(cells["weight"] > 0, cells["gap"], 0.0)
    enough = np.where(cells["mass"] >= least_mass, np.abs(gap), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        held = np.where(total > 0, total, np.nan)
        ratio = running / np.where(root > 0, root, np.nan)
        return {
            "n": np.array([len(at) for at in places]),
            "weight": total,
            "n_users": np.array([0 if data.user is None else len(np.unique(data.user[at])) for at in places]),
            "statistic": running / held,
            "sigma": root / held,
            "ratio": ratio,
            "p_value": np.where(np.isnan(ratio), np.nan, brownian_range_tail(np.nan_to_num(ratio))),
            "l2": l2_from_sums(weight, weight * gap, np.nan_to_num(cells["observed"]) * weight, cells.pop("square")),
            "l2_plugin": (weight * gap**2).sum(axis=1) / held,
            "alpha_mass": np.where(total > 0, (cells["mass"] * np.abs(gap)).max(axis=1), np.nan),
            "alpha_conditional": np.fmax.reduce(enough, axis=1),
        }


def _row_range(data: _Sorted, at: Ints) -> float:
    """Range of the running residual over rows in order of confidence, rows of the same confidence one step."""
    confidence, running = data.confidence[at], np.cumsum(data.residual[at])
    ends = running[np.append(confidence[1:] > confidence[:-1], True)] if len(at) else running
    return float(ends.max(initial=0) - ends.min(initial=0))


def _roots(data: _Sorted, places: list[Ints]) -> Floats:
    root = np.sqrt([float(data.spread[at].sum()) for at in places])
    return np.where(root > 0, root, np.nan)


def _coarse(data: _Sorted, places: list[Ints], roots: Floats) -> Floats:
    """Observed ratios (S,) at the knots where their null is followed."""
    ranges = [cumulative_range(np.bincount(data.knot[at], data.residual[at]).astype(float)) for at in places]
    return np.array(ranges) / roots


def _label_null(data: _Sorted, places: list[Ints], draws: int, seed: int) -> tuple[Floats, Floats]:
    """Ratios (draws, S) under labels drawn from the model, and the observed ones (S,)."""
    roots, rng = _roots(data, places), np.random.default_rng(seed)
    c, w = data.confidence[:, None], np.where(data.tie, 0.0, data.weight)[:, None]
    knots = int(data.knot.max(initial=0)) + 1
    cell = np.concatenate([s * knots + data.knot[at] for s, at in enumerate(places)])
    entries = (np.ones(len(cell)), (cell, np.concatenate(places)))
    member = sparse.csr_array(entries, shape=(len(places) * knots, len(c)))
    null = np.empty((draws, len(places)))
    for first in range(0, draws, _BLOCK):
        block = min(_BLOCK, draws - first)
        steps = (member @ (w * ((rng.random((len(c), block)) < c) - c))).reshape(len(places), knots, block)
        null[first : first + block] = cumulative_range(steps.transpose(2, 0, 1)) / roots
    return null, _coarse(data, places, roots)


def _user_null(data: _Sorted, places: list[Ints], draws: int, seed: int) -> tuple[Floats, Floats]:
    """Ratios (draws, S) of resampled users' gaps less the observed ones, and the observed ratios (S,), both
    NaN for a segment of one user.
    """
    roots = _roots(data, places)
    null = np.full((draws, len(places)), np.nan)
    if data.user is None or not len(data.user):
        return null, np.full(len(places), np.nan)
    counts = resample_counts(int(data.user.max()) + 1, draws, seed)
    steps = int(data.knot.max()) + 1
    for s, at in enumerate(places):
        ids, local = np.unique(data.user[at], return_inverse=True)
        if len(ids) < 2 or not roots[s] > 0:
            roots[s] = np.nan
            continue
        table = np.bincount(local * steps + data.knot[at], data.residual[at], minlength=len(ids) * steps)
        table = table.reshape(len(ids), steps)
        weight = np.bincount(local, data.weight[at])
        drawn = counts[:, ids].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            centred = (drawn @ table) / (drawn @ weight / weight.sum())[:, None] - table.sum(axis=0)
        null[:, s] = cumulative_range(centred) * small_sample(len(ids)) / roots[s]
    return null, _coarse(data, places, roots)
