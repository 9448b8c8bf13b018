"""What people get when a selector keeps the best of N candidates: exact expectations, no sampling of candidates.

Selecting hard by one reward spends a growing divergence from the policy that wrote the candidates, and what
it buys differs between groups. Utility read from the reward that selects is optimistic (it is selected for
its errors too): give utilities from held-out labels or another model where there are any.
"""

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.welfare.group_utilities import group_means, group_membership, user_means
from plurality.arrays import floats
from plurality.deprecation import renamed
from plurality.errors import InputError


def selection_probabilities(score: ArrayLike, n: ArrayLike) -> Floats:
    """Probability that each candidate is the best of n drawn without replacement, (N, ..., K).

    A block of tied candidates, of which `hi` are at or below it and `lo` below it, is chosen with probability [C(hi, n)
    − C(lo, n)] / C(K, n), each of them equally often. n > K raises InputError.

    score    (..., K) by which the K candidates of each prompt are ranked, NaN where a prompt has fewer
    n        (N,) or one number: how many candidates are drawn, whole numbers ≥ 1
    """
    s, drawn = floats(score), _numbers(n)
    if s.ndim < 1 or np.isinf(s).any():
        raise InputError("score: infinite or a single number; give finite (..., K), NaN where there is no candidate")
    rows = s.reshape(int(np.prod(s.shape[:-1])), s.shape[-1])
    held = (~np.isnan(rows)).sum(axis=1)
    short = held < drawn.max(initial=1)
    if short.any():
        row = int(short.argmax())
        raise InputError(f"n: best of {drawn.max()} of {held[row]} candidates (set {row}); lower n or drop the set")
    order = np.argsort(rows, axis=1, kind="stable")  # NaN last
    ordered = np.take_along_axis(rows, order, axis=1)
    width = rows.shape[1]
    place = np.arange(width)
    opens, closes = np.ones(rows.shape, bool), np.ones(rows.shape, bool)
    opens[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    closes[:, :-1] = opens[:, 1:]
    lo = np.maximum.accumulate(np.where(opens, place, 0), axis=1)
    hi = np.minimum.accumulate(np.where(closes, place + 1, width)[:, ::-1], axis=1)[:, ::-1]
    sizes, kind = np.unique(held, return_inverse=True)
    table = _share_below(drawn, sizes, width)
    chance = np.empty((len(drawn), *rows.shape))
    for k in range(len(drawn)):
        below = table[k][kind[:, None], np.stack([lo, hi])]
        ranked = np.where(place < held[:, None], (below[1] - below[0]) / (hi - lo), 0.0)
        np.put_along_axis(chance[k], order, ranked, axis=1)
    return chance.reshape(len(drawn), *s.shape)


def _share_below(n: NDArray[np.int64], sizes: NDArray[np.int64], width: int) -> Floats:
    """C(h, n) / C(K, n), the chance that all n lie among the h lowest of K: (N, sizes, width + 1) for h from 0."""
    h = np.arange(width, 0, -1)
    # from C(h−1, n) = C(h, n)·(h − n)/h, downwards from h = K, where it is 1
    step = np.where(h <= sizes[:, None], np.maximum(h - n[:, None, None], 0) / h, 1.0)
    falling = np.cumprod(step, axis=-1)
    return np.concatenate([np.ones((*falling.shape[:2], 1)), falling], axis=-1)[..., ::-1]


def best_of_n(score: ArrayLike, utility: ArrayLike, n: ArrayLike) -> Floats:
    """Expected utility of the best of n by score, Σ_k P(k is chosen) u_k, (N, ...).

    Leading shapes broadcast: scores (P, K) of a shared selector serve utilities (U, P, K) of all users. NaN where a
    utility that may be chosen is unknown. Raises InputError where candidates differ in number or n exceeds them.

    score      (..., K) by which K candidates are ranked, NaN where a prompt has fewer
    utility    (..., K) utility of each candidate, in any unit
    n          (N,) or one number: how many candidates are drawn without replacement

    >>> from plurality.analyses.social_choice import best_of_n
    >>> best_of_n([0.1, 0.7, 0.4], utility=[0.0, 1.0, 0.5], n=[1, 2, 3]).round(3).tolist()
    [0.5, 0.833, 1.0]
    """
    chance, u = selection_probabilities(score, n), floats(utility)
    if not u.ndim or u.shape[-1] != chance.shape[-1]:
        raise InputError(f"utility: shape {u.shape} for scores {chance.shape[1:]}; give one utility a candidate")
    parts = [np.where(share > 0, share * u, 0.0).sum(axis=-1) for share in chance]
    return np.stack(parts) if parts else np.zeros((0, *u.shape[:-1]))


def kl_bound(n: ArrayLike) -> Floats:
    """Upper bound ln n − (n−1)/n, in nats, on KL(best of n ‖ policy), (N,), reached by policies of many responses.

    It speaks of n independent draws from the policy that wrote the candidates. The divergence from the even
    choice among K given candidates is greater, up to ln n at n = K: part of it is the luck of those K.
    Beirami et al. (2024), "Theoretical guarantees on the best-of-n alignment policy".

    n    (N,) or one number: how many candidates are drawn, whole numbers ≥ 1

    >>> from plurality.analyses.social_choice import kl_bound
    >>> kl_bound([1, 4]).round(3).tolist()
    [0.0, 0.636]
    """
    drawn = _numbers(n)
    return np.log(drawn) - (drawn - 1) / drawn


def _numbers(n: ArrayLike) -> NDArray[np.int64]:
    given = np.atleast_1d(floats(n))
    bad = ~((given >= 1) & (given == np.rint(given)) & np.isfinite(given))
    if given.ndim != 1 or bad.any():
        raise InputError(f"n: {given[bad].tolist() or given.shape}; give whole numbers of candidates >= 1")
    return given.astype(np.int64)


@renamed(draws="n_bootstrap")
def best_of_n_welfare(
    score: ArrayLike,
    utility: ArrayLike,
    groups: ArrayLike,
    n: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Mean utility of each group, and of everybody, under best of n: a row each n and group with interval lo, hi.

    A user's utility is the mean over their prompts, a group's that over its users; the interval resamples users.
    Columns: n, kl_bound, group, n_users, mean, lo, hi. Raises InputError for shapes that do not fit, and for a user who
    has some but not all utilities of a prompt.

    score          (P, K) of a shared selector, or (U, P, K) of one for each user, NaN where there is no candidate
    utility        (U, P, K), NaN for a prompt that a user has no utilities of
    groups         (U,) label of each user's group
    n              (N,) or one number: how many candidates are drawn, whole numbers ≥ 1
    weights        (U,) how many people a user stands for, ≥ 0; 1 by default
    level          coverage of the interval, in (0, 1)
    n_bootstrap    resamples of users behind the interval, at least 1
    seed           makes the result the same again
    """
    u, drawn = floats(utility), _numbers(n)
    if u.ndim != 3 or np.asarray(score).shape not in (u.shape, u.shape[1:]):
        raise InputError(
            f"utility: shapes {u.shape} and scores {np.asarray(score).shape}; give (users, prompts, candidates), "
            "and scores of the same shape or (prompts, candidates)"
        )
    names, member = group_membership(groups, len(u), weights)
    # a prompt that a user never saw need not have scores for them
    seen = (~np.isnan(u)).any(axis=2)
    gained = np.full((len(drawn), *seen.shape), np.nan)
    s = floats(score)
    if s.ndim == 2:
        gained[:] = best_of_n(s, u, drawn)
    else:
        gained[:, seen] = best_of_n(s[seen], u[seen], drawn)
    unknown = np.isnan(gained).any(axis=0) & seen
    if unknown.any():
        user, prompt = np.argwhere(unknown)[0]
        raise InputError(f"utility: user {user} has some but not all utilities of prompt {prompt}; complete or drop it")
    per_user = user_means(np.where(seen, gained, np.nan))
    table, lo, hi = group_means(per_user, member, level=level, draws=n_bootstrap, seed=seed)
    counted = ((member > 0) & np.any(seen, axis=1, keepdims=True)).sum(axis=0)
    shape = (len(drawn), len(names))
    return pl.DataFrame(
        {
            "n": np.repeat(drawn, len(names)),
            "kl_bound": np.repeat(kl_bound(drawn), len(names)),
            "group": list(names) * len(drawn),
            "n_users": np.broadcast_to(counted, shape).ravel(),
            "mean": table.ravel(),
            "lo": lo.ravel(),
            "hi": hi.ravel(),
        }
    )
