"""The user-cluster bootstrap, written once: people are resampled, and their rows come with them.

A draw is a vector of counts, how often each user was drawn. Any estimate that is a ratio of sums over users
is then a matrix product: the mean over users of their own means (numerator the user's mean, denominator one)
as well as the pooled mean (numerator the user's weighted sum, denominator the user's weight). Two columns
that share their counts are paired, so their difference needs no further draws.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from scipy.stats import t as student

from plurality.arrays import floats
from plurality.errors import InputError

Floats = NDArray[np.float64]
Counts = NDArray[np.float32]

_ENTRIES = 8_000_000  # draws x users held at once in float64


def resample_counts(n_users: int, draws: int, seed: int) -> Counts:
    """Multinomial counts (draws, n_users): how often each user is drawn, n_users times with replacement.

    n_users    how many users there are, at least 1, and how many are drawn
    draws      how many resamples; 0 gives none, and no intervals
    seed       of the generator; the same seed gives the same counts
    """
    blocks = list(count_blocks(n_users, draws, seed))
    return blocks[0] if len(blocks) == 1 else np.concatenate([block.T for block in blocks], axis=1).T


def count_blocks(n_users: int, draws: int, seed: int, entries: int = _ENTRIES) -> Iterator[Counts]:
    """The rows of `resample_counts` in blocks of bounded memory; the same counts whatever the block size.

    Blocks lie in memory user by user, so that taking the columns of a few users is cheap.

    n_users    how many users there are, at least 1, and how many are drawn
    draws      how many resamples; 0 gives none, and no intervals
    seed       of the generator; the same seed gives the same counts
    entries    counts (draws × users) held at once, which bounds memory
    """
    if n_users < 1 or draws < 0:
        raise InputError(
            f"bootstrap: {n_users} users and {draws} draws; give a user, and 0 draws for no interval, or more"
        )
    if not draws:
        yield np.empty((0, n_users), np.float32)
    rng = np.random.default_rng(seed)
    size = max(1, entries // n_users)
    for at in range(0, draws, size):
        block = min(size, draws - at)
        drawn = (rng.random((block, n_users)) * n_users).astype(np.int64)
        cell = drawn * block + np.arange(block)[:, None]
        counts = np.bincount(cell.ravel(), minlength=n_users * block).astype(np.float32)
        yield counts.reshape(n_users, block).T


def per_user_sums(
    user_codes: ArrayLike, values: ArrayLike, weights: ArrayLike | None = None, n_users: int | None = None
) -> tuple[Floats, Floats]:
    """Sums over each user's rows of w·v, (users, K), and of w, (users,). Raises InputError where lengths differ.

    user_codes    (n,) user of each row, whole numbers from 0
    values        (n, K) or (n,) numbers v to be summed
    weights       (n,) weights w; 1 by default
    n_users       number of users, if some have no rows; the largest code + 1 by default
    """
    codes, table = np.asarray(user_codes), floats(values)
    table = table[:, None] if table.ndim == 1 else table
    w = np.ones(len(codes)) if weights is None else floats(weights)
    if not len(codes) == len(table) == len(w):
        raise InputError(f"lengths differ: {len(codes)} codes, {len(table)} values, {len(w)} weights; align the rows")
    users = int(codes.max(initial=-1)) + 1 if n_users is None else n_users
    sums = np.empty((users, table.shape[1]))
    for k in range(table.shape[1]):
        sums[:, k] = np.bincount(codes, w * table[:, k], minlength=users)
    return sums, np.bincount(codes, w, minlength=users).astype(float)


def ratio_draws(counts: Counts, numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Bootstrap draws (draws, K) of Σ_u n_u·numerator_u / Σ_u n_u·denominator_u, n_u how often user u was drawn.

    A draw in which nobody of the denominator was drawn is NaN. Raises InputError where numbers of users differ.

    counts         (draws, users) how often each user was drawn, as from `resample_counts`
    numerator      (users, K) or (users,) sums of each user
    denominator    (users, K) sums of each user; (users,) or (users, 1) serves every column
    """
    top, bottom = floats(numerator), floats(denominator)
    top = top[:, None] if top.ndim == 1 else top
    bottom = bottom[:, None] if bottom.ndim == 1 else bottom
    if len(top) != counts.shape[1] or len(bottom) != counts.shape[1]:
        raise InputError(f"bootstrap: {counts.shape[1]} users drawn, {len(top)} and {len(bottom)} summed; align them")
    result = np.empty((len(counts), top.shape[1]))
    size = max(1, _ENTRIES // counts.shape[1])
    for at in range(0, len(counts), size):
        block = counts[at : at + size].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            result[at : at + size] = (block @ top) / (block @ bottom)
    return result


def cluster_draws(numerator: ArrayLike, denominator: ArrayLike, *, draws: int, seed: int) -> Floats:
    """`ratio_draws` (draws, K) on fresh counts, a block at a time so that memory is bounded.

    numerator      (users, K) or (users,) sums of each user
    denominator    (users, K) sums of each user; (users,) or (users, 1) serves every column
    draws          how many resamples of users; 0 gives none
    seed           of the resamples
    """
    blocks = count_blocks(len(np.asarray(numerator)), draws, seed)
    return np.concatenate([ratio_draws(counts, numerator, denominator) for counts in blocks])


def paired_differences(draws: Floats, reference: int) -> Floats:
    """Differences (draws, K) of every column from the reference column of the same draw, which pairs them.

    draws        (draws, K) bootstrap draws of K estimates on the same resamples
    reference    number of the column that is subtracted
    """
    return draws - draws[:, [reference]]


def interval(
    draws: ArrayLike,
    level: float = 0.95,
    *,
    n_users: ArrayLike | None = None,
    estimate: ArrayLike | None = None,
) -> tuple[Floats, Floats]:
    """Percentile interval, lo and hi (...,), over the first axis of draws; NaN draws (drop-outs) are left out.

    A column with fewer than two draws, or one user, has the interval NaN. A level outside (0, 1) raises InputError.

    draws       (draws, ...) bootstrap draws of each estimate
    level       coverage of the interval, in (0, 1)
    n_users     (...,) users behind each estimate: widens the percentiles as Student's t does for so few people
                (expanded percentiles, Hesterberg 2015); not widened by default
    estimate    (...,) estimates of the sample: corrects the median bias of a statistic such as a plug-in ECE (BC, Efron
                1981), as far as the interval's own width, beyond which it says nothing; the interval then holds the
                estimate; not corrected by default
    """
    if not 0 < level < 1:
        raise InputError(f"level: {level}; give a coverage between 0 and 1, such as .95")
    table = floats(draws)
    if not len(table):
        return np.full(table.shape[1:], np.nan), np.full(table.shape[1:], np.nan)
    ordered = np.sort(table.reshape(len(table), -1), axis=0)  # NaN last
    valid = (~np.isnan(ordered)).sum(axis=0)
    z = np.full(ordered.shape[1], norm.ppf(0.5 + level / 2))
    if n_users is not None:
        users = np.broadcast_to(floats(n_users), table.shape[1:]).ravel()
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(users > 1, np.sqrt(users / (users - 1)) * student.ppf(0.5 + level / 2, users - 1), np.nan)
    shift = np.zeros_like(z)
    if estimate is not None:
        value = np.broadcast_to(floats(estimate), table.shape[1:]).ravel()
        same = np.abs(ordered - value) <= 1e-9 * np.maximum(1, np.abs(value))  # a tie is one up to rounding
        below = ((ordered < value) & ~same).sum(axis=0) + 0.5 * same.sum(axis=0)
        shift = np.clip(2 * norm.ppf((below + 0.5) / (valid + 1)), -z, z)
    lo = _order_statistic(ordered, valid, norm.cdf(shift - z))
    hi = _order_statistic(ordered, valid, norm.cdf(shift + z))
    if estimate is not None:  # no resample may come near a plug-in value that noise alone makes larger
        lo, hi = np.where(np.isnan(lo), lo, np.fmin(lo, value)), np.where(np.isnan(hi), hi, np.fmax(hi, value))
    return lo.reshape(table.shape[1:]), hi.reshape(table.shape[1:])


def _order_statistic(ordered: Floats, valid: NDArray[np.intp], share: Floats) -> Floats:
    """Quantile per column (type 7) of sorted draws, at a share of its own per column."""
    usable = (valid >= 2) & np.isfinite(share)
    position = np.where(usable, share, 0.0) * np.maximum(valid - 1, 0)
    below = np.floor(position).astype(np.intp)[None]
    above = np.ceil(position).astype(np.intp)[None]
    low, high = np.take_along_axis(ordered, below, 0)[0], np.take_along_axis(ordered, above, 0)[0]
    # equal ends are returned as they are: an infinite draw minus itself is no number
    mixed = np.where(low == high, low, low + (position - below[0]) * (high - low))
    return np.where(usable, mixed, np.nan)


def standard_error(draws: ArrayLike, n_users: ArrayLike) -> Floats:
    """Standard error (...,) of a bootstrap: the standard deviation over draws, times √(n/(n − 1)) for n users.

    Resampling n users falls short of their spread by that factor. NaN for one user or one draw.

    draws      (draws, ...) bootstrap draws of each estimate; NaN draws are left out
    n_users    (...,) users behind each estimate
    """
    table, users = floats(draws), floats(n_users)
    valid = ~np.isnan(table)
    count = valid.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(valid, table, 0).sum(axis=0) / count
        variance = np.where(valid, (table - mean) ** 2, 0).sum(axis=0) / (count - 1)
        return np.where(users > 1, np.sqrt(variance * users / (users - 1)), np.nan)


def two_sided_p(estimate: ArrayLike, error: ArrayLike, n_users: ArrayLike) -> Floats:
    """Two-sided p-value (...,) of an estimate being 0, by Student's t with n − 1 degrees of freedom for n users.

    NaN where the error is 0 or unknown, and for one user.

    estimate    (...,) estimates, in any unit
    error       (...,) their standard errors, in the same unit
    n_users     (...,) users behind each estimate
    """
    value, scale, users = (floats(a) for a in (estimate, error, n_users))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(scale > 0, np.abs(value) / scale, np.nan)
        return 2 * student.sf(ratio, np.where(users > 1, users - 1, np.nan))
