"""LLMFAO from small tables as published, and on the real judgements where they are."""

import json

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.llmfao import frames
from plurality.errors import InputError

PAIRS = [
    {"id": 0, "prompt": 8, "text": "haiku?", "model_x": 97, "result_x": "one", "model_y": 98, "result_y": "two"},
    {"id": 1, "prompt": 8, "text": "haiku?", "model_x": 29, "result_x": " ", "model_y": 98, "result_y": "two"},
    {"id": 2, "prompt": 9, "text": "why?", "model_x": 97, "result_x": "so", "model_y": 29, "result_y": None},
]
# pair, worker, winner
JUDGED = [(0, 58, "tie"), (0, 14, "right"), (0, 83, "left"), (1, 14, "right"), (2, 14, "left")]


def write(folder, judged=JUDGED, pairs=PAIRS):
    of = {pair["id"]: pair for pair in pairs}
    rows = [
        {"id": i, "prompt": 8, "model_x": of.get(i, pairs[0])["model_x"], "model_y": of.get(i, pairs[0])["model_y"],
         "worker": worker, "winner": winner, "left": "X", "right": "Y"}
        for i, worker, winner in judged
    ]  # fmt: skip
    pl.DataFrame(rows).write_csv(folder / "crowd-comparisons.csv")
    lines = (json.dumps(pair) + "\n" for pair in pairs)
    (folder / "pairs-crowd.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def told(made):
    return made.collect().select("user_id", "prompt", "chosen", "rejected", "label", "group_id", "chosen_model").rows()


def test_left_is_x_and_right_is_y(tmp_path):
    made = frames(write(tmp_path))
    assert told(made) == [("w14", "haiku?", "two", "one", 1, "8", "98"), ("w83", "haiku?", "one", "two", 1, "8", "97")]
    assert made.dropped == {"pairs with a blank text": 2, "ties": 1}
    assert made.users["user_id"].to_list() == ["w14", "w83"]
    assert told(frames(tmp_path, ties="keep"))[0] == ("w58", "haiku?", "one", "two", 0.5, "8", "97")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"judged": [*JUDGED, (0, 1, "both")]}, r"comparisons\.csv: row 6: winner is none of left, right, tie"),
        ({"judged": [*JUDGED, (7, 1, "left")]}, r"comparisons\.csv: row 6: id is not in .*pairs-crowd\.jsonl; give"),
        ({"pairs": [*PAIRS, PAIRS[0]]}, r"pairs-crowd\.jsonl: row 4: id is that of an earlier row; keep one"),
    ],
)
def test_what_is_an_error(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        frames(write(tmp_path, **changed))


def test_models_that_do_not_match(tmp_path):
    write(tmp_path)
    pairs = [PAIRS[0] | {"model_x": 1}, *PAIRS[1:]]
    (tmp_path / "pairs-crowd.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    with pytest.raises(InputError, match=r"comparisons\.csv: row 1: the models are others than in .*pairs-crowd"):
        frames(tmp_path)


def test_the_conversion_is_of_the_published_files(real_data):
    """All but a few of the conversion's rows, whose blanks at the ends were cut there."""
    published = frames(real_data("raw") / "llmfao")
    assert (published.collect().height, published.users.height) == (4_929, 124)
    ours = frames(real_data("llmfao")).collect()
    texts = [pl.col(name).str.strip_chars() for name in ("user_id", "prompt", "chosen", "rejected")]
    both = ours.select(texts).join(
        published.collect().select(texts), on=["user_id", "prompt", "chosen", "rejected"], how="semi"
    )
    assert both.height > 0.98 * ours.height


def test_blank_answers_are_left_out_and_counted(real_data):
    published = pl.read_parquet(real_data("llmfao") / "comparisons.parquet")
    blank = published.select(pl.col("chosen", "rejected").str.strip_chars() == "")
    made = frames(real_data("llmfao"))
    assert sum(made.dropped.values()) == blank.select(pl.any_horizontal(pl.all())).to_series().sum() > 0
    assert made.dropped["rows whose chosen is blank"] == blank["chosen"].sum()
    assert made.collect().height == 5_442 - sum(made.dropped.values())
    assert made.users.height == 117


def test_what_is_left_can_be_embedded(real_data, letters):
    with pytest.warns(UserWarning, match="rows repeat another in every column"):
        data = load("llmfao", real_data("llmfao"), encoder=letters)
    assert len(data.present) == 117
