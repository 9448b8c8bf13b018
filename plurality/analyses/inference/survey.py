"""Means and ratios of a population from a survey: strata, clusters, weights, finite population, replicate weights.

    x̄ = Σ w_i x_i / Σ w_i,   z_i = w_i (x_i − x̄) / Σ w_i
    V(x̄) = Σ_h (1 − n_h/N_h) · n_h/(n_h − 1) · Σ_c (z_hc − z̄_h)²
with z_hc the sum over cluster c of stratum h, of whose N_h clusters n_h were drawn: Taylor linearisation, clusters
within a stratum as if drawn with replacement but for the correction (Binder 1983; Lumley 2004, R's `survey`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from plurality.analyses.agreement.agreement import codes_of
from plurality.analyses.inference.bootstrap import Floats
from plurality.arrays import floats
from plurality.errors import InputError

__all__ = [
    "Replicates",
    "SurveyDesign",
    "Surveyed",
    "bootstrap_weights",
    "jackknife_weights",
    "survey_difference",
    "survey_mean",
    "survey_ratio",
]

Lonely = Literal["error", "adjust", "remove"]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Replicates:
    """Replicate weights of n people: R columns, each a sample as it might have come out.

    weights    (n, R) weights of the people in each replicate, the sampling weights included
    scale      factor of the sum over replicates
    rscales    (R,) factor of each replicate; 1 by default
    mse        squares around the estimate of the whole sample, not around the mean of the replicates
    df         degrees of freedom; R − 1 by default
    """

    weights: ArrayLike
    scale: float
    rscales: ArrayLike | None = None
    mse: bool = False
    df: float | None = None


@dataclass(frozen=True, eq=False)
class SurveyDesign:
    """How n people came into a sample. Raises InputError where arrays do not fit.

    weights       (n,) sampling weights > 0: how many of the population a person stands for
    strata        (n,) labels of strata; one by default
    psu           (n,) labels of the clusters that were drawn, nested in strata; people themselves by default
    fpc           (n,) clusters in the population of the person's stratum, or the share that was drawn where ≤ 1
    replicates    replicate weights, which are then used instead of strata, clusters and correction
    lonely        stratum of one cluster: "error", "adjust" (its distance from the mean over all clusters), or "remove"
    """

    weights: ArrayLike
    strata: ArrayLike | None = None
    psu: ArrayLike | None = None
    fpc: ArrayLike | None = None
    replicates: Replicates | None = None
    lonely: Lonely = "error"

    def __post_init__(self) -> None:
        w = floats(self.weights)
        if w.ndim != 1 or not len(w) or not (np.isfinite(w) & (w > 0)).all():
            raise InputError(f"weights: shape {w.shape}; give each person a finite weight above 0")
        if self.replicates is not None:
            given = floats(self.replicates.weights)
            if given.ndim != 2 or len(given) != len(w) or not np.isfinite(given).all():
                raise InputError(
                    f"replicates: shape {given.shape} for {len(w)} people; give (people, replicates), finite"
                )
        if self.lonely not in ("error", "adjust", "remove"):
            raise InputError(f'lonely: {self.lonely!r}; use "error", "adjust" or "remove"')


@dataclass(frozen=True, eq=False)
class Surveyed:
    """An estimate of the population, (K,) each.

    estimate    mean, or ratio
    se          its standard error
    lo, hi      interval by Student's t with `df` degrees of freedom
    df          clusters less strata, or that of the replicates
    deff        variance over that of a simple random sample of as many people, drawn with replacement (Kish 1965)
    n           people in the domain
    """

    estimate: Floats
    se: Floats
    lo: Floats
    hi: Floats
    df: float
    deff: Floats
    n: int


def survey_mean(
    x: ArrayLike, design: SurveyDesign, *, domain: ArrayLike | None = None, level: float = 0.95
) -> Surveyed:
    """Mean of the population, or of a domain of it, as `svymean` of R's survey gives it.

    A domain keeps the whole design: people outside it are sums of 0, not left out. Raises InputError for shapes, and
    for a stratum of one cluster (see `SurveyDesign.lonely`).

    x         (n,) or (n, K) numbers of each person
    design    how they were sampled
    domain    (n,) True for the people who are meant; all by default
    level     coverage of the interval, in (0, 1)

    >>> from plurality.analyses.inference import SurveyDesign, survey_mean
    >>> found = survey_mean([1.0, 0.0, 1.0, 1.0], SurveyDesign([2, 1, 1, 4], psu=["a", "a", "b", "c"]))
    >>> round(float(found.estimate[0]), 3), round(float(found.se[0]), 3), found.df
    (0.875, 0.124, 2.0)
    """
    values = _columns(x, design)
    return _found(values, np.ones_like(values), design, domain, level)


def survey_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    design: SurveyDesign,
    *,
    domain: ArrayLike | None = None,
    level: float = 0.95,
) -> Surveyed:
    """Ratio Σ w y / Σ w x of the population, as `svyratio` of R's survey gives it; `deff` is NaN.

    numerator      (n,) or (n, K) numbers y of each person
    denominator    (n,) or (n, K) numbers x
    design         how they were sampled
    domain         (n,) True for the people who are meant; all by default
    level          coverage of the interval, in (0, 1)
    """
    top = _columns(numerator, design)
    bottom = np.broadcast_to(_columns(denominator, design), top.shape)
    found = _found(top, bottom, design, domain, level)
    return Surveyed(found.estimate, found.se, found.lo, found.hi, found.df, np.full_like(found.se, np.nan), found.n)


def survey_difference(
    x: ArrayLike, design: SurveyDesign, domain: ArrayLike, other: ArrayLike, *, level: float = 0.95
) -> Surveyed:
    """Difference of the means of two domains, which may share people, as `svycontrast` of R's survey gives it.

    z of the one less z of the other is linearised, so that what the two share, people or clusters, is taken into
    account; `deff` is NaN and `n` the people of the first.

    x         (n,) or (n, K) numbers of each person
    design    how they were sampled
    domain    (n,) True for the people whose mean is taken
    other     (n,) True for those whose mean is taken off
    level     coverage of the interval, in (0, 1)
    """
    values = _columns(x, design)
    weights = floats(design.weights)
    held = [weights * inside for inside in (_inside(domain, weights), _inside(other, weights))]
    means = [w @ values / w.sum() for w in held]
    one, two = (w[:, None] * (values - mean) / w.sum() for w, mean in zip(held, means, strict=True))

    def value(again: Floats) -> Floats:
        first, second = (again * (w > 0) for w in held)
        result: Floats = first @ values / first.sum() - second @ values / second.sum()
        return result

    estimate = means[0] - means[1]
    found = _of_linear(one - two, value, estimate, design, level)
    return Surveyed(*found, np.full_like(estimate, np.nan), int((held[0] > 0).sum()))


def _inside(domain: ArrayLike | None, w: Floats) -> NDArray[np.bool_]:
    inside = np.ones(len(w), bool) if domain is None else np.asarray(domain).astype(bool)
    if inside.shape != w.shape or not inside.any():
        raise InputError(
            f"domain: shape {inside.shape}, {inside.sum()} of {len(w)} people; give True for some, one each"
        )
    return inside


def _of_linear(
    z: Floats, value: Callable[[Floats], Floats], estimate: Floats, design: SurveyDesign, level: float
) -> tuple[Floats, Floats, Floats, Floats, float]:
    """Estimate, error, interval and degrees of freedom of what is `value` of weights, linearised as z (n, K)."""
    if not 0 < level < 1:
        raise InputError(f"level: {level}; give a coverage between 0 and 1, such as .95")
    if design.replicates is None:
        variance, df = _linearised(z, design)
    else:
        variance, df = _replicated(value, estimate, design.replicates)
    se = np.sqrt(variance)
    half = student.isf((1 - level) / 2, df) * se if df > 0 else np.full_like(se, np.nan)
    return estimate, se, estimate - half, estimate + half, df


def _columns(x: ArrayLike, design: SurveyDesign) -> Floats:
    values = floats(x)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != len(floats(design.weights)) or not np.isfinite(values).all():
        raise InputError(
            f"survey: shape {values.shape} for {len(floats(design.weights))} people; give finite (n,) or (n, K)"
        )
    return values


def _found(top: Floats, bottom: Floats, design: SurveyDesign, domain: ArrayLike | None, level: float) -> Surveyed:
    w = floats(design.weights)
    inside = _inside(domain, w)

    def value(weights: Floats) -> Floats:
        held = weights * inside
        result: Floats = (held @ top) / (held @ bottom)
        return result

    estimate = value(w)
    z = (w * inside)[:, None] * (top - estimate * bottom) / ((w * inside) @ bottom)
    found = _of_linear(z, value, estimate, design, level)
    n, total = int(inside.sum()), (w * inside).sum()
    spread = ((w * inside) @ (top - estimate * bottom) ** 2) / total * n / max(n - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        deff = np.where(spread > 0, found[1] ** 2 * n / spread, np.nan)
    return Surveyed(*found, deff, n)


def clusters(design: SurveyDesign) -> tuple[Ints, Ints, Ints]:
    """Cluster of each person (n,), stratum of each cluster (C,), clusters of each stratum (H,).

    design    strata and clusters
    """
    n = len(floats(design.weights))
    strata, psu = (
        (np.zeros(n) if design.strata is None else design.strata),
        (np.arange(n) if design.psu is None else design.psu),
    )
    stratum, cluster = codes_of(n, (("strata", strata), ("psu", psu)))
    pairs, place = np.unique(np.stack([stratum, cluster], axis=1), axis=0, return_inverse=True)
    return place.ravel(), pairs[:, 0], np.bincount(pairs[:, 0])


def _linearised(z: Floats, design: SurveyDesign) -> tuple[Floats, float]:
    place, home, size = clusters(design)
    totals = np.stack([np.bincount(place, column, minlength=len(home)) for column in z.T], axis=1)
    centre = np.stack([np.bincount(home, column) for column in totals.T], axis=1) / size[:, None]
    lonely = size == 1
    if lonely.any() and design.lonely == "error":
        raise InputError(f'survey: {int(lonely.sum())} strata have one cluster; merge strata, or give lonely="adjust"')
    if design.lonely == "adjust":
        centre[lonely] = totals.mean(axis=0)
    scale = np.where(lonely, 1.0, size / np.maximum(size - 1, 1)) * _left(design, place, home, size)
    squares = (totals - centre[home]) ** 2
    variance = (scale[home][:, None] * squares).sum(axis=0)
    return variance, float(len(home) - len(size))


def _left(design: SurveyDesign, place: Ints, home: Ints, size: Ints) -> Floats:
    """1 − the share of clusters that was drawn, of each stratum (H,)."""
    if design.fpc is None:
        return np.ones(len(size))
    given = floats(design.fpc)
    if given.shape != place.shape or not (np.isfinite(given) & (given > 0)).all():
        raise InputError(f"fpc: shape {given.shape} for {len(place)} people; give clusters in the stratum's population")
    stratum = home[place]
    low, high = np.full(len(size), np.inf), np.zeros(len(size))
    np.minimum.at(low, stratum, given)
    np.maximum.at(high, stratum, given)
    if (low != high).any():
        raise InputError("fpc: differs within a stratum; give one number a stratum")
    share = np.where(high <= 1, high, size / np.where(high > 1, high, 1))
    if (share > 1).any():
        h = int(np.argmax(share > 1))
        raise InputError(f"fpc: {high[h]:g} clusters in a stratum of which {size[h]} were drawn; give those there are")
    return 1 - share


def _replicated(value: Callable[[Floats], Floats], estimate: Floats, given: Replicates) -> tuple[Floats, float]:
    table = floats(given.weights)
    scales = (
        np.ones(table.shape[1]) if given.rscales is None else np.broadcast_to(floats(given.rscales), table.shape[1:])
    )
    each = np.stack([value(column) for column in table.T])
    centre = estimate if given.mse else each[scales > 0].mean(axis=0)
    variance = given.scale * (scales[:, None] * (each - centre) ** 2).sum(axis=0)
    return variance, float(table.shape[1] - 1 if given.df is None else given.df)


def jackknife_weights(design: SurveyDesign) -> Replicates:
    """Replicate weights that leave out a cluster each: JKn, and JK1 without strata.

    Of stratum h the other clusters weigh n_h/(n_h − 1) as much; the replicate counts (1 − f_h)(n_h − 1)/n_h. Raises
    InputError for a stratum of one cluster. Source: Wolter 2007; `as.svrepdesign` of R's survey.

    design    strata, clusters, weights and correction
    """
    place, home, size = clusters(design)
    if (size == 1).any():
        raise InputError(
            f"survey: {int((size == 1).sum())} strata have one cluster, which cannot be left out; merge strata"
        )
    w = floats(design.weights)
    factor = np.ones((len(home), len(home)))
    for c in range(len(home)):
        same = home == home[c]
        factor[same, c] = size[home[c]] / (size[home[c]] - 1)
        factor[c, c] = 0.0
    scales = ((size - 1) / size * _left(design, place, home, size))[home]
    return Replicates(w[:, None] * factor[place], 1.0, scales, df=float(len(home) - len(size)))


def bootstrap_weights(design: SurveyDesign, replicates: int = 500, *, seed: int = 0) -> Replicates:
    """Replicate weights by drawing n_h − 1 of a stratum's n_h clusters with replacement, scaled by n_h/(n_h − 1).

    Its variance is that of linearisation, but for chance and the finite population, for which it has no correction.
    Raises InputError for a stratum of one cluster. Source: Rao & Wu 1988; "subbootstrap" of R's survey.

    design        strata, clusters and weights
    replicates    how many, at least 2
    seed          of the draws
    """
    place, home, size = clusters(design)
    if (size == 1).any() or replicates < 2:
        raise InputError(
            f"survey: {int((size == 1).sum())} strata of one cluster, {replicates} replicates; merge, give >= 2"
        )
    rng, factor = np.random.default_rng(seed), np.zeros((len(home), replicates))
    for h, n in enumerate(size.tolist()):
        factor[home == h] = rng.multinomial(n - 1, np.full(n, 1 / n), replicates).T * (n / (n - 1))
    return Replicates(
        floats(design.weights)[:, None] * factor[place], 1 / (replicates - 1), df=float(len(home) - len(size))
    )
