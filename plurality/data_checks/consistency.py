"""How far people agree with one another, and with themselves: what noise alone leaves to personalise.

If a person asked twice disagrees with herself as often as two persons disagree, their disagreement is noise.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from plurality.analyses.agreement.agreement import bounds, count_columns, incidence, krippendorff_alpha
from plurality.analyses.agreement.item_disagreement import disagreement
from plurality.analyses.inference.bootstrap import Floats, cluster_draws, interval, per_user_sums
from plurality.arrays import Int
from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, uniform
from plurality.deprecation import renamed

__all__ = ["Consistency", "consistency"]

MOST = 50_000  # judgements of shared pairs looked at, whole pairs sampled evenly
WEDGES = 20_000_000  # two-step paths looked at for triads, whole users sampled evenly
LEAST = 30  # pairs, repeats or triads below which nothing is said
CHANCE = 0.25  # of the triads of coin flips are cyclic

SHARED, DIVIDED, AGREE = "pairs judged by two users or more", "disagreement 4p(1 − p)", "agreement of two users"
SELF, ALPHA, CYCLIC = "agreement of a user with an earlier answer", "Krippendorff's alpha", "cyclic triads"


@dataclass(frozen=True, eq=False)
class Consistency:
    """table: what, estimate, lo, hi, n, chance (what coin flips give); sentences: what it says of noise and taste.

    table        a row a measure
    sentences    what it says, in words
    """

    table: pl.DataFrame
    sentences: tuple[str, ...]


@renamed(draws="n_bootstrap")
def consistency(
    data: Comparisons, *, n_bootstrap: int = 200, level: float = 0.95, seed: int = 0, repeats_kept: bool | None = None
) -> Consistency:
    """Agreement between users on the same two items, of users with themselves, and cyclic triads; users resampled.

    Two answers y, y' agree by y y' + (1 − y)(1 − y'). Disagreement on a pair is 4p(1 − p) n/(n − 1), unbiased. A triad
    is three items of which one user has judged all pairs, cyclic where a beats b, b beats c and c beats a. Where
    exact repeats were dropped at reading (default: where `data.duplicates` says so), consistent repeats are gone, and
    agreement with oneself is not measured. Source of alpha: Krippendorff (2004).

    n_bootstrap     resamples of users behind the intervals
    level           coverage of the intervals, in (0, 1); default 0.95
    seed            makes the result the same again, whatever the machine; default 0
    repeats_kept    whether exact repeats are still in the data
    """
    pair = np.unique(combine(data.item_keys[data.first], data.item_keys[data.second]), return_inverse=True)[1]
    cell, at = np.unique(pair * data.users.height + data.user, return_inverse=True)
    n = np.bincount(at)
    answer = np.bincount(at, data.label) / n
    cell_pair, cell_user = np.divmod(cell, data.users.height)
    judges = np.bincount(cell_pair)
    rows = [_row(SHARED, float(np.mean(judges > 1)), n=len(judges))]
    kept = data.duplicates == 0 if repeats_kept is None else repeats_kept
    shared = np.flatnonzero(judges[cell_pair] > 1)
    shared = _whole_pairs(cell_pair, shared, seed)
    if len(np.unique(cell_pair[shared])) >= LEAST:
        codes = [np.unique(c[shared], return_inverse=True)[1] for c in (cell_pair, cell_user)]
        rows += _between(codes[0], codes[1], answer[shared], n_bootstrap, level, seed)
    if kept and (n > 1).sum() >= LEAST:
        rows.append(_within(at, n, data.label, cell_user, n_bootstrap, level, seed))
    triads = _triads(cell_pair, cell_user, answer, _pair_items(data, pair), data, seed)
    if triads[1].sum() >= LEAST:
        drawn = cluster_draws(triads[0], triads[1], draws=n_bootstrap, seed=seed)
        ends = interval(drawn, level, n_users=int((triads[1] > 0).sum()))
        share = float(triads[0].sum() / triads[1].sum())
        rows.append(_row(CYCLIC, share, float(ends[0][0]), float(ends[1][0]), int(triads[1].sum()), CHANCE))
    table = pl.DataFrame(rows, orient="row", schema=list(_SCHEMA.items()))
    return Consistency(table, tuple(_said(table, kept)))


_SCHEMA = {"what": pl.String, "estimate": pl.Float64, "lo": pl.Float64, "hi": pl.Float64, "n": pl.Int64,
           "chance": pl.Float64}  # fmt: skip
Row = tuple[str, float, float | None, float | None, int, float | None]


def _row(
    what: str, value: float, lo: float | None = None, hi: float | None = None, n: int = 0, chance: float | None = None
) -> Row:
    return what, value, lo, hi, n, chance


def _whole_pairs(cell_pair: Int, shared: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Shared cells of an even sample of pairs, at most about `MOST` of them."""
    if len(shared) <= MOST:
        return shared
    return shared[uniform(cell_pair[shared].astype(np.uint64), seed) < MOST / len(shared)]


def _between(pair: Int, user: Int, y: Floats, n_bootstrap: int, level: float, seed: int) -> list[Row]:
    """Unbiased disagreement, agreement of two users, and alpha, on pairs that several judged."""
    users, by_pair = int(user.max()) + 1, incidence(pair)
    found = []
    for counts in count_columns(users, len(y), n_bootstrap, seed):
        c = counts[user]
        n, own = by_pair @ c, by_pair @ c**2
        total = n**2 - own  # ordered pairs of answers by different people: copies of one person are none
        s, q = by_pair @ (c * y[:, None]), by_pair @ (c**2 * np.square(y)[:, None])
        t, r = n - s, by_pair @ (c**2 * np.square(1 - y)[:, None])
        share = (s**2 - q + t**2 - r) / np.where(total > 0, total, 1.0)
        mass = np.where(total > 0, n, 0.0)
        found.append((share * mass).sum(axis=0) / np.where(mass.sum(axis=0) > 0, mass.sum(axis=0), np.nan))
    drawn = np.concatenate(found)
    lo, hi = bounds(drawn, level, users)
    size = np.bincount(pair)
    apart = disagreement(np.bincount(pair, y), size).unbiased
    alpha = krippendorff_alpha(pair, user, y, metric="interval", n_bootstrap=n_bootstrap, seed=seed, level=level)
    return [
        _row(DIVIDED, float(apart.mean()), n=len(size), chance=1.0),
        _row(AGREE, float(drawn[0]), float(lo), float(hi), len(size), 0.5),
        _row(ALPHA, alpha.value, alpha.lo, alpha.hi, alpha.n_units, 0.0),
    ]


def _within(
    at: NDArray[np.intp], n: NDArray[np.intp], y: Floats, owner: Int, n_bootstrap: int, level: float, seed: int
) -> Row:
    s, q = np.bincount(at, y), np.bincount(at, np.square(y))
    r = np.bincount(at, np.square(1 - y))
    agree, total = s**2 - q + (n - s) ** 2 - r, (n**2 - n).astype(float)
    top, bottom = np.bincount(owner, agree), np.bincount(owner, total)
    drawn = cluster_draws(top, bottom, draws=n_bootstrap, seed=seed)
    lo, hi = interval(drawn, level, n_users=int((bottom > 0).sum()))
    return _row(SELF, float(agree.sum() / total.sum()), float(lo[0]), float(hi[0]), int((n > 1).sum()), 0.5)


def _pair_items(data: Comparisons, pair: NDArray[np.intp]) -> tuple[Int, Int]:
    """First and second item of every pair code."""
    first = np.empty(int(pair.max(initial=-1)) + 1, dtype=np.int64)
    second = first.copy()
    first[pair], second[pair] = data.first, data.second
    return first, second


def _triads(
    cell_pair: Int, cell_user: Int, answer: Floats, items: tuple[Int, Int], data: Comparisons, seed: int
) -> tuple[Floats, Floats]:
    """Cyclic triads and all triads of every user (U,), (U,): from one sparse product over (user, item) nodes."""
    users = data.users.height
    decided = answer != 0.5
    pair, user = cell_pair[decided], cell_user[decided]
    won = answer[decided] > 0.5
    best, worst = np.where(won, items[0][pair], items[1][pair]), np.where(won, items[1][pair], items[0][pair])
    nodes, place = np.unique(np.concatenate([user, user]) * len(data.items) + np.concatenate([best, worst]),
                             return_inverse=True)  # fmt: skip
    owner = nodes // len(data.items)
    wins, losses = (np.bincount(side, minlength=len(nodes)) for side in np.split(place, 2))
    paths = np.bincount(owner, wins * losses, minlength=users)
    order = np.argsort(uniform(data.user_keys(), seed))
    keep = np.zeros(users, dtype=bool)
    keep[order] = np.cumsum(paths[order]) <= WEDGES
    kept = keep[user]
    from_, to = (side[kept] for side in np.split(place, 2))
    beats = sparse.csr_array((np.ones(len(from_)), (from_, to)), shape=(len(nodes), len(nodes)))
    two_steps = beats @ beats
    transitive = np.asarray(two_steps.multiply(beats).sum(axis=1)).ravel()
    cyclic = np.asarray(two_steps.multiply(beats.T.tocsr()).sum(axis=1)).ravel() / 3
    sums, _ = per_user_sums(owner, np.stack([cyclic, cyclic + transitive], axis=1), n_users=users)
    return sums[:, 0], sums[:, 1]


def _said(table: pl.DataFrame, kept: bool) -> list[str]:
    by = {row["what"]: row for row in table.iter_rows(named=True)}
    said = []
    if AGREE in by:
        said.append(
            f"Two users agree on the same pair in {_percent(by[AGREE])} (coin flips: 50 %); "
            f"alpha {by[ALPHA]['estimate']:.2f}."
        )
    else:
        said.append("Hardly a pair is judged by two users: how far they disagree cannot be told from labels alone.")
    if SELF in by:
        said.append(f"Asked twice, users repeat their answer in {_percent(by[SELF])}.")
        if AGREE in by:
            more = by[SELF]["lo"] > by[AGREE]["hi"]
            said.append(
                "They agree with themselves more than with one another: there are tastes, and not noise alone."
                if more
                else "That is not surely more than with one another: noise alone may explain the disagreement."
            )
    elif not kept:
        said.append(
            'Exact repeats were dropped at reading, so no user is seen asked twice: keep them by repeats="keep".'
        )
    if CYCLIC in by:
        said.append(f"Of triads {_percent(by[CYCLIC])} are cyclic (coin flips: 25 %, one clear order: 0).")
    return said


def _percent(row: dict[str, float]) -> str:
    return f"{100 * row['estimate']:.0f} % [{100 * row['lo']:.0f}, {100 * row['hi']:.0f}]"
