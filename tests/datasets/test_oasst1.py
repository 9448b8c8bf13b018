"""OASST1 from a small table of messages, against pairs worked out by hand."""

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.oasst1 import frames
from plurality.errors import InputError

# id, parent, role, text, rank, language
MESSAGES = [
    ("p", None, "prompter", "tea?", None, "en"),
    ("a", "p", "assistant", "green", 1.0, "en"),
    ("b", "p", "assistant", "black", 0.0, "en"),
    ("c", "p", "assistant", "mint", 2.0, "en"),
    ("d", "p", "assistant", "none", None, "en"),
    ("q", "b", "prompter", "why?", None, "en"),
    ("e", "q", "assistant", "so", 0.0, "en"),
    ("f", "q", "assistant", "no", 1.0, "en"),
    ("lost", "gone", "prompter", "who?", None, "de"),
    ("g", "lost", "assistant", "du", 0.0, "de"),
    ("h", "lost", "assistant", "ich", 1.0, "de"),
]


def write(folder, messages=MESSAGES):
    names = ["message_id", "parent_id", "role", "text", "rank", "lang"]
    table = pl.DataFrame(messages, schema=names, orient="row", infer_schema_length=None)
    table = table.with_columns(message_tree_id=pl.lit("p"), deleted=pl.lit(False), labels=pl.lit(None))
    table.write_parquet(folder / "train-00000-of-00001.parquet")
    return folder


def told(made):
    said = pl.col("prompt").list.eval(pl.element().struct.field("content")).list.join("|")
    return sorted(made.collect().select(said, "chosen", "rejected", "weight").rows())


PAIRS = [
    ("tea?", "black", "green", 0.75), ("tea?", "black", "mint", 0.75), ("tea?", "green", "mint", 0.75),
    ("tea?|black|why?", "so", "no", 1.0),
]  # fmt: skip


def test_the_better_rank_is_chosen_under_the_path_from_the_root(tmp_path):
    made = frames(write(tmp_path))
    assert [row[:3] for row in told(made)] == [row[:3] for row in PAIRS]
    assert [row[3] for row in told(made)] == pytest.approx([row[3] for row in PAIRS])
    assert made.dropped == {"replies without a rank": 1, "pairs under a path with a message that is not there": 1}
    assert made.users["user_id"].to_list() == ["everybody"]
    assert frames(tmp_path, users="language").users["user_id"].to_list() == ["en"]
    prompt = made.collect()["prompt"].to_list()[-1]
    assert [message["role"] for message in prompt] == ["user", "assistant", "user"]


def test_to_comparisons(tmp_path, letters):
    assert len(load("oasst1", write(tmp_path), encoder=letters)) == 4


def test_what_is_an_error(tmp_path):
    with pytest.raises(InputError, match="row 12: role is none of prompter, assistant; correct"):
        frames(write(tmp_path, [*MESSAGES, ("z", "p", "system", "x", None, "en")]))
    with pytest.raises(InputError, match="row 12: message_id is that of an earlier row; keep one"):
        frames(write(tmp_path, [*MESSAGES, MESSAGES[0]]))
