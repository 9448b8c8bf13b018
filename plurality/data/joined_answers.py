"""Answers of several sets as those of one."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from plurality.arrays import Int
from plurality.data.answers import LEVELS
from plurality.data.comparisons import Comparisons
from plurality.data.responses import KINDS


def joined_answers(sets: Sequence[Comparisons]) -> pl.DataFrame | None:
    """The answers of several sets, one below the other, numbers of answers apart; rows of a set of pairs are pairs."""
    if all(data.answers is None for data in sets):
        return None
    parts, taken = [], 0
    for data in sets:
        part = data.answers
        if part is None:
            alone = {"answer_kind": [KINDS[0]] * len(data), "answer": np.arange(len(data))}
            none = dict.fromkeys(LEVELS, pl.Series([None] * len(data), dtype=pl.Float64))
            part = pl.DataFrame(alone | none, schema_overrides={"answer_kind": pl.String})
        parts.append(part.with_columns(pl.col("answer") + taken))
        taken += int(np.max(part["answer"].to_numpy(), initial=-1)) + 1
    return pl.concat(parts)


def joined_silent(sets: Sequence[Comparisons], places: Sequence[Int]) -> pl.DataFrame | None:
    """The silent answers of several sets.

    sets      comparisons
    places    row among all users of each user of a set
    """
    parts = [
        data.silent.with_columns(user=pl.Series(place[data.silent["user"].to_numpy()]))
        for data, place in zip(sets, places, strict=True)
        if data.silent is not None
    ]
    return pl.concat(parts) if parts else None
