"""Choices, rankings, thumbs and ratings: read by hand, refused by row, and learned from by a family with codes."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import expit

from plurality.data.answered_things import answered_things
from plurality.data.comparisons import Comparisons
from plurality.data.concat import concat
from plurality.data.keys import text_keys
from plurality.data.read import read
from plurality.errors import InputError, InputWarning
from plurality.models import BradleyTerry, LowRank


def said(data):
    """What each person prefers to what, and its weight; a tie in alphabetical order."""
    name = data.texts["completion"].to_list() if data.texts is not None else list(range(len(data.items)))
    found = []
    for row in range(len(data)):
        sides = [name[data.first[row]], name[data.second[row]]]
        sides = sorted(sides) if data.label[row] == 0.5 else sides[:: 1 if data.label[row] > 0.5 else -1]
        found.append((data.users["user_id"][int(data.user[row])], *sides, round(float(data.weight[row]), 6)))
    return sorted(found)


def table(**columns):
    n = max(len(values) for values in columns.values())
    return pl.DataFrame({"user_id": ["ann"] * n, "prompt": ["tea?"] * n, **columns})


THREE = [("ann", "b", "a", 0.666667), ("ann", "b", "c", 0.666667)]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"completions": [["a", "b", "c"]], "chosen": ["b"]}, THREE),
        ({"completions": [["a", "b", "c"]], "chosen": [1]}, THREE),
        ({"ranking": [[["b"], ["a", "c"]]]}, THREE),
        ({"completions": [["a", "b", "c"]], "ranking": [[2, 1, 2]]}, THREE),
        ({"completions": [["a", "b", "c"]], "ranking": [[None, 1, None]]}, THREE),
        ({"completions": [["a", "b", "c"]], "ranking": [[None, 1.0, None]], "weight": [1]}, THREE),
        ({"completions": [["a", "b", "c"]], "ranking": [["b"]]}, THREE),
        ({"completion": ["a", "b", "c"], "label": [False, True, False]}, THREE),
        ({"completion": ["a", "b", "c"], "rating": [2, 9, 2]}, THREE),
        ({"ranking": [["b", "a"]]}, [("ann", "b", "a", 1)]),
        ({"ranking": [["b", "c", "a"]]}, [("ann", "b", "a", 0.75), ("ann", "b", "c", 0.75), ("ann", "c", "a", 0.75)]),
    ],
)
def test_by_hand(letters, columns, expected):
    data = read(table(**columns), encoder=letters)
    assert said(data) == expected
    assert data.unread == ()


def test_chats(letters):
    def says(text):
        return [{"role": "assistant", "content": text}]

    frame = pl.DataFrame(
        {
            "user_id": ["ann"],
            "prompt": [[{"role": "user", "content": "tea?"}]],
            "completions": [[says("a"), says("b"), says("c")]],
            "chosen": [says("b")],
        }
    )
    assert said(read(frame, encoder=letters)) == THREE
    ranked = frame.drop("completions", "chosen").with_columns(ranking=pl.Series([[says("b"), says("c"), says("a")]]))
    assert len(read(ranked, encoder=letters)) == 3


def test_a_mixture_and_its_groups(letters):
    rows = [
        {"user_id": "ann", "prompt": "tea?", "chosen": "a", "rejected": "b", "label": 0.5, "weight": 2},
        {"user_id": "ann", "prompt": "tea?", "completions": ["a", "b", "c"], "chosen": "c", "weight": 1},
        {"user_id": "bob", "prompt": "sea?", "completion": "d", "rating": 4, "weight": 1},
        {"user_id": "bob", "prompt": "tea?", "completion": "a", "rating": 3, "weight": 1},
        {"user_id": "cyd", "prompt": "tea?", "ranking": ["b", "a"], "weight": 3},
    ]
    data = read(pl.from_dicts(rows, infer_schema_length=None), encoder=letters)
    assert said(data) == [
        ("ann", "a", "b", 2), ("ann", "c", "a", 0.666667), ("ann", "c", "b", 0.666667),
        ("bob", "d", "a", 1), ("cyd", "b", "a", 3),
    ]  # fmt: skip
    assert (data.label == 0.5).sum() == 1
    tea, sea = text_keys(["tea?", "sea?"])
    of = dict(zip(data.user.tolist(), data.group.tolist(), strict=True))
    assert of[0] == of[2] == tea
    assert of[1] not in (tea, sea)  # a person's ratings are siblings, whatever they are of
    back = read(pl.from_dicts(rows[::-1], infer_schema_length=None), encoder=letters)
    assert said(back) == said(data)
    more = [{"user_id": "dan", "prompt": "sea?", "ranking": ["d", "e"], "weight": 1}]
    data = read(pl.from_dicts(rows + more, infer_schema_length=None), encoder=letters)
    train, test = data.split("prompt", test_size=0.5, seed=0)
    for part in (train, test):  # the rating that compares two prompts is on neither side
        assert len(np.unique(data.prompt[[part.first, part.second]])) == 1


def test_row_numbers_and_objectives():
    rows = {
        "user_id": ["ann", "ann", "ann", "ann"],
        "completion": [0, 1, 2, 3],
        "rating": [1, 2, 3, 4],
        "objective": ["wit", "wit", "help", "help"],
    }
    data = read(rows, embeddings=np.eye(4))
    assert said(data) == [("ann", 1, 0, 1.0), ("ann", 3, 2, 1.0)]  # what is asked for differs between the two
    assert data.objectives == ("help", "wit")
    chosen = read({"user_id": ["ann"], "completions": [[3, 0, 2]], "chosen": [0]}, embeddings=np.eye(4))
    assert said(chosen) == [("ann", 0, 2, 0.666667), ("ann", 0, 3, 0.666667)]
    with pytest.raises(InputError, match="row 1: completion is 4, but embeddings have 4 rows"):
        read({"user_id": ["ann"], "ranking": [[3, 4]]}, embeddings=np.eye(4))


def test_row_numbers_in_columns_with_gaps():
    rows = [
        {"user_id": "ann", "completion": 2, "rating": 5},
        {"user_id": "ann", "completion": 0, "rating": 3},
        {"user_id": "bob", "chosen": 1, "rejected": 3},
        {"user_id": "cyd", "ranking": [3, 0]},
    ]
    expected = [("ann", 2, 0, 1.0), ("bob", 1, 3, 1.0), ("cyd", 3, 0, 1.0)]
    for table in (pl.from_dicts(rows, infer_schema_length=None), pd.DataFrame(rows)):
        assert said(read(table, embeddings=np.eye(4))) == expected
    halves = pd.DataFrame(rows).replace({"completion": 2.0}, 1.5)
    with pytest.raises(InputError, match="completion is text, but with ready-made embeddings it is the row number"):
        read(halves, embeddings=np.eye(4))


def test_what_says_nothing_is_left_out_and_counted(letters):
    frame = pl.DataFrame(
        {
            "user_id": ["ann", "ann", "bob", "bob"],
            "prompt": ["p"] * 4,
            "completion": list("abab"),
            "rating": [1, 2, 5, 5],
        }
    )
    with pytest.warns(InputWarning, match="2 rows prefer nothing to anything and are left out"):
        assert said(read(frame, encoder=letters)) == [("ann", "b", "a", 1)]
    with pytest.raises(InputError, match="nobody prefers anything to anything"), pytest.warns(InputWarning):
        read(frame.with_columns(rating=1), encoder=letters)


def test_pairs_beside_other_columns_stay_pairs(letters):
    frame = table(chosen=["a"], rejected=["b"], completion=["a"], rating=[3])
    data = read(frame, encoder=letters)
    assert said(data) == [("ann", "a", "b", 1)]
    assert data.unread == ("completion", "rating")


def test_blank_texts(letters):
    frame = table(completion=["a", " ", "c"], rating=[1, 2, 3])
    with pytest.raises(InputError, match="row 2: completion is empty"):
        read(frame, encoder=letters)
    with pytest.warns(InputWarning, match="1 rows have an empty text"):
        assert said(read(frame, encoder=letters, blank="drop")) == [("ann", "c", "a", 1)]
    assert len(read(frame, encoder=letters, blank="keep")) == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"completions": [["a", "b"], ["a", "b"]], "chosen": ["a", "c"]},
            "row 2: chosen is none of completions; write",
        ),
        (
            {"completions": [["a", "b"], ["a", "b"]], "chosen": [0, 2]},
            "row 2: chosen is no place in completions; count",
        ),
        ({"completions": [["a", "b"], []], "chosen": ["a", "b"]}, "row 2: completions is empty"),
        ({"completions": [["a", "b"], ["a", None]], "chosen": ["a", "a"]}, "row 2: a completion is null"),
        ({"completions": ["a", "b"], "chosen": ["a", "a"]}, "row 1: completions is not a list"),
        (
            {"completions": [["a", "b"]] * 2, "ranking": [[1, 2], [0, 1]]},
            "row 2: a rank is below 1; give a rank from 1",
        ),
        (
            {"completions": [["a", "b"]] * 2, "ranking": [[1, 2], [1]]},
            "row 2: ranking and completions are of different",
        ),
        ({"completions": [["a", "b"]] * 2, "ranking": [["a"], ["x", "b"]]}, "row 2: ranking names what is none of"),
        ({"completions": [["a", "b"]] * 2, "ranking": [["a"], ["b", "b"]]}, "row 2: ranking names a completion twice"),
        ({"completion": ["a", "b"]}, "columns chosen and rejected .* are missing"),
        ({"completion": ["a", "b"], "rating": [1, None]}, "row 2: nothing is preferred to anything; give chosen and"),
        ({"completion": ["a", "b"], "rating": ["1", "x"]}, "row 2: rating is not a number"),
        (
            {"completion": ["a", "b"], "completions": [None, ["a"]], "label": [1, 1]},
            "row 2: a completion stands beside",
        ),
        (
            {"chosen": ["a", None], "rejected": ["b", None], "completion": ["c", "a"], "rating": [1, 2]},
            "row 1: a pair stands beside a ranking or a rating; give each a row of its own",
        ),
        ({"chosen": ["a", None], "rejected": ["b", None], "ranking": [["a", "b"]] * 2}, "row 1: a pair stands beside"),
    ],
)
def test_bad_rows_are_named(letters, columns, message):
    with pytest.raises(InputError, match=message):
        read(table(**columns), encoder=letters)


PEOPLE, ABOUT = 30, 40


def answers(kind, utility, generator):
    """Rows about things 0 … n − 1 that somebody with these utilities gives, `ABOUT` things in all."""
    things = generator.permutation(len(utility))[:ABOUT]
    u = utility[things]
    if kind == "rating":
        return [
            {"completion": int(t), "rating": float(r)}
            for t, r in zip(things, np.round(u + generator.logistic(size=ABOUT)), strict=True)
        ]
    if kind == "thumbs":
        return [
            {"completion": int(t), "label": float(y)}
            for t, y in zip(things, generator.random(ABOUT) < expit(u - 1), strict=True)
        ]
    rows = []
    for four in np.split(np.arange(ABOUT), ABOUT // 4):
        order = four[np.argsort(-(u[four] + generator.gumbel(size=4)))]
        ranked = [int(things[t]) for t in order]
        rows.append({"ranking": ranked} if kind == "ranking" else {"completions": sorted(ranked), "chosen": ranked[0]})
    return rows


@pytest.mark.parametrize("kind", ["choice", "ranking", "thumbs", "rating"])
def test_low_rank_finds_tastes_in_every_kind(kind):
    """Two tastes apart: what one wants the other does not; their rewards order new things as truth does."""
    generator = np.random.default_rng(5)
    x = generator.normal(size=(400, 6)).astype(np.float32)
    taste = generator.choice([-1.0, 1.0], PEOPLE)
    rows = []
    for person, sign in enumerate(taste):
        utility = 1.5 * sign * x[:, 0] + x[:, 1]
        rows += [{"user_id": f"u{person}", **row} for row in answers(kind, utility, generator)]
    data = read(pl.from_dicts(rows, infer_schema_length=None), embeddings=x)
    reward = LowRank(rank=1, decay=2.0).fit(data, seed=0)
    fresh = generator.normal(size=(200, 6)).astype(np.float32)
    found = reward.utility(fresh, [f"u{person}" for person in range(PEOPLE)])
    truth = 1.5 * taste[:, None] * fresh[:, 0] + fresh[:, 1]
    each = [np.corrcoef(a, b)[0, 1] for a, b in zip(found, truth, strict=True)]
    assert np.mean(each) > 0.9
    assert np.mean(each) > np.mean([np.corrcoef(a, fresh[:, 1])[0, 1] for a in truth]) + 0.2  # beyond one for all


def test_the_store_and_the_bar(letters, tmp_path):
    """A bar of one's own, and a scale, change nothing of what is said."""
    ratings = table(completion=list("abcd"), rating=[1, 2, 4, 8])
    shifted = ratings.with_columns(rating=10 + 3 * pl.col("rating"))
    data = read(ratings, encoder=letters)
    assert said(read(shifted, encoder=letters)) == said(data)
    assert said(type(data).load(data.save(tmp_path / "store"))) == said(data)


