"""Who is harmed by a change of predictions: the share of users whose loss truly rises, noise taken off.

A user's loss on a few held-out rows goes up by luck alone, so that counting those whose loss went up counts noise. What
is counted here is the change that would be seen on ever more rows.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, ndtr
from scipy.stats import norm

from plurality.analyses.calibration.calibration import log_loss_rows
from plurality.analyses.inference.bootstrap import count_blocks, interval
from plurality.arrays import Float, Int

__all__ = ["Changes", "harmed_with_interval", "share_harmed", "surely_harmed"]

BEYOND = np.array([2.0, 3.0])  # standard errors from which the lower bound counts
NEGLIGIBLE = 1e-3  # nats a comparison: two models whose losses differ by less harm nobody, however sure the sign is
FEW = 10  # rows of a user, below which noise may have any shape


@dataclass(frozen=True)
class Changes:
    """What own codes change in each user's log-loss on held-out rows, in nats; above 0 is worse.

    mean        (U,) over each user's rows
    variance    (U,) of that mean, by the rows and labels that happened to be drawn
    skewness    (U,) of that mean, at most
    rows        (U,) weight of each user's rows
    """

    mean: Float
    variance: Float
    skewness: Float
    rows: Float

    @staticmethod
    def of(own: Float, population: Float, label: Float, weight: Float, user: Int) -> "Changes":
        """Changes of each user, from the log-odds of both lines on the same rows.

        d_i = loss(own_i) − loss(population_i) varies with the label by p(1 − p)(own − population)², p halfway between
        the two. That shape, times a factor from how the d of one user vary over all users' rows, gives each user a
        variance that does not hang on a handful of rows. Rows of one user are taken to be independent.

        own           (N,) log-odds under the users' own codes
        population    (N,) log-odds under the population's code
        label         (N,) P(first preferred)
        weight        (N,) of the rows; a weight of 3 is the row three times
        user          (N,) user of each row, whole numbers from 0
        """
        d = log_loss_rows(expit(own), label, own) - log_loss_rows(expit(population), label, population)
        p = expit((own + population) / 2)
        shape = p * (1 - p) * np.square(own - population)
        rows = np.bincount(user, weight).astype(float)
        mean = np.bincount(user, weight * d) / rows
        expected = np.bincount(user, weight * shape)
        within = float((weight * np.square(d - mean[user])).sum())
        free = float((expected * np.clip(1 - 1 / rows, 0, None)).sum())  # as n − 1 in a sample variance
        third = np.bincount(user, weight * shape * np.abs((1 - 2 * p) * (own - population)))
        with np.errstate(divide="ignore", invalid="ignore"):
            skewness = np.nan_to_num(third / expected**1.5)
        return Changes(mean, (within / free if free > 0 else 1.0) * expected / rows**2, skewness, rows)


def share_harmed(changes: Changes, counts: Float) -> tuple[Float, Float]:
    """Share of users whose true change θ is above 0, and the sd τ of θ over users: (draws, U) -> (draws,), (draws,).

    θ_u ~ N(μ, τ²), measured as d_u ~ N(θ_u, s_u²): μ = mean d, τ² = max(0, var d − mean s²), by moments in which every
    user counts alike; then, with B_u = τ² / (τ² + s_u²),

        share = mean over users of P(θ_u > 0 | d_u) = Φ((μ + B_u (d_u − μ)) / (s_u √B_u)).

    Over people who fit the normal curve this is Φ(μ/τ); of others it follows the measured users the more closely the
    better each is measured, which Φ(μ/τ) does not. With τ = 0 users do not differ beyond noise, and the share is 1 or 0
    by the sign of μ. Efron & Morris 1975; by moments: Morris 1983.

    changes    of each user
    counts     (draws, U) how often each user counts; a row of ones is the estimate
    """
    d, v = changes.mean, changes.variance
    n = counts.sum(1, keepdims=True)
    mean = (counts @ d)[:, None] / n
    spread = ((counts @ np.square(d))[:, None] - n * np.square(mean)) / np.maximum(n - 1, 1)
    true = np.maximum(spread - (counts @ v)[:, None] / n, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.where(v > 0, true / (true + v), 1.0)
        expected, sd = mean + kept * (d - mean), np.sqrt(kept * v)
        above = np.where(sd > 0, ndtr(expected / sd), expected > 0)
    return (counts * above).sum(1) / n[:, 0], np.sqrt(true[:, 0])


def surely_harmed(changes: Changes, counts: Float) -> Float:
    """Lower bounds of the share that need no shape of θ, one for each t of BEYOND: (draws, U) -> (draws, T).

    Where θ_u ≤ 0, d_u is beyond t s_u with a probability of at most q_u, so that share ≥ F(t) − mean q, F(t) the share
    of users beyond t (as Storey 2002 bounds how many null hypotheses are false). q_u = 1 / (1 + t²) whatever the noise
    (Cantelli); of FEW rows or more, the normal tail with its skewness γ_u (Edgeworth), if that is less:
    Φ(−t) + ϕ(t) (t² − 1) γ_u / 6. A few rows are skewed: small gains are usual and large losses rare.

    changes    of each user
    counts     (draws, U) how often each user counts
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.nan_to_num(changes.mean / np.sqrt(changes.variance))[:, None]  # nothing changed: 0
    any_noise = 1 / (1 + np.square(BEYOND))
    skewed = norm.sf(BEYOND) + norm.pdf(BEYOND) * (np.square(BEYOND) - 1) * changes.skewness[:, None] / 6
    most = np.where(changes.rows[:, None] < FEW, any_noise, np.minimum(skewed, any_noise))
    bound: Float = counts @ ((z > BEYOND) - most) / counts.sum(1, keepdims=True)
    return bound


def harmed_with_interval(changes: Changes, n_bootstrap: int, seed: int, level: float) -> dict[str, float]:
    """`change`, `observed`, `harmed`, `lo`, `hi`, `sd`, as `plurality.evaluation.harm.harmed_table` has them.

    Harmed is whose true change is above NEGLIGIBLE, .001 nats a comparison.

    changes        of each user
    n_bootstrap    resamples of users behind the interval
    seed           of the resamples
    level          coverage of the interval, in (0, 1)
    """
    n = len(changes.mean)
    beyond = replace(changes, mean=changes.mean - NEGLIGIBLE)
    share, sd = share_harmed(beyond, np.ones((1, n)))
    blocks = [c.astype(np.float64) for c in count_blocks(n, n_bootstrap, seed)]
    drawn = np.concatenate([share_harmed(beyond, c)[0] for c in blocks])
    sure = np.concatenate([surely_harmed(beyond, c) for c in blocks])
    lo, hi = interval(drawn, level)
    least, _ = interval(sure, 1 - (1 - level) / len(BEYOND))  # the best of them, so each more carefully
    lowest = np.clip(np.nanmax(least) if np.isfinite(least).any() else np.nan, 0, 1)
    return {
        "change": float(changes.mean.mean()),
        "observed": float((changes.mean > 0).mean()),
        "harmed": float(share[0]),
        "lo": float(np.minimum(lo, lowest)),
        "hi": float(hi),
        "sd": float(sd[0]),
    }
