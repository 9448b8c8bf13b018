"""The things that answers are about, with their levels, found again from the comparisons that the answers became."""

import polars as pl

from plurality.data.answers import LEVELS
from plurality.data.comparisons import Comparisons
from plurality.data.responses import KINDS

__all__ = ["answered_things"]


def answered_things(data: Comparisons, *kinds: str) -> pl.DataFrame:
    """A row a thing that an answer of these kinds is about: answer_kind, user, answer, item, level, weight.

    Things of a part of comparisons are those that it compares. The weight is the mean of its comparisons' weights.

    data     comparisons
    kinds    "choice", "ranking", "thumbs", "rating"; none: all of these

    >>> import numpy as np, plurality as pl8
    >>> rows = {"user_id": ["ada"] * 3, "completion": [0, 1, 2], "rating": [5, 4, 4]}
    >>> answered_things(pl8.read(rows, embeddings=np.eye(3)))["level"].to_list()
    [5.0, 4.0, 4.0]
    """
    wanted = kinds or KINDS[1:]
    whole = dict.fromkeys(("user", "answer", "item"), pl.Int64())
    real = dict.fromkeys(("level", "weight"), pl.Float64())
    schema = pl.Schema({"answer_kind": pl.String(), **whole, **real})
    if data.answers is None:
        return pl.DataFrame(schema=schema)
    shared = data.answers.with_columns(user=data.user, weight=data.weight)
    sides = [
        shared.select("user", "answer_kind", "answer", pl.Series("item", item), pl.col(level).alias("level"), "weight")
        for item, level in zip((data.first, data.second), LEVELS, strict=True)
    ]
    rows = pl.concat(sides).filter(pl.col("answer_kind").is_in(wanted))
    key = ["user", "answer_kind", "answer", "item"]
    return (
        rows.group_by(key)
        .agg(pl.col("level").first(), pl.col("weight").mean())
        .sort(key)
        .select(schema.names())
        .cast(schema)
    )
