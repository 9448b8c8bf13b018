"""Bootstraps of users: everybody a Poisson(1) number of times, by what they compared and not by name or order."""

from dataclasses import replace

import numpy as np
import polars as pl
from scipy.stats import poisson

from plurality.arrays import Int
from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, mix, uniform
from plurality.errors import InputError

AGAIN = 100  # draws that may have nobody in them


def times(data: Comparisons, seed: int) -> Int:
    """How often each user of the table is drawn: (U,), 0 for those without comparisons.

    Whole people are drawn, so that what one person's answers have in common is not taken for what all people do.

    data    comparisons
    seed    of the draw
    """
    first, second = data.item_keys[data.first], data.item_keys[data.second]
    pair = combine(np.minimum(first, second), np.maximum(first, second))
    user, pair = np.unique(np.stack([data.user.astype(np.uint64), pair]), axis=1)  # a row repeated says no more
    key = np.zeros(data.users.height, dtype=np.uint64)
    np.add.at(key, user.astype(np.int64), mix(pair))
    absent = np.setdiff1d(np.arange(len(key)), data.present)
    for again in range(AGAIN):  # of a few people none may be drawn
        drawn: Int = poisson.ppf(uniform(key, seed + again * 1_000_003), 1.0).astype(np.int64)
        drawn[absent] = 0
        if drawn.any():
            return drawn
    raise InputError(f"{data.source}: nobody can be drawn for a bootstrap of users; an ensemble needs some")


def resampled(data: Comparisons, drawn: Int) -> Comparisons:
    """The comparisons of users drawn so often (U,): one drawn twice is two users who answered alike.

    A weight of 2 would not be the same: it is one user, of whom twice as much is known.
    """
    parts, frames, before = [], [], 0
    for copy in range(int(drawn.max(initial=0))):
        there = drawn > copy
        place = np.cumsum(there) - 1 + before
        part = data.take(np.flatnonzero(there[data.user]))
        parts.append((part, place[part.user]))
        ids = pl.Series("user_id", [f"{before + i}" for i in range(int(there.sum()))])
        frames.append(data.users.filter(pl.Series(there)).with_columns(ids))
        before += int(there.sum())
    rows = np.concatenate([np.flatnonzero((drawn > copy)[data.user]) for copy in range(len(parts))])
    return replace(data.take(rows), user=np.concatenate([user for _, user in parts]), users=pl.concat(frames))
