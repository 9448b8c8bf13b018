"""Sets in which each person rates many items alone: a person's items are compared with a few of their others.

All pairs of n ratings would be n(n − 1)/2 comparisons that n numbers decide. So a person's items are put, in an
order drawn by seed, into blocks, and compared within their block only.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import polars as pl

from plurality.data.items import by_key
from plurality.data.keys import Keys, combine, uniform
from plurality.datasets._tools.conversion import one_of, ordered_pairs
from plurality.datasets._tools.frames import sieve
from plurality.errors import InputError

Ties = Literal["drop", "keep"]
RatingWeights = Literal["rating", "pair"]


def rated_pairs(
    ratings: pl.DataFrame,
    texts: pl.DataFrame,
    *,
    span: float,
    block: int,
    ties: Ties,
    weights: RatingWeights,
    seed: int,
) -> tuple[pl.LazyFrame, dict[str, int]]:
    """Comparisons of items rated by the same person, the higher `score` chosen, and what was left out.

    ratings   user_id, item_id, score: (N,) each, an item once a person
    texts     item_id, text: (items,)
    block     items compared with one another: each meets `block` − 1 others; 0 for all of the person's
    weights   rating: 1 / (size of the block − 1), so that an item's pairs count as one; pair: 1 each

    `strength` is the gap of scores over `span`. Returns user_id, chosen, rejected, chosen_item_id,
    rejected_item_id, gap, label, strength, weight. Raises InputError for a block of 1 or less than 0.
    """
    one_of("ties", ties, get_args(Ties))
    one_of("weights", weights, get_args(RatingWeights))
    if block < 0 or block == 1:
        raise InputError(f"block={block} compares nothing; give 2 or more, or 0 for all pairs of a person")
    drawn = uniform(combine(_keys(ratings["user_id"]), _keys(ratings["item_id"])), seed)
    place = pl.int_range(pl.len()).over("user_id")
    blocked = (
        ratings.with_columns(_drawn=drawn)
        .sort("user_id", "_drawn", "item_id")
        .with_columns(_block=place // block if block else pl.lit(0))
        .with_columns(_size=pl.len().over("user_id", "_block"))
    )
    turn = ["user_id", "_block", "_size"]
    pairs = ordered_pairs(blocked.lazy(), turn, response="item_id", score="score", span=span)
    each = pl.lit(1.0) if weights == "pair" else 1.0 / (pl.col("_size") - 1.0)
    pairs = pairs.with_columns(weight=each).rename({"chosen": "chosen_item_id", "rejected": "rejected_item_id"})
    pairs, dropped = sieve(pairs, {"ties": pl.lit(ties == "drop") & (pl.col("label") == 0.5)})
    for side in ("chosen", "rejected"):
        said = texts.lazy().select(pl.col("item_id").alias(f"{side}_item_id"), pl.col("text").alias(side))
        pairs = pairs.join(said, on=f"{side}_item_id", how="inner", maintain_order="left")
    pairs, more = sieve(pairs, {"pairs of equal texts": pl.col("chosen") == pl.col("rejected")})
    columns = ["user_id", "chosen", "rejected", "chosen_item_id", "rejected_item_id"]
    return pairs.select(*columns, "gap", "label", "strength", "weight"), dropped | more


def agreed(table: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
    """One row a `user_id`, in its order: what their rows say of them, null where the rows contradict each other."""
    said = [pl.col(name).drop_nulls() for name in columns]
    one = [pl.when(s.n_unique() == 1).then(s.first()).alias(name) for s, name in zip(said, columns, strict=True)]
    return table.group_by("user_id").agg(one).sort("user_id")


def _keys(ids: pl.Series) -> Keys:
    _, keys, row = by_key(ids)
    return keys[row]
