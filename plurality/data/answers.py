"""What was said, beside the pairs that it is learned from: kind of answer, which answer, levels of both sides."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.arrays import Int
from plurality.data.responses import KINDS, Things

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


def swapped_levels(answers: pl.DataFrame | None, swap: NDArray[np.bool_] | bool = True) -> pl.DataFrame | None:
    """The answers of rows whose sides are exchanged, all or those of a mask."""
    if answers is None:
        return None
    flip = pl.Series("swap", np.broadcast_to(swap, answers.height))
    one, other = LEVELS
    return answers.with_columns(flip).with_columns(
        pl.when("swap").then(other).otherwise(one).alias(one), pl.when("swap").then(one).otherwise(other).alias(other)
    ).drop("swap")  # fmt: skip
