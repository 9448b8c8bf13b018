"""Chatbot Arena from a small parquet file in the published format, against pairs worked out by hand."""

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.chatbot_arena import frames
from plurality.errors import InputError


def talk(*said):
    """A conversation of user and assistant in turn."""
    return [{"content": text, "role": ("user", "assistant")[i % 2]} for i, text in enumerate(said)]


def vote(number, judge, winner, a, b, *, language="English", anony=True, flagged=False):
    return {
        "question_id": f"q{number}", "model_a": "vicuna", "model_b": "koala", "winner": winner,
        "judge": f"arena_user_{judge}", "conversation_a": a, "conversation_b": b, "turn": len(a) // 2,
        "anony": anony, "language": language, "tstamp": 1682352021.5,
        "openai_moderation": {"categories": {"hate": flagged}, "category_scores": {"hate": 0.5}, "flagged": flagged},
        "toxic_chat_tag": {"roberta-large": {"flagged": False, "probability": 0.1},
                           "t5-large": {"flagged": False, "score": 0.1}},
    }  # fmt: skip


VOTES = [
    vote(1, 1, "model_a", talk("茶?", "green"), talk("茶?", "black")),
    vote(2, 1, "model_b", talk("sea?", "in", "and?", "out"), talk("sea?", "IN", "and?", "OUT")),
    vote(3, 2, "tie", talk("moon?", "far"), talk("moon?", "near"), language="German"),
    vote(4, 2, "tie (bothbad)", talk("sun?", "hot"), talk("sun?", "cold")),
    vote(5, 3, "model_a", talk("empty?", "x"), talk("empty?", "")),
    vote(6, 3, "model_b", talk("names?", "u"), talk("names?", "v"), anony=False),
    vote(7, 3, "model_b", talk("rude?", "no"), talk("rude?", "yes"), flagged=True),
    vote(8, 4, "model_a", talk("same?", "z"), talk("same?", "z")),
    vote(9, 4, "model_a", talk("one?", "1", "two?", "2"), talk("one?", "1", "three?", "3")),
    vote(10, 4, "model_a", talk("unanswered?"), talk("unanswered?")),
]


def write(folder, votes=VOTES):
    pl.DataFrame(votes, infer_schema_length=None).write_parquet(folder / "train-00000-of-00001.parquet")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def told(made):
    return sorted(made.collect().select("question_id", "user_id", "prompt", "chosen", "rejected", "label").rows())


FIRST = ("q1", "arena_user_1", "茶?", "green", "black", 1.0)
LONG = ("q2", "arena_user_1", "sea?", "IN\n\nUser: and?\n\nAssistant: OUT", "in\n\nUser: and?\n\nAssistant: out", 1.0)
RUDE = ("q7", "arena_user_3", "rude?", "yes", "no", 1.0)


def test_votes_by_hand(folder):
    made = frames(folder)
    assert told(made) == [FIRST, LONG, RUDE]
    assert made.dropped == {
        "votes with the models' names in sight": 1,
        "conversations with a message without text": 1,
        "conversations that are not user and assistant in turn": 1,
        "conversations whose user turns differ": 1,
        "pairs of equal texts": 1,
        "ties": 2,
    }
    models = made.collect().sort("question_id").select("chosen_model", "rejected_model", "turns").rows()
    assert models == [("vicuna", "koala", 1), ("koala", "vicuna", 2), ("koala", "vicuna", 1)]
    assert made.users["user_id"].to_list() == ["arena_user_1", "arena_user_3"]


def test_settings(folder):
    assert [r for r in told(frames(folder, ties="keep")) if r[5] == 0.5] == [
        ("q3", "arena_user_2", "moon?", "far", "near", 0.5),
        ("q4", "arena_user_2", "sun?", "hot", "cold", 0.5),
    ]
    assert told(frames(folder, turns="single")) == [FIRST, RUDE]
    assert told(frames(folder, flagged="drop")) == [FIRST, LONG]
    assert [r[0] for r in told(frames(folder, language="German", ties="keep"))] == ["q3"]
    with pytest.raises(InputError, match=r"no comparison is left .*votes in other languages 10"):
        frames(folder, language="Klingon")


def test_to_comparisons(folder, letters, facts):
    data = load("chatbot_arena", folder, encoder=letters, turns="single")
    assert {(u, p, frozenset(s.items())) for u, p, s, _ in facts(data)} == {
        ("arena_user_1", "茶?", frozenset({("green", 1), ("black", 0)})),
        ("arena_user_3", "rude?", frozenset({("yes", 1), ("no", 0)})),
    }


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(InputError, match="parquet: row 2: winner is none of model_a, model_b, tie"):
        frames(write(tmp_path, [VOTES[0], VOTES[1] | {"winner": "model_c"}]))
    with pytest.raises(InputError, match=r"row 1: conversation_b is 'black' where a list of an object with role, con"):
        frames(write(tmp_path, [v | {"conversation_b": "black"} for v in VOTES]))
    assert frames(write(tmp_path, [VOTES[0], VOTES[1] | {"judge": None}])).dropped["rows without judge"] == 1
    with pytest.raises(InputError, match="column winner is missing, the columns are question_id"):
        frames(write(tmp_path, [{k: v for k, v in VOTES[0].items() if k != "winner"}]))


def test_columns_that_may_be_missing(tmp_path):
    bare = [{k: VOTES[0][k] for k in ("judge", "winner", "conversation_a", "conversation_b")}]
    assert frames(write(tmp_path, bare), flagged="drop").collect()["chosen"].to_list() == ["green"]
