"""Welfare functions and inequality indices of people, for one sample of them or all draws of a bootstrap.

The definitions are those of `inequality` and `welfare`, which take one sample. A draw without people is NaN.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, xlogy

from plurality.analyses.inference.bootstrap import Floats
from plurality.arrays import floats
from plurality.errors import InputError

Values = NDArray[np.floating]

_ROUNDING = 1e-12  # share of a draw by which sums of its weights may be off
_FAR = 1e15  # a power beyond which a mean is the greatest or least utility, to double precision
_FAINT = 1e-200


def ascending(x: ArrayLike, weights: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Utilities in ascending order with their weights, zero weights dropped; InputError names the first bad row.

    x          (n,) utilities in any order, finite
    weights    (n,) non-negative frequencies; 1 each by default
    """
    x = floats(x)
    w = np.ones(x.shape) if weights is None else floats(weights)
    if x.ndim != 1 or w.shape != x.shape:
        raise InputError(f"utility: shapes {x.shape} and {w.shape}; give one utility and one weight a person")
    for name, values, good in (("utility", x, np.isfinite(x)), ("weights", w, np.isfinite(w) & (w >= 0))):
        if not good.all():
            row = int(np.argmin(good))
            raise InputError(f"{name}: row {row} is {values[row]}; give finite numbers, weights >= 0")
    order = np.argsort(x, kind="stable")
    x, w = x[order], w[order]
    return x[w > 0], w[w > 0]


