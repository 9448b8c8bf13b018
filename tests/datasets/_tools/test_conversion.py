"""Ratings, choices and rankings as comparisons: by hand, and what must hold of any table."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from plurality.data.ordered_pairs import ordered_pairs as of_levels
from plurality.datasets._tools.conversion import (
    choice_pairs,
    key,
    listed_pairs,
    one_of,
    ordered_pairs,
    standardise,
    weigh,
)
from plurality.errors import InputError

TURN = ["user_id", "prompt"]
# ann gives 5, 3, 3 to three replies; bob 1 and 2 to two of them
RATED = pl.LazyFrame(
    {
        "user_id": ["ann", "ann", "ann", "bob", "bob"],
        "prompt": ["tea?"] * 5,
        "reply": ["green", "black", "mint", "green", "black"],
        "model": ["m1", "m2", "m3", "m1", "m2"],
        "score": [5, 3, 3, 1, 2],
        "best": [True, False, False, False, True],
    }
)
tables = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=5)


def table(turns):
    """A long table of rated turns; replies of a turn all differ."""
    rows = [(f"u{t}", "q", f"r{i}", s) for t, scores in enumerate(turns) for i, s in enumerate(scores)]
    return pl.LazyFrame(rows, schema=["user_id", "prompt", "reply", "score"], orient="row")


def test_ratings_by_hand():
    pairs = ordered_pairs(RATED, TURN, response="reply", score="score", span=4, carry=["model"]).collect()
    columns = ["user_id", "chosen", "rejected", "chosen_model", "rejected_model", "gap", "label", "strength"]
    assert pairs.select(columns).rows() == [
        ("ann", "green", "black", "m1", "m2", 2, 1, 0.5),
        ("ann", "green", "mint", "m1", "m3", 2, 1, 0.5),
        ("ann", "black", "mint", "m2", "m3", 0, 0.5, 1),
        ("bob", "black", "green", "m2", "m1", 1, 1, 0.25),
    ]


def test_a_margin_makes_ties_and_a_small_span_is_cut():
    pairs = ordered_pairs(RATED, TURN, response="reply", score="score", min_gap=2, span=1).collect()
    assert pairs["label"].to_list() == [1, 1, 0.5, 0.5]
    assert pairs["strength"].to_list() == [1, 1, 1, 1]
    assert "strength" not in ordered_pairs(RATED, TURN, response="reply", score="score").collect_schema()


def test_choices_by_hand():
    pairs = choice_pairs(RATED, TURN, response="reply", choice="best", carry=["model"]).collect()
    columns = ["user_id", "prompt", "chosen", "rejected", "chosen_model", "rejected_model"]
    assert sorted(pairs.select(columns).rows()) == [
        ("ann", "tea?", "green", "black", "m1", "m2"),
        ("ann", "tea?", "green", "mint", "m1", "m3"),
        ("bob", "tea?", "black", "green", "m2", "m1"),
    ]


def test_several_chosen_or_none():
    flags = pl.Series("best", [True, True, False, False, False])  # ann two of three, bob nothing
    two = choice_pairs(RATED.with_columns(flags), TURN, response="reply", choice="best").collect()
    assert sorted(two.select("user_id", "chosen", "rejected").rows()) == [
        ("ann", "black", "mint"),
        ("ann", "green", "mint"),
    ]


def test_a_list_of_replies_is_the_same_choice():
    listed = pl.LazyFrame(
        {
            "user_id": ["ann", "bob", "cyd"],
            "prompt": ["tea?"] * 3,
            "replies": [["green", "black", "mint"], ["green", "black"], ["green"]],
            "best": [0, 1, 0],
        }
    )
    long = choice_pairs(RATED, TURN, response="reply", choice="best")
    assert_frame_equal(
        listed_pairs(listed, responses="replies", choice="best").collect(),
        long.collect(),
        check_row_order=False,
        check_column_order=False,
    )


@pytest.mark.parametrize("weights", ["answer", "turn", "choice", "pair"])
def test_a_list_of_replies_has_the_same_weights(weights):
    listed = pl.LazyFrame(
        {"user_id": ["a", "b"], "replies": [["x", "y", None, "z"], ["x", None, "y", None]], "best": [1, 2]}
    )
    pairs = listed_pairs(listed, responses="replies", choice="best", weights=weights).collect()
    assert pairs.select("user_id", "chosen", "rejected").rows() == [("a", "y", "x"), ("a", "y", "z"), ("b", "y", "x")]
    assert_frame_equal(
        pairs, weigh(pairs.drop("weight").lazy(), ["user_id"], weights).collect(), check_column_order=False
    )


def test_weights_by_hand():
    pairs = ordered_pairs(RATED, TURN, response="reply", score="score")
    by = {w: weigh(pairs, TURN, w).collect()["weight"].to_list() for w in ("turn", "choice", "pair")}
    assert by["turn"] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
    assert by["choice"] == pytest.approx([1 / 4, 1 / 4, 1 / 2, 1])  # ann: first green of three, then black of two
    assert by["pair"] == [1, 1, 1, 1]


@pytest.mark.parametrize("scores", [[1, 0, 0, 0], [4, 3, 2, 1], [2, 2, 1, 1, 0], [1, 0], [3, 3, 3, 1]])
def test_an_answer_weighs_what_read_lets_it_weigh(scores):
    rated = pl.LazyFrame(
        {"user_id": ["u"] * len(scores), "prompt": "q", "reply": [f"r{i}" for i in range(len(scores))], "score": scores}
    )
    pairs = ordered_pairs(rated, TURN, response="reply", score="score")
    found = weigh(pairs, TURN, "answer").collect()
    n = len(scores)
    expected = of_levels(np.zeros(n, int), np.array(scores, float), np.ones(n), np.arange(n).astype(np.uint64))[2]
    kept = found.filter(pl.col("label") == 1)
    assert kept["weight"].to_list() == pytest.approx(expected)
    assert found["weight"].n_unique() == 1  # ties, where they are kept, weigh as much
    alone = weigh(pairs.with_columns(label=0.5), TURN, "answer").collect()
    assert alone["weight"].sum() == pytest.approx(1)


def test_a_ranking_is_a_sequence_of_choices():
    """Of a full ranking of k, the s-th choice is among k − s others, and the last place is no choice."""
    ranked = pl.LazyFrame({"user_id": ["u"] * 4, "prompt": ["q"] * 4, "reply": list("abcd"), "rank": [2, 1, 4, 3]})
    pairs = ordered_pairs(ranked, TURN, response="reply", score="rank", descending=True)
    weights = weigh(pairs, TURN, "choice").collect()
    expected = {}
    order = ["b", "a", "d", "c"]
    for stage, winner in enumerate(order[:-1]):
        expected |= {(winner, loser): 1 / (3 * (3 - stage)) for loser in order[stage + 1 :]}
    found = {(a, b): w for a, b, w in weights.select("chosen", "rejected", "weight").iter_rows()}
    assert found == pytest.approx(expected)


def test_standardised_by_hand():
    z = standardise(RATED, "score").collect()["score"].to_numpy()
    ann = np.array([5, 3, 3.0])
    np.testing.assert_allclose(z[:3], (ann - ann.mean()) / ann.std())
    np.testing.assert_allclose(z[3:], [-1, 1])
    same = standardise(RATED.with_columns(score=pl.lit(7.0)), "score").collect()["score"]
    assert same.to_list() == [0] * 5


@settings(max_examples=40, deadline=None)
@given(tables)
def test_all_pairs_once_the_higher_chosen(turns):
    pairs = ordered_pairs(table(turns), TURN, response="reply", score="score", span=4).collect()
    assert pairs.height == sum(len(s) * (len(s) - 1) // 2 for s in turns)
    expected = {
        (f"u{t}", frozenset((f"r{i}", f"r{j}"))): abs(a - b)
        for t, s in enumerate(turns)
        for (i, a), (j, b) in itertools.combinations(enumerate(s), 2)
    }
    for user, chosen, rejected, label, strength in pairs.select(
        "user_id", "chosen", "rejected", "label", "strength"
    ).iter_rows():
        scores = turns[int(user[1:])]
        gap = scores[int(chosen[1:])] - scores[int(rejected[1:])]
        assert gap == expected.pop((user, frozenset((chosen, rejected)))) >= 0
        assert (label, strength) == ((1, gap / 4) if gap else (0.5, 1))
    assert expected == {}


@settings(max_examples=40, deadline=None)
@given(tables, st.sampled_from(["turn", "choice"]))
def test_weights_sum_to_one_a_turn(turns, weights):
    pairs = weigh(ordered_pairs(table(turns), TURN, response="reply", score="score"), TURN, weights).collect()
    sums = pairs.group_by("user_id").agg(pl.col("weight").sum())
    assert sums.height == sum(len(s) > 1 for s in turns)
    np.testing.assert_allclose(sums["weight"], 1)


@settings(max_examples=40, deadline=None)
@given(tables)
def test_turning_the_scale_round_turns_the_pairs_round(turns):
    up = ordered_pairs(table(turns), TURN, response="reply", score="score").collect()
    down = ordered_pairs(table(turns), TURN, response="reply", score="score", descending=True).collect()
    told = up.filter(pl.col("label") == 1)
    turned = down.filter(pl.col("label") == 1).rename({"chosen": "rejected", "rejected": "chosen"})
    assert_frame_equal(told, turned, check_column_order=False, check_row_order=False)


def test_keys_and_options():
    assert RATED.select(key("user_id", "prompt")).collect().to_series()[0] == "ann/tea?"
    with pytest.raises(InputError, match="ties='both' is unknown; choose drop, keep"):
        one_of("ties", "both", ("drop", "keep"))
    with pytest.raises(InputError, match="weights='all' is unknown; choose answer, turn, choice, pair"):
        weigh(RATED, TURN, "all")
    with pytest.raises(InputError, match="give a gap of 0 or more and a positive span"):
        ordered_pairs(RATED, TURN, response="reply", score="score", span=0)
