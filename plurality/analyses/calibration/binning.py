"""Orientation of comparisons and their binning by predicted probability.

A comparison can be written down twice, (p, y) and (1-p, 1-y), so every binned number needs an orientation:

folded       c = max(p, 1-p) against z, the label seen from the model's pick; bins on [.5, 1]
symmetrised  both ways of writing each comparison; bins on [0, 1], an even number of them
presented    as stored; only meaningful when `first` is the real display order

Bins are half-open on the left, (a, b], and the first one is closed: a probability on an edge belongs to the
bin below it, as in scikit-learn. Symmetrised bins mirror the folded ones, so a tie of p with an edge falls on
the same distance from .5 on both sides.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plurality.analyses.levels import labels
from plurality.arrays import floats
from plurality.errors import InputError

Floats = NDArray[np.float64]
Orientation = Literal["folded", "symmetrised", "presented"]
Mass = Literal["width", "equal"]


def checked(p: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> tuple[Floats, Floats, Floats]:
    """Probabilities, labels and weights as float arrays of one length (n,); InputError names the first bad
    row.
    """
    arrays = []
    for name, values in (("p", p), ("y", y)):
        array = floats(values)
        if array.ndim != 1:
            raise InputError(f"{name}: shape {array.shape} has {array.ndim} dimensions; give one number a comparison")
        bad = np.flatnonzero(~((array >= 0) & (array <= 1)))  # also true for NaN
        if len(bad):
            raise InputError(f"{name}: row {bad[0]} is {array[bad[0]]}; give probabilities in [0, 1]")
        arrays.append(array)
    w = np.ones(len(arrays[0])) if weights is None else floats(weights)
    if not len(arrays[0]) == len(arrays[1]) == len(w):
        raise InputError(f"lengths differ: {len(arrays[0])} p, {len(arrays[1])} y, {len(w)} weights; align the rows")
    bad = np.flatnonzero(~(np.isfinite(w) & (w >= 0)))
    if len(bad):
        raise InputError(f"weights: row {bad[0]} is {w[bad[0]]}; give finite weights >= 0")
    return arrays[0], arrays[1], w


def fold(p: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Confidence c = max(p, 1-p) and the label z of the model's pick, z = y if p > .5 else 1-y, and .5 where
    p = .5.

    The mean of z is the accuracy, with ties of either kind counted half.
    """
    outcome = np.where(p > 0.5, y, 1 - y)
    return np.maximum(p, 1 - p), np.where(p == 0.5, 0.5, outcome)


def refuse_one_sided(y: Floats) -> None:
    """Raise InputError when all labels lie on one side, as they do where the winner is stored first."""
    if len(y) and ((y > 0.5).all() or (y < 0.5).all()):
        raise InputError(
            "y: every label is on the same side (winner stored first), so in presented order the error is "
            '1 - mean(p) whatever the model; use orientation="folded", or the order that people were shown'
        )


@dataclass(frozen=True)
class Binned:
    """Points oriented for calibration: predicted (n,), observed (n,), weight (n,), bin index (n,) and edges
    (B+1,).

    `copies` is how often each comparison is written down: 2 when symmetrised, else 1. `folded` says whether a
    tie p = .5 has been given the label .5.
    """

    predicted: Floats
    observed: Floats
    weight: Floats
    index: NDArray[np.intp]
    edges: Floats
    copies: int = 1
    folded: bool = True

    @property
    def n_bins(self) -> int:
        return len(self.edges) - 1

    def sums(self, values: Floats) -> Floats:
        """Weighted sums of values (n,) per bin, (B,)."""
        return np.bincount(self.index, self.weight * values, minlength=self.n_bins).astype(float)


def edges_of(x: Floats, weight: Floats, bins: int, mass: Mass, low: float) -> Floats:
    """Edges on [low, 1]: equal width, or at weighted quantiles that are values of x, so ties stay whole."""
    if mass == "width" or not weight.any():
        # k / n and not low + k * step: .6 and .7 then are the doubles that a reader types
        return np.arange(bins + 1) / bins if low == 0 else np.arange(bins, 2 * bins + 1) / (2 * bins)
    shares = np.arange(1, bins) / bins
    inner = np.quantile(x, shares, method="inverted_cdf", weights=weight)
    return np.unique(np.concatenate([[low], inner[inner > low], [1.0]]))


def bin_index(x: Floats, edges: Floats) -> NDArray[np.intp]:
    """Bin of each x, (a, b] with the first bin closed."""
    return np.searchsorted(edges[1:-1], x, side="left")


def bin_points(
    p: ArrayLike, y: ArrayLike, weights: ArrayLike | None, orientation: Orientation, bins: int, mass: Mass
) -> Binned:
    """Orient and bin comparisons; raises InputError on bad rows, one-sided presented labels or odd
    symmetrised bins.
    """
    p, y, w = checked(p, y, weights)
    if bins < 1:
        raise InputError(f"bins: {bins}; give at least one bin")
    if mass not in ("width", "equal"):
        raise InputError(f'mass: {mass!r}; use "width" or "equal"')
    if orientation == "presented":
        refuse_one_sided(y[w > 0])
        edges = edges_of(p, w, bins, mass, 0.0)
        return Binned(p, y, w, bin_index(p, edges), edges, folded=False)
    confidence, outcome = fold(p, y)
    if orientation == "folded":
        edges = edges_of(confidence, w, bins, mass, 0.5)
        return Binned(confidence, outcome, w, bin_index(confidence, edges), edges)
    if orientation == "symmetrised":
        if bins % 2:
            raise InputError(f"bins: {bins} is odd and the middle bin has no gap by symmetry; use an even number")
        return _mirrored(confidence, outcome, w, edges_of(confidence, w, bins // 2, mass, 0.5))
    raise InputError(f'orientation: {orientation!r}; use "folded", "symmetrised" or "presented"')


def _mirrored(confidence: Floats, outcome: Floats, weight: Floats, edges: Floats) -> Binned:
    above = bin_index(confidence, edges)
    half = len(edges) - 1
    return Binned(
        predicted=np.concatenate([confidence, 1 - confidence]),
        observed=np.concatenate([outcome, 1 - outcome]),
        weight=np.concatenate([weight, weight]),
        index=np.concatenate([half + above, half - 1 - above]),
        edges=np.concatenate([1 - edges[:0:-1], edges]),
        copies=2,
    )


def distinct(values: ArrayLike) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Distinct values ascending and the place of each (n,) among them: np.unique, small whole numbers unsorted."""
    x = labels(values)
    if x.ndim == 1 and x.dtype.kind in "iu" and x.size and x.min() >= 0 and x.max() < 4 * x.size:
        there = np.bincount(x) > 0
        return np.flatnonzero(there), (np.cumsum(there) - 1)[x]
    names, place = np.unique(x, return_inverse=True)
    return names, place.ravel()
