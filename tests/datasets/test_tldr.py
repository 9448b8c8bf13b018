"""TL;DR comparisons from small JSON lines as published, and as parquet, against pairs worked out by hand."""

import json

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.tldr import frames
from plurality.errors import InputError

POST = {"id": "t3_a", "post": "I spilt\nthé.", "title": "Tea", "subreddit": "advice"}
ARTICLE = {"id": "f00", "site": "dailymail", "title": "News", "article": "Newcastle …"}
POST_PROMPT = "SUBREDDIT: r/advice\nTITLE: Tea\nPOST: I spilt\nthé.\nTL;DR:"


def row(info, texts, choice, worker, *, policies=("sup1", "ref"), split="train", **extra):
    summaries = [{"text": t, "policy": p, "note": None} for t, p in zip(texts, policies, strict=True)]
    return {
        "info": info, "summaries": summaries, "choice": choice, "worker": worker, "batch": "batch3", "split": split,
        "extra": extra,
    }  # fmt: skip


EARLY = [
    row(POST, (" spilt tea", " tea"), 1, "w1"),
    row(POST, (" spilt tea", " tea"), 0, "w2", policies=("sup4", "sup1")),
    row(POST, (" tea", " tea "), 0, "w2"),
    row(POST, ("  ", " tea"), 1, "w2"),
]
LATE = [
    row(POST, (" 茶", " x"), 0, "w1", split="valid1", confidence=2),
    row(ARTICLE, ("lost", "won"), 1, "w3", split="valid2", confidence=9),
    row(POST, ("p", "q"), 1, "w3", split="valid2", confidence=5),
]


def write(folder, **files):
    """The archive: comparisons, and ratings of another kind beside them."""
    (folder / "comparisons").mkdir(exist_ok=True)
    (folder / "axis_evals").mkdir(exist_ok=True)
    (folder / "axis_evals" / "cnndm1.json").write_text('{"summary": {}}\n')
    for name, rows in ({"batch3": EARLY, "cnndm2": LATE} | files).items():
        lines = (json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
        (folder / "comparisons" / f"{name}.json").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def told(made):
    columns = ["user_id", "group_id", "chosen", "rejected", "label", "strength"]
    return sorted(made.collect().select(columns).rows())


PAIRS = [
    ("w1", "t3_a", " tea", " spilt tea", 1, 1),
    ("w1", "t3_a", " 茶", " x", 1, 0.75),
    ("w2", "t3_a", " spilt tea", " tea", 1, 1),
    ("w3", "f00", "won", "lost", 1, 1),
]


def test_the_chosen_with_the_other(folder):
    made = frames(folder)
    assert told(made) == PAIRS
    assert made.dropped == {
        "comparisons with a blank summary": 1, "comparisons of equal texts": 1, "ties": 1
    }  # fmt: skip
    rows = made.collect().filter(pl.col("user_id") == "w2")
    assert rows.select("prompt", "chosen_policy", "rejected_policy", "split").rows() == [
        (POST_PROMPT, "sup4", "sup1", "train")
    ]
    assert sorted(made.users["user_id"]) == ["w1", "w2", "w3"]


def test_documents_splits_policies_and_ties(folder):
    article = frames(folder, documents="articles").collect()
    assert article["prompt"].to_list() == ["TITLE: News\nARTICLE: Newcastle …\nTL;DR:"]
    assert {r[1] for r in told(frames(folder, documents="posts"))} == {"t3_a"}
    assert told(frames(folder, split="valid1")) == PAIRS[1:2]
    assert told(frames(folder, policies="sup")) == PAIRS[2:3]
    assert told(frames(folder, ties="keep")) == [*PAIRS, ("w3", "t3_a", "q", "p", 0.5, 1)]
    plain = frames(folder, strength=False).collect()
    assert plain.height == 5  # the chosen one, however unsure
    assert not {"label", "strength"} & set(plain.columns)


def test_files_without_any_confidence(tmp_path):
    (tmp_path / "one").mkdir()
    assert told(frames(write(tmp_path / "one", cnndm2=EARLY[:1]) / "comparisons" / "batch3.json"))[0] == PAIRS[0]
    bare = [{k: v for k, v in r.items() if k != "extra"} for r in EARLY]
    assert told(frames(write(tmp_path, cnndm2=bare, batch3=bare)))[-1] == PAIRS[2]


def test_the_conversion_to_parquet(folder, tmp_path):
    blank = dict.fromkeys(("id", "post", "title", "subreddit", "site", "article"))
    for name, rows in (("train", EARLY), ("validation", LATE)):
        full = [r | {"info": blank | r["info"], "extra": {"confidence": r["extra"].get("confidence")}} for r in rows]
        part = tmp_path / "hub" / "comparisons" / name / "0000.parquet"
        part.parent.mkdir(parents=True)
        pl.DataFrame(full, infer_schema_length=None).write_parquet(part)
    assert told(frames(tmp_path / "hub")) == PAIRS


def test_to_comparisons(folder, letters, facts):
    data = load("tldr", folder, encoder=letters)
    found = [(u, frozenset(sides.items()), w) for u, _, sides, w in facts(data)]
    expected = [(u, frozenset({(chosen, 1), (rejected, 0)}), s) for u, _, chosen, rejected, _, s in PAIRS]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert len(set(data.group.tolist())) == 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (EARLY[0] | {"choice": 2}, r"comparisons \(2 files\): row 8: choice is neither 0 nor 1; correct the row"),
        (EARLY[0] | {"summaries": EARLY[0]["summaries"] * 2}, "row 8: summaries are not two; correct"),
        (row(POST, ("a", "b"), 0, "w", confidence=11), r"row 8: extra\.confidence is not within 1 to 9; correct"),
        (
            row(POST, ("a", ["b", "c"]), 0, "w"),
            r"cnndm2\.json: row 4: summaries is .* where a list of an object with te",
        ),
        (EARLY[0] | {"info": "t3_a"}, r"cnndm2\.json: row 4: info is 't3_a' where an object with id, title belongs"),
    ],
)
def test_a_bad_row(tmp_path, bad, message):
    with pytest.raises(InputError, match=message):
        frames(write(tmp_path, cnndm2=[*LATE, bad]))


def test_a_row_without_a_worker_is_left_out_and_counted(tmp_path):
    made = frames(write(tmp_path, cnndm2=[*LATE, EARLY[0] | {"worker": None}]))
    assert made.dropped["rows without worker"] == 1


def test_what_is_missing_or_unknown(folder, tmp_path):
    with pytest.raises(InputError, match="split='test' is unknown; choose all, train, valid1, valid2"):
        frames(folder, split="test")
    rows = [{k: v for k, v in r.items() if k != "choice"} for r in EARLY]
    with pytest.raises(InputError, match="column choice is missing, the columns are"):
        frames(write(tmp_path, batch3=rows, cnndm2=rows))
