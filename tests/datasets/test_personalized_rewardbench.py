"""Personalized-RewardBench from small files in the form that its readers take."""

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.personalized_rewardbench import frames
from plurality.errors import InputError

ROWS = [
    {"id": "1", "question": "tea?", "chosen": "green", "rejected": "black", "profile": [{"id": "h", "text": "I like"}]},
    {"id": "2", "question": "sea?", "chosen": "salt", "rejected": " ", "profile": []},
    {"id": "3", "question": "why?", "chosen": "so", "rejected": "no", "profile": []},
]


def write(folder, rows=ROWS):
    for part, name in ((rows[:2], "Art_and_Entertainment"), (rows[2:], "Society_and_Culture")):
        (folder / name).mkdir(exist_ok=True)
        pl.DataFrame(part).write_parquet(folder / name / "test-00000-of-00001.parquet")
    return folder


def test_every_row_is_somebody(tmp_path, letters):
    made = frames(write(tmp_path))
    assert made.collect().rows() == [("1", "tea?", "green", "black"), ("3", "why?", "so", "no")]
    assert made.dropped == {"pairs with a blank text": 1}
    assert made.users["user_id"].to_list() == ["1", "3"]
    assert len(load("personalized_rewardbench", tmp_path, encoder=letters)) == 2


def test_what_is_an_error(tmp_path):
    with pytest.raises(InputError, match="row 3: id is that of an earlier row; keep one"):
        frames(write(tmp_path, [*ROWS[:2], ROWS[0]]))
