"""Arena 140k from small parquet files in the form that its readers take, against pairs worked out by hand."""

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.arena_140k import frames
from plurality.errors import InputError


def message(role, text, image=False):
    parts = [{"type": "text", "text": text, "image": None, "mimeType": None}]
    if image:
        parts.append({"type": "image", "text": None, "image": "i.png", "mimeType": "image/png"})
    return {"role": role, "content": parts}


def vote(session, winner, asked, a, b, *, image=False, language="en", code=False):
    sides = ([message("user", asked, image), message("assistant", said)] for said in (a, b))
    return {
        "id": f"{session}/{asked}", "model_a": "x", "model_b": "y", "winner": winner, "evaluation_session_id": session,
        "evaluation_order": 1, **dict(zip(("conversation_a", "conversation_b"), sides, strict=True)),
        "language": language, "is_code": code,
    }  # fmt: skip


VOTES = [
    vote("s1", "model_a", "tea?", "green", "black"),
    vote("s1", "model_b", "and now?", "tea", "cake", code=True),
    vote("s2", "tie", "sea?", "salt", "sand"),
    vote("s3", "both_bad", "why?", "so", "no", language="de"),
    vote("s4", "model_a", "what is it?", "a cat", "a dog", image=True),
    vote("s5", "model_a", "same?", "yes", "yes"),
]


def write(folder, votes=VOTES):
    for part in (0, 1):
        pl.DataFrame(votes[part::2], infer_schema_length=None).write_parquet(
            folder / f"train-0000{part}-of-00002.parquet"
        )
    return folder


def told(made):
    return sorted(made.collect().select("user_id", "prompt", "chosen", "rejected", "label", "chosen_model").rows())


def test_a_vote_is_a_comparison(tmp_path):
    made = frames(write(tmp_path))
    assert told(made) == [("s1", "and now?", "cake", "tea", 1, "y"), ("s1", "tea?", "green", "black", 1, "x")]
    assert made.dropped == {"conversations with a message without text": 1, "pairs of equal texts": 1, "ties": 2}
    kept = frames(tmp_path, ties="keep", language="en", code="drop")
    assert [(row[0], row[4]) for row in told(kept)] == [("s1", 1), ("s2", 0.5)]
    assert kept.dropped["votes in other languages"] == kept.dropped["votes on code"] == 1


def test_to_comparisons(tmp_path, letters):
    data = load("arena_140k", write(tmp_path), encoder=letters)
    assert (len(data), data.user_ids, len(set(data.group.tolist()))) == (2, ["s1"], 1)


def test_what_is_an_error(tmp_path):
    with pytest.raises(InputError, match="winner is none of model_a, model_b, tie, both_bad; correct"):
        frames(write(tmp_path, [VOTES[0], VOTES[1] | {"winner": "model_c"}]))
    with pytest.raises(InputError, match="code='no' is unknown; choose keep, drop"):
        frames(tmp_path, code="no")
