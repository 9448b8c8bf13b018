"""Ratings as comparisons within blocks: by hand where one block holds all, and what holds of any table."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from plurality.datasets._tools.ratings import agreed, rated_pairs
from plurality.errors import InputError

DEFAULTS = {"span": 2.0, "block": 0, "ties": "drop", "weights": "rating", "seed": 0}


def rate(scores):
    """Ratings of people by item, {person: {item: score}}, and the items' texts."""
    rows = [(user, item, float(score)) for user, said in scores.items() for item, score in said.items()]
    ratings = pl.DataFrame(rows, schema=["user_id", "item_id", "score"], orient="row")
    texts = ratings.select("item_id").unique().with_columns(text=pl.format("text {}", "item_id"))
    return ratings, texts


def pairs_of(scores, **changed):
    made, dropped = rated_pairs(*rate(scores), **DEFAULTS | changed)
    return made.collect(), dropped


def test_all_pairs_by_hand():
    made, dropped = pairs_of({"ann": {"a": 2, "b": 0, "c": 0}, "bob": {"a": 0, "b": 1}, "cyd": {"a": 1}})
    columns = ["user_id", "chosen", "rejected", "chosen_item_id", "gap", "strength", "label", "weight"]
    assert sorted(made.select(columns).rows()) == [
        ("ann", "text a", "text b", "a", 2, 1, 1, 0.5),
        ("ann", "text a", "text c", "a", 2, 1, 1, 0.5),
        ("bob", "text b", "text a", "b", 1, 0.5, 1, 1),
    ]
    assert dropped == {"ties": 1}
    kept, _ = pairs_of({"ann": {"b": 0, "c": 0}}, ties="keep", weights="pair")
    assert kept.select("label", "strength", "weight").rows() == [(0.5, 1, 1)]


def test_equal_texts_are_left_out():
    ratings, _ = rate({"ann": {"a": 2, "b": 0, "c": 1}})
    texts = pl.DataFrame({"item_id": ["a", "b", "c"], "text": ["x", "x", "y"]})
    made, dropped = rated_pairs(ratings, texts, **DEFAULTS)
    assert sorted(made.select("chosen_item_id", "rejected_item_id").collect().rows()) == [("a", "c"), ("c", "b")]
    assert dropped == {"pairs of equal texts": 1}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=4).filter(any), st.integers(2, 5), st.integers(0, 3))
def test_a_block_compares_each_with_each(counts, block, seed):
    """Scores that differ, so that nothing ties: k items of a block make k (k − 1) / 2 pairs, weighing k / 2."""
    scores = {f"u{u}": {f"i{i}": i for i in range(n)} for u, n in enumerate(counts)}
    made, _ = pairs_of(scores, block=block, seed=seed)
    for user, n in enumerate(counts):
        mine = made.filter(pl.col("user_id") == f"u{user}")
        sizes = [block] * (n // block) + [n % block]
        assert mine.height == sum(k * (k - 1) // 2 for k in sizes)
        assert mine["weight"].sum() == pytest.approx(sum(k / 2 for k in sizes if k > 1))
        met = pl.concat([mine["chosen_item_id"], mine["rejected_item_id"]]).value_counts()["count"]
        assert met.is_empty() or met.max() <= block - 1


def test_the_order_of_the_file_leaves_no_trace_and_the_seed_does():
    rng = np.random.default_rng(0)
    ratings, texts = rate({f"u{u}": {f"i{i}": rng.integers(3) for i in range(20)} for u in range(3)})
    order = ["user_id", "chosen_item_id", "rejected_item_id"]

    def made(table, seed):
        pairs, _ = rated_pairs(table, texts, **DEFAULTS | {"block": 4, "seed": seed})
        return pairs.collect().sort(order)

    assert_frame_equal(made(ratings, 1), made(ratings.sample(fraction=1, shuffle=True, seed=3), 1))
    assert not made(ratings, 1).equals(made(ratings, 2))


def test_options_that_are_none():
    for changed, message in (
        ({"block": 1}, "block=1 compares nothing; give 2 or more, or 0 for all"),
        ({"ties": "half"}, "ties='half' is unknown; choose drop, keep"),
        ({"weights": "turn"}, "weights='turn' is unknown; choose rating, pair"),
    ):
        with pytest.raises(InputError, match=message):
            pairs_of({"ann": {"a": 1, "b": 0}}, **changed)


def test_what_rows_agree_on():
    table = pl.LazyFrame({"user_id": ["b", "a", "b"], "age": ["x", None, "x"], "race": ["x", "y", "z"]})
    assert agreed(table, ["age", "race"]).collect().rows() == [("a", None, "y"), ("b", "x", None)]
