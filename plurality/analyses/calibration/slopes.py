"""How far stated log-odds must be stretched to be true: calibration slope, temperature, position bias.

`gap` (n,) is the predicted log-odds that the first response is preferred, `y` (n,) the label in [0, 1]. The
slope b of logit P(y = 1) = b·gap has no intercept, as fits comparisons that can be written down from either
side, and is 1/T for the temperature T that recalibrates the model: b < 1 is overconfident. Errors are robust
to what the rows of one user share.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import t as student

from plurality.analyses.calibration.binning import Floats, checked, distinct, refuse_one_sided
from plurality.analyses.calibration.calibration import log_loss_rows
from plurality.analyses.welfare.welfare import Shrunk, shrink
from plurality.arrays import floats
from plurality.errors import InputError

Ints = NDArray[np.intp]

NO_DATA, NO_SPREAD, SEPARABLE, ONE_USER, NOT_POSITIVE = (
    "no data",
    "no spread",  # every gap is 0: any slope fits
    "separable",  # the best slope is infinite
    "one user",  # no interval
    "slope <= 0",  # no temperature
)
_ROUNDS = 200
_NAN = float("nan")


@dataclass(frozen=True)
class Slope:
    """Calibration slope b of logit P(y = 1) = b·gap, 1 for a calibrated model, below 1 for an overconfident one.

    slope          b
    se             its standard error, robust to what the rows of a user share; NaN without users
    lo, hi         ends of its interval; NaN without users
    temperature    1/b, by which log-odds are to be divided; NaN where b ≤ 0
    n_users        users with a comparison of positive weight; 0 where users were not given
    flag           empty, or why something is NaN: "no data", "no spread", "separable", "one user" or "slope <= 0"
    """

    slope: float
    se: float
    lo: float
    hi: float
    temperature: float
    n_users: int
    flag: str

    @property
    def temperature_interval(self) -> tuple[float, float]:
        """The interval of the temperature, (1/hi, 1/lo); without end where the slope may be 0."""
        lo, hi = _inverted(np.array([self.lo]), np.array([self.hi]))
        return float(lo[0]), float(hi[0])


def slope(
    gap: ArrayLike,
    y: ArrayLike,
    *,
    users: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Slope:
    """Maximum-likelihood slope b of logit P(y = 1) = b·gap, with the sandwich error clustered by `users` (n,).

    se² = G/(G − 1) · Σ_u (Σ_{i∈u} w_i gap_i (y_i − σ(b·gap_i)))² / (Σ_i w_i gap_i² σ(1 − σ))², G users, and
    the interval is Student's t with G − 1 degrees of freedom (Liang & Zeger 1986). Exchanging the sides of
    any comparison changes nothing. Without `users` there is no interval. NaN with a flag where the slope is
    not a finite number; bad rows raise InputError.

    gap        (n,) log-odds
    y          (n,) labels in [0, 1]
    users      (n,) user of each comparison; without them by default there is no error
    weights    (n,) frequencies; equal by default
    level      coverage of the interval, in (0, 1)

    >>> from plurality.analyses.calibration import slope
    >>> found = slope([2.0, 1.0, -1.0, 3.0, -2.0, 1.5], [1, 0, 0, 1, 1, 1])
    >>> round(found.slope, 3), round(found.temperature, 3)
    (0.464, 2.153)
    """
    frame = slopes_by_group(gap, y, np.zeros(len(np.asarray(gap)), int), users=users, weights=weights, level=level)
    if frame.is_empty():
        return Slope(_NAN, _NAN, _NAN, _NAN, _NAN, 0, NO_DATA)
    return Slope(**frame.select("slope", "se", "lo", "hi", "temperature", "n_users", "flag").row(0, named=True))


def slopes_by_group(
    gap: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike,
    *,
    users: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> pl.DataFrame:
    """`slope` of every group (n,) of comparisons at once, a row a group in ascending order.

    Beside the fields of `Slope`: `n` rows, `temperature_lo`, `temperature_hi`, and `temperature_shrunk`, the
    temperature after `shrunk_log_temperature`.

    gap        (n,) log-odds
    y          (n,) labels in [0, 1]
    groups     (n,) label of each comparison's group
    users      (n,) user of each comparison; without them by default there is no error
    weights    (n,) frequencies; equal by default
    level      coverage of the interval, in (0, 1)
    """
    d, y, w = checked_gaps(gap, y, weights)
    names, code = distinct(groups)
    if len(code) != len(d):
        raise InputError(f"groups: {len(code)} for {len(d)} comparisons; give one a comparison")
    n, rows = np.bincount(code, minlength=len(names)), w > 0
    d, y, w, code = d[rows], y[rows], w[rows], code[rows]
    estimate, flag = fitted_slopes(d, y, w, code, len(names))
    fitted = expit(np.nan_to_num(estimate)[code] * d)
    information = np.bincount(code, w * d**2 * fitted * (1 - fitted), minlength=len(names))
    n_users, se = np.zeros(len(names), np.int64), np.full(len(names), np.nan)
    if users is not None:
        member = user_codes(users, len(rows))[rows]
        most = int(member.max(initial=0)) + 1
        pair, cell = distinct(code * most + member)
        owner = pair // most
        n_users = np.bincount(owner, minlength=len(names))
        meat = np.bincount(owner, np.bincount(cell, w * d * (y - fitted)) ** 2, minlength=len(names))
        with np.errstate(divide="ignore", invalid="ignore"):
            se = np.sqrt(meat * n_users / (n_users - 1)) / information
        flag = np.where((flag == "") & (n_users == 1), ONE_USER, flag)
    se = np.where(np.isfinite(estimate) & np.isfinite(se), se, np.nan)
    half = se * _critical(n_users - 1, level)
    with np.errstate(divide="ignore"):
        temperature = np.where(estimate > 0, 1 / estimate, np.nan)
    lowest, highest = _inverted(estimate - half, estimate + half)
    columns = {
        "group": names,
        "n": n,
        "n_users": n_users,
        "slope": estimate,
        "se": se,
        "lo": estimate - half,
        "hi": estimate + half,
        "temperature": temperature,
        "temperature_lo": lowest,
        "temperature_hi": highest,
        "temperature_shrunk": np.exp(shrunk_log_temperature(estimate, se).value),
        "flag": np.where((flag == "") & (estimate <= 0), NOT_POSITIVE, flag).astype(str),
    }
    return pl.DataFrame(columns)


def shrunk_log_temperature(slopes: ArrayLike, se: ArrayLike) -> Shrunk:
    """Empirical-Bayes log T_g ~ N(mean, tau²) of group slopes (G,) with errors (G,), log T_g = −log slope.

    The error of log T is se/slope to first order, so a slope within two errors of 0 is not well described;
    groups whose slope is unknown or not positive stay NaN. See `welfare.shrink`.

    slopes    (G,) calibration slopes of groups
    se        (G,) their standard errors, in the same unit
    """
    b, s = floats(slopes), floats(se)
    positive = np.where(b > 0, b, np.nan)
    return shrink(-np.log(positive), s / positive)


@dataclass(frozen=True)
class PositionBias:
    """Preference for the response that is shown first, a of logit P(y = 1) = a + b·gap.

    intercept    a in log-odds, above 0 where the response shown first is favoured
    se           its standard error, robust to what the rows of a user share; NaN without users
    lo, hi       ends of its interval; NaN without users
    slope        b, fitted with it
    n_users      users with a comparison of positive weight; 0 where users were not given
    flag         empty, or why something is NaN, as in `Slope`
    """

    intercept: float
    se: float
    lo: float
    hi: float
    slope: float
    n_users: int
    flag: str


def position_bias(
    gap: ArrayLike,
    y: ArrayLike,
    *,
    users: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> PositionBias:
    """Intercept a of logit P(y = 1) = a + b·gap for comparisons in the order people were shown them.

    The sandwich error is clustered by `users` (n,) and scaled by G/(G − 1) · (n − 1)/(n − 2), n the sum of
    weights. A gap that never varies, or that splits the labels without overlap, gives NaN and a flag. Labels
    all on one side raise InputError: then the winner was stored first, and there is no display order.

    gap        (n,) log-odds
    y          (n,) labels in [0, 1]
    users      (n,) user of each comparison; without them by default there is no error
    weights    (n,) frequencies; equal by default
    level      coverage of the interval, in (0, 1)
    """
    d, y, w = checked_gaps(gap, y, weights)
    rows = w > 0
    member = None if users is None else user_codes(users, len(rows))[rows]
    d, y, w = d[rows], y[rows], w[rows]
    n_users = 0 if member is None else len(np.unique(member))
    flag = NO_DATA if not len(d) else NO_SPREAD if np.ptp(d) == 0 else ""
    if not flag:
        refuse_one_sided(y)
        lost, won = d[y < 1], d[y > 0]
        overlap = len(lost) and len(won) and lost.max() > won.min() and won.max() > lost.min()
        flag = "" if overlap else SEPARABLE
    if flag:
        return PositionBias(_NAN, _NAN, _NAN, _NAN, _NAN, n_users, flag)
    # a gap of mean 0 and spread 1 keeps the two equations well apart
    mean = float(w @ d / w.sum())
    scale = float(np.sqrt(w @ (d - mean) ** 2 / w.sum()))
    x = np.stack([np.ones(len(d)), (d - mean) / scale], axis=1)
    beta = _newton(x, y, w)
    fitted = expit(x @ beta)
    information = (x * (w * fitted * (1 - fitted))[:, None]).T @ x
    if np.linalg.cond(information) > 1e12:  # separable up to rounding
        return PositionBias(_NAN, _NAN, _NAN, _NAN, _NAN, n_users, SEPARABLE)
    bread = np.linalg.inv(information)
    back = np.array([[1.0, -mean / scale], [0.0, 1 / scale]])
    intercept, steepness = back @ beta
    if member is None or n_users < 2 or w.sum() <= 2:
        only = ONE_USER if n_users == 1 else ""
        return PositionBias(float(intercept), _NAN, _NAN, _NAN, float(steepness), n_users, only)
    cell = np.unique(member, return_inverse=True)[1]
    score = np.stack([np.bincount(cell, w * (y - fitted) * x[:, k]) for k in (0, 1)], axis=1)
    correction = n_users / (n_users - 1) * (w.sum() - 1) / (w.sum() - 2)
    cover = back @ bread @ (score.T @ score) @ bread @ back.T * correction
    se = float(np.sqrt(cover[0, 0]))
    half, value = se * float(_critical(np.array(n_users - 1), level)), float(intercept)
    return PositionBias(value, se, value - half, value + half, float(steepness), n_users, "")


def checked_gaps(gap: ArrayLike, y: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    """Gaps, labels and weights as float arrays of one length (n,); InputError names the first bad row."""
    d = floats(gap)
    bad = np.flatnonzero(~np.isfinite(d))
    if d.ndim != 1 or len(bad):
        where = f"row {bad[0]} is {d.ravel()[bad[0]]}" if len(bad) else f"shape {d.shape}"
        raise InputError(f"gap: {where}; give one finite number of log-odds a comparison")
    _, labels, w = checked(np.full(len(d), 0.5), y, weights)
    return d, labels, w


def user_codes(users: ArrayLike, n: int) -> Ints:
    """Codes from 0 (n,) of the users of n comparisons, in ascending order of the users."""
    _, codes = distinct(users)
    if len(codes) != n:
        raise InputError(f"users: {len(codes)} for {n} comparisons; give one a comparison")
    return codes


def _critical(freedom: NDArray[np.integer], level: float) -> Floats:
    if not 0 < level < 1:
        raise InputError(f"level: {level}; give a coverage between 0 and 1, such as .95")
    return np.where(freedom > 0, student.ppf(0.5 + level / 2, np.maximum(freedom, 1)), np.nan)


def _inverted(lo: Floats, hi: Floats) -> tuple[Floats, Floats]:
    """Temperatures of an interval of slopes; infinite where a slope of 0 is inside, NaN where none is positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        lowest = np.where(hi > 0, 1 / hi, np.nan)
        return lowest, np.where(lo > 0, 1 / lo, np.where(hi > 0, np.inf, np.nan))


