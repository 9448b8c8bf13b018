"""What was said, beside the pairs that it is learned from: kind of answer, which answer, levels of both sides."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from plurality.arrays import Int
from plurality.data.responses import KINDS, Things

if TYPE_CHECKING:
    from plurality.data.comparisons import Comparisons

__all__ = ["answered_things"]

LEVELS = ("level_first", "level_second")
COLUMNS = ("answer_kind", "answer", *LEVELS)


def answer_rows(found: Things, better: Int, worse: Int) -> pl.DataFrame | None:
    """Of every pair of things, the kind and number of its answer and the levels; None if all rows are pairs.

    found     things, in the order of their rows
    better    (P,) thing that is preferred: level_first, until sides are put in order
    worse     (P,) the other
    """
    kind = found.kind[found.row[better]]
    if not (found.kind[found.row] > 0).any():
        return None
    of_pair = pl.Series(kind == 0)
    made = pl.DataFrame(
        {
            "answer_kind": pl.Series(KINDS).gather(kind),
            "answer": found.answer[better],
            "level_first": found.level[better],
            "level_second": found.level[worse],
        }
    )
    return made.with_columns(pl.when(of_pair).then(None).otherwise(pl.col(name)).alias(name) for name in LEVELS)


def silent_answers(found: Things, better: Int, worse: Int, user: Int) -> pl.DataFrame | None:
    """Answers that put all of their things on one level: user (row), answer_kind, level, n things; None without any.

    found     things
    better    (P,) thing that is preferred
    worse     (P,) the other
    user      (N,) row in users of each row of the table
    """
    spoken = np.isin(found.answer, found.answer[better])
    if spoken.all():
        return None
    rows = found.row[~spoken]
    made = pl.DataFrame(
        {
            "user": user[rows],
            "answer_kind": pl.Series(KINDS).gather(found.kind[rows]),
            "answer": found.answer[~spoken],
            "level": found.level[~spoken],
        }
    )
    grouped = made.group_by("answer", maintain_order=True)
    return grouped.agg(pl.col("user", "answer_kind", "level").first(), n=pl.len()).drop("answer")


def swapped_levels(answers: pl.DataFrame | None, swap: "np.ndarray | bool" = True) -> pl.DataFrame | None:
    """The answers of rows whose sides are exchanged, all or those of a mask."""
    if answers is None:
        return None
    flip = pl.Series("swap", np.broadcast_to(swap, answers.height))
    one, other = LEVELS
    return answers.with_columns(flip).with_columns(
        pl.when("swap").then(other).otherwise(one).alias(one), pl.when("swap").then(one).otherwise(other).alias(other)
    ).drop("swap")  # fmt: skip


def answered_things(data: "Comparisons", *kinds: str) -> pl.DataFrame:
    """A row a thing that an answer of these kinds is about: user, answer_kind, answer, item, level, weight.

    Things of a part of comparisons are those that it compares. The weight is the mean of its comparisons' weights.

    data     comparisons
    kinds    "choice", "ranking", "thumbs", "rating"; none: all of these

    >>> import numpy as np, plurality as pl8
    >>> rows = {"user_id": ["ada"] * 3, "completion": [0, 1, 2], "rating": [5, 4, 4]}
    >>> answered_things(pl8.read(rows, embeddings=np.eye(3)))["level"].to_list()
    [5.0, 4.0, 4.0]
    """
    wanted = kinds or KINDS[1:]
    schema = {"user": pl.Int64, "answer_kind": pl.String, "answer": pl.Int64, "item": pl.Int64, "level": pl.Float64,
              "weight": pl.Float64}  # fmt: skip
    if data.answers is None:
        return pl.DataFrame(schema=schema)
    shared = data.answers.with_columns(user=data.user, weight=data.weight)
    sides = [
        shared.select("user", "answer_kind", "answer", pl.Series("item", item), pl.col(level).alias("level"), "weight")
        for item, level in zip((data.first, data.second), LEVELS, strict=True)
    ]
    rows = pl.concat(sides).filter(pl.col("answer_kind").is_in(wanted))
    key = ["user", "answer_kind", "answer", "item"]
    return rows.group_by(key).agg(pl.col("level").first(), pl.col("weight").mean()).sort(key).cast(schema)


def joined_answers(sets: "Sequence[Comparisons]") -> pl.DataFrame | None:
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


def joined_silent(sets: "Sequence[Comparisons]", places: Sequence[Int]) -> pl.DataFrame | None:
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
