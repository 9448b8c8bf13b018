"""GlobalOpinionQA from a small table in the form that its readers take, against pairs worked out by hand."""

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.global_opinions import frames
from plurality.errors import InputError

OPTIONS = "['Good', 'Bad', 'DK/Refused']"
ROWS = [
    ("Is tea?", "defaultdict(<class 'list'>, {'Ghana': [0.6, 0.2, 0.2], 'Peru': [0.5, 0.5, 0.0]})", OPTIONS, "GAS"),
    (
        "Is sea?",
        "defaultdict(<class 'list'>, {'Peru': [0.0, 0.9, 0.1], \"Côte d'Ivoire\": [0.0, 0.0, 1]})",
        OPTIONS,
        "WVS",
    ),
    (None, "defaultdict(<class 'list'>, {})", OPTIONS, "GAS"),  # the published file has one such row
]


def write(folder, rows=ROWS):
    names = ["question", "selections", "options", "source"]
    pl.DataFrame(rows, schema=names, orient="row").write_csv(folder / "global_opinions.csv")
    return folder


def told(made):
    return made.collect().select("user_id", "objective", "prompt", "chosen", "rejected", "label").rows()


def test_what_more_people_of_a_country_say_is_chosen(tmp_path):
    made = frames(write(tmp_path))
    assert told(made) == [
        ("Ghana", "GAS", "Is tea?", "Good", "Bad", pytest.approx(0.75)),
        ("Peru", "WVS", "Is sea?", "Bad", "Good", 1.0),
    ]
    assert made.dropped == {
        "rows without question": 1, "shares of options that are no answer": 4,
        "pairs of answers that nobody gave": 1, "ties": 1,
    }  # fmt: skip
    assert [row[5] for row in told(frames(tmp_path, ties="keep"))] == [pytest.approx(0.75), 0.5, 1.0]


def test_to_comparisons(tmp_path, letters):
    data = load("global_opinions", write(tmp_path), encoder=letters)
    assert (len(data), data.objectives, data.user_ids) == (2, ("GAS", "WVS"), ["Ghana", "Peru"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("q", "{'Peru': [0.1]}", OPTIONS, "GAS"), "selections are not a share of each option for each country"),
        (("q", "{'Peru': [2, 0, 0]}", OPTIONS, "GAS"), "selections are not a share of each option for each country"),
        (("q", "{'Peru': f()}", OPTIONS, "GAS"), "selections is not a literal that Python wrote"),
        (("q", "{}", "Good, Bad", "GAS"), "options is not a literal that Python wrote"),
    ],
)
def test_what_is_an_error(tmp_path, row, message):
    with pytest.raises(InputError, match=rf"global_opinions\.csv: row 4: {message}"):
        frames(write(tmp_path, [*ROWS, row]))