def fitted_slopes(d: Floats, y: Floats, w: Floats, code: Ints, groups: int) -> tuple[Floats, NDArray[np.str_]]:
    """Slopes (groups,) of checked rows (n,) with codes from 0, by one bracketed Newton iteration for all
    groups; NaN where a flag (groups,) says why.
    """

    def total(values: Floats) -> Floats:
        return np.bincount(code, values, minlength=groups).astype(float)

    x, z = np.abs(d), np.where(d > 0, y, 1 - y)  # the sign of a gap can always be had positive
    square, weight = total(w * x**2), total(w)
    # the slope is finite exactly if gap-weighted labels speak both ways
    mixed = (total(w * x * z) > 0) & (total(w * x * (1 - z)) > 0)
    kinds = [weight == 0, square == 0, ~mixed]
    flag = np.select(kinds, [NO_DATA, NO_SPREAD, SEPARABLE], default="")
    solvable = flag == ""
    scale = np.sqrt(np.divide(square, weight, out=np.ones(groups), where=solvable))
    kept = solvable[code]
    code, x, z, w = code[kept], (x / scale[code])[kept], z[kept], w[kept]
    b, low, high = np.zeros(groups), np.full(groups, -np.inf), np.full(groups, np.inf)
    for _ in range(_ROUNDS):
        fitted = expit(b[code] * x)
        score, information = total(w * x * (z - fitted)), total(w * x**2 * fitted * (1 - fitted))
        low, high = np.where(score > 0, b, low), np.where(score < 0, b, high)
        far = np.where(score == 0, 0.0, np.copysign(np.inf, score))
        step = np.divide(score, information, out=far, where=information > 0)
        reach = 4 * (1 + np.abs(b))
        moved = b + np.clip(step, -reach, reach)
        with np.errstate(invalid="ignore"):
            moved = np.where((moved < low) | (moved > high), (low + high) / 2, moved)
        done = np.abs(moved - b) <= 1e-14 * (1 + np.abs(b))
        b = moved
        if done.all():
            break
    return np.where(solvable, b / scale, np.nan), flag


def _newton(x: Floats, y: Floats, w: Floats) -> Floats:
    """Logistic regression of y (n,) on x (n, 2) with a finite optimum, by Newton steps that never lose."""

    def loss(beta: Floats) -> float:
        return float(w @ log_loss_rows(y, y, x @ beta))

    beta = np.zeros(x.shape[1])
    for _ in range(_ROUNDS):
        fitted = expit(x @ beta)
        curvature = (x * (w * fitted * (1 - fitted))[:, None]).T @ x
        step = np.linalg.lstsq(curvature, x.T @ (w * (y - fitted)))[0]
        before = loss(beta)
        while loss(beta + step) > before + 1e-12 * abs(before) and np.abs(step).max() > 1e-14:
            step = step / 2
        beta = beta + step
        if np.abs(step).max() <= 1e-13 * (1 + np.abs(beta).max()):
            break
    return beta