def test_what_was_said_stays_with_the_comparisons(tmp_path):
    rows = [{"user_id": "ann", "completion": i, "rating": r} for i, r in enumerate([5, 5, 1])]
    rows += [{"user_id": "ann", "completion": i, "label": r} for i, r in enumerate([1, 0])]
    rows += [{"user_id": "bob", "completions": [0, 1, 2], "chosen": 2}, {"user_id": "bob", "chosen": 0, "rejected": 1}]
    rows += [{"user_id": "cyd", "completion": i, "rating": 10} for i in range(3)]
    with pytest.warns(InputWarning, match="3 rows prefer nothing"):
        data = read(pl.from_dicts(rows, infer_schema_length=None), embeddings=np.eye(3))
    assert data.answers["answer_kind"].value_counts().sort("answer_kind").rows() == [
        ("choice", 2), ("pair", 1), ("rating", 2), ("thumbs", 1)
    ]  # fmt: skip
    better = np.where(data.label > 0.5, data.answers["level_first"], data.answers["level_second"])
    assert sorted(better[~np.isnan(better)]) == [1, 1, 1, 5, 5]
    assert data.silent.rows() == [(2, "rating", 10.0, 3)]
    things = answered_things(data, "rating")
    assert things.select("user", "item", "level").rows() == [(0, 0, 5.0), (0, 1, 5.0), (0, 2, 1.0)]
    assert answered_things(data.take(np.arange(0)), "rating").height == 0
    back = Comparisons.load(data.save(tmp_path / "store"))
    assert back.answers.equals(data.answers)
    assert back.silent.equals(data.silent)
    assert data.swapped().answers["level_first"].equals(data.answers["level_second"].alias("level_first"))
    both = concat([data, data], objectives=["one", "two"])
    assert both.answers["answer"].n_unique() == 2 * data.answers["answer"].n_unique()
    assert both.silent["user"].to_list() == [2, 5]
    found = BradleyTerry(decay=1.0).fit(data).predictions(data)
    assert found["answer_kind"].equals(data.answers["answer_kind"])
    assert found["item_first"].to_list() == data.first.tolist()
