"""PersonalRewardBench from small parquet files in the published format, against pairs worked out by hand."""

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.personal_reward_bench import frames
from plurality.errors import InputError


def turn(content, role="user"):
    return {"role": role, "content": content}


def pair(user, split, context, chosen, rejected, conversation="c0"):
    return {
        "user_id": user, "conversation_id": conversation, "context": context, "chosen": chosen,
        "rejected": rejected, "chosen_score": 90, "rejected_score": 20, "dataset": "prism", "split": split,
        "personalizable_query": 5, "agreement": 0.5,
    }  # fmt: skip


LONG = [turn("茶?"), turn("oui", "model"), turn("why?")]
PAIRS = [
    pair("user1", "train", [turn("茶?")], "oui", "non"),
    pair("user1", "test", LONG, "because", "no"),
    pair("user2", "val", [turn("sea?")], "in", "out", "c1"),
    pair("user2", "train", [turn("sea?")], "in", " ", "c1"),
    pair("user3", "train", [turn("a"), turn("b", "model")], "x", "y", "c2"),  # nothing was asked
    pair("user3", "test", [turn("same?")], "z", "z", "c3"),
    pair("user3", "test", [turn(None)], "z", "w", "c4"),
]


def write(folder, pairs=PAIRS):
    (folder / "data").mkdir(exist_ok=True)
    for name in ("train", "test"):  # the files are no splits, the column is
        rows = pairs[::2] if name == "train" else pairs[1::2]
        frame = pl.DataFrame(rows, schema=list(PAIRS[0]), infer_schema_length=None)
        frame.write_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def told(made):
    asked = pl.col("prompt").list.last().struct.field("content")
    return sorted(made.collect().select("user_id", "split", asked, "chosen", "rejected", "group_id").rows())


EXPECTED = [
    ("user1", "test", "why?", "because", "no", "c0"),
    ("user1", "train", "茶?", "oui", "non", "c0"),
    ("user2", "val", "sea?", "in", "out", "c1"),
]


def test_pairs_by_hand(folder):
    made = frames(folder)
    assert told(made) == EXPECTED
    assert made.dropped == {
        "pairs with a message without text": 1,
        "pairs whose context does not end with the user": 1,
        "pairs with a blank text": 1,
        "pairs of equal texts": 1,
    }
    assert made.users["user_id"].to_list() == ["user1", "user2"]
    later = made.collect().filter(pl.col("split") == "test")["prompt"][0].to_list()
    assert later == [turn("茶?"), turn("oui", "assistant"), turn("why?")]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_fixed_split(folder, split):
    made = frames(folder, split=split)
    assert told(made) == [row for row in EXPECTED if row[1] == split]
    assert made.dropped["pairs of other splits"] == 7 - sum(p["split"] == split for p in PAIRS)


def test_sides_may_be_messages(tmp_path):
    rows = [
        pair("user1", "train", [turn("茶?")], [turn("oui", "assistant")], [turn("non", "assistant")]),
        pair("user1", "train", [turn("茶?")], [turn("si", "assistant")], [turn("no", "assistant"), turn("so?")]),
    ]
    made = frames(write(tmp_path, rows))
    assert told(made) == [("user1", "train", "茶?", "oui", "non", "c0")]
    assert made.dropped == {"pairs with a side of several messages": 1}


def test_each_side_is_what_it_is(tmp_path):
    """An object in both sides (PRISM), a list beside an object (Chatbot Arena), and content in parts."""
    yes, no = turn("oui", "assistant"), turn("non", "assistant")
    parts = {"role": "assistant", "content": [{"type": "text", "text": "o"}, {"type": "text", "text": "ui"}]}
    for chosen, rejected in ((yes, no), ([yes], no), (yes, [no]), ("oui", [no]), (parts, "non"), ([parts], [no])):
        made = frames(write_one(tmp_path, pair("user1", "train", [turn("茶?")], chosen, rejected)))
        assert told(made) == [("user1", "train", "茶?", "oui", "non", "c0")]


def write_one(folder, row):
    pl.DataFrame([row]).write_parquet(folder / "train-00000-of-00001.parquet")
    return folder


def test_to_comparisons(folder, letters, facts):
    data = load("personal_reward_bench", folder, encoder=letters, split="val")
    assert [(u, frozenset(s.items())) for u, _, s, _ in facts(data)] == [
        ("user2", frozenset({("in", 1), ("out", 0)})),
    ]


def test_what_is_wrong_is_named(tmp_path):
    one = [PAIRS[0], PAIRS[1] | {"split": "dev"}, PAIRS[2]]
    with pytest.raises(InputError, match=r"row \d: split is none of train, val, test; correct"):
        frames(write(tmp_path, one))
    with pytest.raises(
        InputError, match=r"row 1: rejected is \['a', 'b'\] where a list of an object with role, content bel"
    ):
        frames(write(tmp_path, [p | {"rejected": ["a", "b"], "chosen": "x"} for p in PAIRS]))
    with pytest.raises(InputError, match=r"row 1: context is '茶\?' where a list of an object with role, content"):
        frames(write(tmp_path, [p | {"context": "茶?"} for p in PAIRS]))
    frame = pl.DataFrame([PAIRS[0]]).drop("rejected")
    for path in (tmp_path / "data").iterdir():
        frame.write_parquet(path)
    with pytest.raises(InputError, match="column rejected is missing, the columns are user_id"):
        frames(tmp_path)