@dataclass(frozen=True)
class WelfareDraws:
    """Utilities in ascending order, and how often each person is in each draw (or their weight).

    Every method gives a value a draw, (draws,).

    x         (n,) utilities where all draws are of the same people, else (draws, n); ascending
    counts    (draws, n), or (1, n) if they are the same in all draws
    """

    x: Floats
    counts: Values

    @classmethod
    def of(cls, x: ArrayLike, counts: ArrayLike) -> Self:
        """Checked arrays; InputError where shapes do not fit, utilities are not ascending or counts negative.

        x         (n,) or (draws, n) utilities, ascending in each row
        counts    (draws, n) or (1, n) how often each person counts, ≥ 0
        """
        values, w = floats(x), np.asarray(counts)
        if w.ndim != 2 or not 1 <= values.ndim <= 2 or w.shape[1] != values.shape[-1]:
            raise InputError(f"counts: shapes {values.shape} and {w.shape}; give utilities (n,) and counts (draws, n)")
        if values.ndim == 2 and len(w) not in (1, len(values)):
            raise InputError(f"counts: {len(w)} rows for {len(values)} of utilities; give each draw one, or all one")
        if not (np.diff(values) >= 0).all() or np.isnan(values).any():
            raise InputError("utility: not in ascending order; sort utilities and the columns of counts alike")
        if not (w >= 0).all():
            raise InputError("counts: negative or NaN; give how often each person counts, >= 0")
        if not w.shape[1]:  # nobody is somebody who counts for nothing
            return cls(np.zeros((*values.shape[:-1], 1)), np.zeros((len(w), 1)))
        # counts of a bootstrap are in single precision, and exact there
        whole = w.dtype == np.float32 and (w == np.rint(w)).all()
        return cls(values, w if whole else w.astype(np.float64))

    @classmethod
    def one(cls, x: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """One draw, of utilities x (n,) in any order; bad rows raise InputError.

        x          (n,) utilities in any order, finite
        weights    (n,) non-negative frequencies; 1 each by default
        """
        values, w = ascending(x, weights)
        return cls.of(values, w[None])

    @cached_property
    def _running(self) -> Values:
        return np.cumsum(self.counts, axis=1, dtype=self.counts.dtype)

    @cached_property
    def total(self) -> Floats:
        """People, or their weight; (1,) if it is the same in all draws."""
        return self._running[:, -1].astype(np.float64)

    @cached_property
    def _amount(self) -> Floats:
        return self._summed(self.x)

    @property
    def mean(self) -> Floats:
        """Mean utility."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._amount / self.total

    def check_frequencies(self, corrected: bool) -> None:
        """Raises InputError where several people have weights that add up to 1 or less, which no frequencies do.

        corrected    whether a correction for the number of people is asked for
        """
        people = self.counts.shape[1]
        if corrected and people > 1 and (self.total <= 1).any():
            total = float(self.total.min())
            cause = f"weights: they add up to {total:.6g} for {people} people, so they are shares and no frequencies"
            raise InputError(f"{cause}; give frequencies, or corrected=False")

    def gini(self, corrected: bool = True) -> Floats:
        """Gini coefficient; NaN too for one person or a mean of 0, or less.

        corrected    divide by W² − W instead of W², against the bias of few people; by default True
        """
        # twice the mid-rank of each person in the weighted order, from its centre
        centred = 2 * self._running
        centred -= self.counts
        centred -= self._running[:, -1:]
        centred *= self.counts
        pairs = self.total**2 - self.total if corrected else self.total**2
        with np.errstate(divide="ignore", invalid="ignore"):
            value = self._summed(self.x, centred) / (pairs * self.mean)
        return np.where((self._amount > 0) & (pairs > 0), value, np.nan)

    def cvar(self, share: float) -> Floats:
        """Mean utility of the worst-off `share` of people, the boundary person split; the share is in (0, 1].

        share    share of people who count, in (0, 1]
        """
        if not 0 < share <= 1:
            raise InputError(f"share: {share}; give a share of people in (0, 1]")
        mass = share * self.total
        most = int(self._boundary(share).max(initial=0)) + 2  # nobody beyond is among the worst off
        held = self.counts[:, :most]
        taken = np.clip(mass[:, None] - (self._running[:, :most] - held), 0, held)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._summed(self.x[..., :most], taken) / mass

    def quantile(self, q: float, method: Literal["linear", "inverted_cdf"] = "linear") -> Floats:
        """Quantile at q in [0, 1]: interpolated between people (type 7), or the least x with weighted F(x) ≥ q.

        Interpolation needs whole counts, else InputError.

        q         share of people at or below it, in [0, 1]
        method    "linear" interpolates between people (default); "inverted_cdf" takes one of the utilities, and any
                  weights
        """
        if not 0 <= q <= 1:
            raise InputError(f"q: {q}; give a share of people in [0, 1]")
        if method == "inverted_cdf":
            return self._where_anybody(self._at(self._boundary(q)))
        if (self.counts != np.rint(self.counts)).any():
            raise InputError('counts: not whole, so people cannot be told apart; use method="inverted_cdf"')
        place = q * (self.total - 1)
        below = np.floor(place)
        low, high = (
            self._at((self._running <= at[:, None]).sum(axis=1))
            for at in (below, np.minimum(below + 1, self.total - 1))
        )
        return self._where_anybody(low + (place - below) * (high - low))

    def power_mean(self, p: float) -> Floats:
        """Power mean; NaN too where somebody's utility is negative.

        p    the power: 1 is the mean, 0 the geometric mean, ±∞ the greatest or least utility
        """
        if np.isnan(p):
            raise InputError(f"p: {p}; give a number, or ±inf for the greatest or least utility")
        if abs(p) > _FAR:
            held = self.counts > 0
            at = held.argmax(axis=1) if p < 0 else held.shape[1] - 1 - held[:, ::-1].argmax(axis=1)
            return self._where_positive(self._at(at))
        with np.errstate(divide="ignore", invalid="ignore"):
            log_x = np.log(self.x)
            value = np.exp(self._mean_log(log_x) if p == 0 else self._log_mean_exp(p * log_x) / p)
        return self._where_positive(value)

    def atkinson(self, epsilon: float) -> Floats:
        """Atkinson index; NaN too where somebody's utility is negative or the mean 0.

        epsilon    aversion to inequality ε ≥ 0, else InputError; 0 gives an index of 0
        """
        if not epsilon >= 0:
            raise InputError(f"epsilon: {epsilon}; give an aversion to inequality >= 0")
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.maximum(1 - self.power_mean(1 - epsilon) / self.mean, 0)

    def generalised_entropy(self, alpha: float) -> Floats:
        """Generalised entropy; NaN too where somebody's utility is negative or the mean 0.

        alpha    α, finite, else InputError; 0 is the mean log deviation, 1 Theil's index
        """
        if not np.isfinite(alpha):
            raise InputError(f"alpha: {alpha}; give a finite number such as 0 (mean log deviation) or 1 (Theil)")
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            log_x, log_mean = np.log(self.x), np.log(self.mean)
            if alpha == 0:
                value = log_mean - self._mean_log(log_x)
            elif alpha == 1:
                value = self._summed(xlogy(self.x, self.x)) / self._amount - log_mean
            else:
                value = np.expm1(self._log_mean_exp(alpha * log_x) - alpha * log_mean) / (alpha * (alpha - 1))
        return self._where_positive(np.where(self._amount > 0, np.maximum(value, 0), np.nan))

    def kolm_pollak(self, kappa: float) -> Floats:
        """Kolm and Pollak's equally distributed equivalent −(1/κ) ln E e^(−κx), for utilities of any sign.

        kappa    aversion to inequality κ ≥ 0 per unit of utility, else InputError; 0 gives the mean
        """
        if not 0 <= kappa < np.inf:
            raise InputError(f"kappa: {kappa}; give a finite aversion to inequality >= 0")
        if kappa == 0 or not self.x.size:
            return self.mean
        centre = self.x.mean()  # keeps the digits where utilities are large and κ small
        span = float(np.ptp(self.x))
        kappa = min(kappa, _FAR / span) if span > 0 else kappa
        return centre - self._log_mean_exp(-kappa * (self.x - centre)) / kappa

    def _summed(self, value: Floats, counts: Values | None = None) -> Floats:
        """Σ counts · value (draws,) of values (n,) or (draws, n)."""
        w = self.counts if counts is None else counts
        if value.ndim == 1:
            return (w @ value).astype(np.float64)
        return value @ w[0].astype(np.float64) if len(w) == 1 else np.einsum("cn,cn->c", w, value)

    def _at(self, place: NDArray[np.intp]) -> Floats:
        """The utility of the person at a place (draws,) of the order, or (1,) in all draws."""
        at = np.minimum(place, self.x.shape[-1] - 1)
        return self.x[at] if self.x.ndim == 1 else self.x[np.arange(len(self.x)), at]

    def _boundary(self, q: float) -> NDArray[np.intp]:
        """The place of the person up to whom people are at least the share q, and more than nobody."""
        enough = self.total * q * (1 - _ROUNDING) if q < 1 else self.total
        enough = np.maximum(enough, np.finfo(float).tiny)
        if self._running.dtype == np.float32:
            enough = np.ceil(enough).astype(np.float32)
        return (self._running >= enough[:, None]).argmax(axis=1)

    def _mean_log(self, log_x: Floats) -> Floats:
        """E ln x, −∞ where somebody with 0 is in the draw."""
        none = np.isneginf(log_x)
        if not none.any():
            return self._summed(log_x) / self.total
        mean = self._summed(np.where(none, 0.0, log_x)) / self.total
        return np.where(self._summed(none.astype(float)) > 0, -np.inf, mean)

    def _log_mean_exp(self, z: Floats) -> Floats:
        """ln E eᶻ of z in the shape of x, infinities included."""
        infinite = np.isposinf(z)
        finite = np.where(infinite, -np.inf, z)
        with np.errstate(divide="ignore", invalid="ignore"):
            if (np.abs(z) < 0.5).all():  # keeps the digits of a mean close to one
                value = np.log1p(self._summed(np.expm1(z)) / self.total)
            else:
                top = finite.max(initial=-np.inf)
                top = top if np.isfinite(top) else 0.0
                share = self._summed(np.exp(finite - top)) / self.total
                value = top + np.log(share)
                faint = (share < _FAINT) & (self.total > 0)  # the greatest is not in the draw: shift by what is
                if faint.any() and np.isfinite(finite).any():
                    rows, w = (np.broadcast_to(a, (len(faint), a.shape[-1]))[faint] for a in (finite, self.counts))
                    total = np.broadcast_to(self.total, faint.shape)[faint]
                    value[faint] = logsumexp(rows, b=w, axis=1) - np.log(total)
            if infinite.any():
                value = np.where(self._summed(infinite.astype(float)) > 0, np.inf, value)
        return self._where_anybody(value)

    def _where_anybody(self, value: Floats) -> Floats:
        return np.where(self.total > 0, value, np.nan)

    def _where_positive(self, value: Floats) -> Floats:
        return np.where((self.total > 0) & (self.x[..., 0] >= 0), value, np.nan)
