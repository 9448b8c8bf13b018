"""HH-RLHF from small gzipped transcripts in the published folders, against pairs worked out by hand."""

import gzip
import json

import pytest

from plurality.datasets import load
from plurality.datasets.hh_rlhf import KINDS, frames
from plurality.errors import InputError, InputWarning


def said(*turns):
    """A transcript: the human speaks first."""
    names = ("Human", "Assistant")
    return "".join(f"\n\n{names[place % 2]}: {text}" for place, text in enumerate(turns))


TEA = ("Tea?", "Green.\n\nOr 茶.", "Why Human: so?")
ROWS = {
    "helpful-base": [
        (said(*TEA, "Be\ncause"), said(*TEA, "No")),
        (said("a", "b", "c", "d"), said("a", "B", "c", "e")),  # they part before the last reply
        (said("a", "same"), said("a", "same ")),
    ],
    "helpful-online": [(said("a", "yes"), said("a", " ")), (said("a", "yes"), said("a", "no"))],
    "helpful-rejection-sampled": [(said("q", "r", "s"), said("q", "r", "t"))],
    "harmless-base": [
        (said("bomb?", "no"), said("bomb?", "sure")),
        ("a text", said("a", "b")),
        ("\n\nAssistant: hi", "\n\nAssistant: ho"),
    ],
}  # fmt: skip


def write(folder, split="train", rows=None):
    for subset, pairs in (ROWS | (rows or {})).items():
        (folder / subset).mkdir(exist_ok=True)
        lines = (json.dumps({"chosen": chosen, "rejected": rejected}) + "\n" for chosen, rejected in pairs)
        (folder / subset / f"{split}.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode()))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def told(made):
    return made.collect().select("user_id", "objective", "subset", "chosen", "rejected").rows()


def test_the_last_reply_under_what_was_said_before(folder):
    made = frames(folder)
    assert told(made) == [
        ("everybody", "helpful", "helpful-base", "Be\ncause", "No"),
        ("everybody", "helpful", "helpful-online", "yes", "no"),
        ("everybody", "harmless", "harmless-base", "no", "sure"),
    ]
    assert made.collect()["prompt"].to_list()[0] == [
        {"role": "user", "content": "Tea?"},
        {"role": "assistant", "content": "Green.\n\nOr 茶."},
        {"role": "user", "content": "Why Human: so?"},
    ]
    assert made.dropped == {
        "rows without a reply of the assistant": 1, "rows that end with the human": 1, "rows with a blank reply": 1,
        "rows that differ before the last reply": 1, "rows without a prompt": 1, "rows of equal texts": 1,
    }  # fmt: skip
    assert made.users.rows() == [("everybody",)]


def test_subsets_splits_objectives_and_users(folder):
    assert [row[2] for row in told(frames(folder, subsets="helpful"))] == ["helpful-base", "helpful-online"]
    assert [row[2] for row in told(frames(folder, subsets="harmless-base"))] == ["harmless-base"]
    named = frames(folder, objectives="subset", users="kind")
    assert [row[:2] for row in told(named)] == [
        ("helpful", "helpful-base"), ("helpful", "helpful-online"), ("harmless", "harmless-base")
    ]  # fmt: skip
    assert named.users["user_id"].to_list() == ["helpful", "harmless"]
    assert "objective" not in frames(folder, objectives="none").collect().columns
    write(folder, "test", {subset: [(said("q", "x"), said("q", "y"))] for subset in KINDS})
    assert {row[3:] for row in told(frames(folder, split="test"))} == {("x", "y")}


def test_turns_of_one_speaker_in_a_row_are_one(tmp_path):
    once = "\n\nHuman: a\n\nHuman: and b\n\nAssistant: c\n\nAssistant: d \n\nAssistant: e\n\nHuman: f"
    pairs = [
        (f"{once}\n\nAssistant: yes\n\nAssistant: really", f"{once}\n\nAssistant: no"),
        (f"{once}\n\nAssistant: yes", f"{once}\n\nAssistant: no\n\nAssistant: and no again"),
    ]
    rows = frames(write(tmp_path, rows={"helpful-online": pairs}), subsets="helpful-online").collect()
    assert rows["chosen"].to_list() == ["yes\n\nreally", "yes"]
    assert rows["rejected"].to_list() == ["no", "no\n\nand no again"]
    assert rows["prompt"].to_list() == [[
        {"role": "user", "content": "a\n\nand b"},
        {"role": "assistant", "content": "c\n\nd\n\ne"},
        {"role": "user", "content": "f"},
    ]] * 2  # fmt: skip


def test_a_folder_of_some_subsets(folder):
    for subset in ("helpful-base", "harmless-base"):
        (folder / subset / "train.jsonl.gz").unlink()
    with pytest.warns(InputWarning, match="but not helpful-base/train, harmless-base/train; only they are read"):
        made = frames(folder)
    assert [row[2:] for row in told(made)] == [("helpful-online", "yes", "no")]
    with pytest.raises(InputError, match="holds no harmless-base/train"):
        frames(folder, subsets="harmless-base")


def test_one_subset_or_one_file(folder):
    subset = folder / "harmless-base"
    (subset / "train.jsonl.gz").rename(subset / "test.jsonl.gz")
    alone = [("harmless-base", "no", "sure")]
    assert [row[2:] for row in told(frames(subset, split="test"))] == alone
    assert [row[2:] for row in told(frames(subset / "test.jsonl.gz"))] == alone
    with pytest.raises(InputError, match="holds test and nothing of the split train; say split=test"):
        frames(subset)


def test_to_comparisons(folder, letters, facts):
    data = load("hh_rlhf", folder, encoder=letters)
    assert data.objectives == ("harmless", "helpful")
    assert [data.objectives[place] for place in data.objective] == ["helpful", "helpful", "harmless"]
    assert [sides for _, _, sides, _ in facts(data)] == [
        {"Be\ncause": 1, "No": 0},
        {"yes": 1, "no": 0},
        {"no": 1, "sure": 0},
    ]


def test_what_is_an_error(folder):
    with pytest.raises(InputError, match="subsets='harmless' is unknown; choose all, helpful"):
        frames(folder, subsets="harmless")
    with pytest.raises(InputError, match=r"holds helpful-base/train, .* of the split test; say split=train"):
        frames(folder, split="test")
    alone = (folder / "helpful-base" / "train.jsonl.gz").rename(folder / "train.jsonl.gz")
    with pytest.raises(InputError, match=r"train\.jsonl\.gz is in no folder called helpful-base, .*; leave it in"):
        frames(alone)
    with pytest.raises(InputError, match=r"no comparison is left for hh_rlhf \(rows that end with the human 1\)"):
        frames(folder, subsets="helpful-rejection-sampled")
    write(folder, rows={"harmless-base": [*ROWS["harmless-base"], (said("a", "b"), [said("a", "c"), said("a", "d")])]})
    with pytest.raises(
        InputError, match=r"harmless-base/train\.jsonl\.gz: row 4: rejected is \[.* where text belongs; c"
    ):
        frames(folder)
    (folder / "harmless-base" / "train.jsonl.gz").write_bytes(gzip.compress(b'{"transcript": "x", "rating": 3}\n'))
    with pytest.raises(
        InputError, match="column chosen, rejected is missing, the columns are transcript, rating; give"
    ):
        frames(folder)
