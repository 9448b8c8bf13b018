"""D3CODE from three small tables with the published columns, against pairs worked out by hand."""

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.d3code import MORAL, PROMPT, frames
from plurality.errors import InputError, InputWarning

ITEMS = pl.DataFrame(
    {
        "item_id": [1, 2, 3, 4, 5],
        "text": ["you, fool", 'a "fine" day\nindeed', "schön 好", " ", "you, fool"],
        "category": ["random", "moral", "random", "social group", "random"],
        "sub-category": ["random", "care", "random", "women", "random"],
    }
)
RATERS = pl.DataFrame(
    {
        "rater_id": ["R_1", "R_2", "R_3"],
        "Age": ["18-30", "50+", None],
        "Gender": ["Man", "Other", "Woman"],
        "Region": ["Oceania", "Sinosphere", "Latin America"],
        "Country": ["Australia", "China", "Brazil"],
        "SES": [5, None, 3],
        **{name: [1.5, 3.833333333, 5.0] for name in MORAL},
    }
)
# rater, item, raw
GIVEN = [
    ("R_1", 1, 4), ("R_1", 2, 0), ("R_1", 3, 1), ("R_1", 4, 3), ("R_1", 5, 2),
    ("R_2", 1, 1), ("R_2", 2, 1), ("R_2", 3, -1), ("R_2", 1, 4), ("R_3", 2, 0),
]  # fmt: skip


def ratings(given=GIVEN):
    binary = ["na" if raw == -1 else str(int(raw >= 2)) for *_, raw in given]
    table = pl.DataFrame(given, schema=["rater_id", "item_id", "rating_raw"], orient="row")
    return table.with_columns(rating_binary=pl.Series(binary))


def write(folder, **changed):
    for name, table in ({"items": ITEMS, "raters": RATERS, "ratings": ratings()} | changed).items():
        table.write_csv(folder / f"d3-{name}.csv")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def told(made):
    return sorted(made.collect().select("user_id", "chosen_item_id", "rejected_item_id", "strength").rows())


PAIRS = [("R_1", "2", "1", 1), ("R_1", "2", "3", 0.25), ("R_1", "2", "5", 0.5)]
PAIRS += [("R_1", "3", "1", 0.75), ("R_1", "3", "5", 0.25)]


def test_the_less_offensive_is_preferred(folder):
    made = frames(folder, block=0)
    assert told(made) == PAIRS
    assert made.dropped == {
        "ratings of comments that were not understood": 1, "ratings of blank comments": 1,
        "ratings that repeat a person's earlier one": 1, "ties": 1, "pairs of equal texts": 1,
    }  # fmt: skip
    rows = made.collect()
    assert rows["prompt"].unique().to_list() == [PROMPT]
    assert rows["weight"].to_list() == [pytest.approx(1 / 3)] * 5
    assert frames(folder, block=0, weights="pair").collect()["weight"].to_list() == [1] * 5
    kept = frames(folder, block=0, ties="keep").collect()
    assert kept.filter(pl.col("user_id") == "R_2").select("label", "strength").rows() == [(0.5, 1)]


def test_people(folder):
    users = frames(folder, block=0, ties="keep").users
    assert users["user_id"].to_list() == ["R_1", "R_2"]  # R_3 rated one comment
    assert users.columns == ["user_id", "age", "gender", "region", "country", "ses", *MORAL]
    assert users.select("age", "ses", "care").rows() == [("18-30", 5, 1.5), ("50+", None, 3.833333333)]


def test_to_comparisons(folder, letters, facts):
    data = load("d3code", folder, encoder=letters, block=0)
    assert len(data) == len(PAIRS)
    sides = {frozenset(sides.items()) for _, _, sides, _ in facts(data)}
    assert frozenset({('a "fine" day\nindeed', 1), ("you, fool", 0)}) in sides


def test_ids_that_recur_are_one_where_their_rows_agree(tmp_path, folder):
    again = pl.concat([ITEMS, ITEMS[:1].with_columns(category=pl.lit("moral"))])  # as 34 ids of the published file
    made = frames(write(tmp_path, items=again, raters=pl.concat([RATERS, RATERS[:1]])), block=0)
    assert told(made) == PAIRS
    other = pl.concat([ITEMS, ITEMS[:1].with_columns(text=pl.lit("you, genius"))])
    with pytest.raises(InputError, match=r"d3-items\.csv: row 6: item_id is that of an earlier row that says someth"):
        frames(write(tmp_path, items=other))


def test_an_odd_or_missing_cell(tmp_path):
    raters = RATERS.with_columns(care=pl.Series(["high", "3.8", "5"]))
    with pytest.warns(InputWarning, match=r"d3-raters\.csv: row 1: care is 'high' where a number belongs; taken as mi"):
        made = frames(write(tmp_path, raters=raters, ratings=ratings()), block=0)
    assert told(made) == PAIRS
    assert made.users["care"].to_list() == [None]
    lost = frames(
        write(tmp_path, raters=RATERS, items=ITEMS.with_columns(text=pl.col("text").replace(" ", None))), block=0
    )
    assert told(lost) == PAIRS
    gap = ratings().with_columns(rater_id=pl.when(pl.col("item_id") != 5).then("rater_id"))
    less = frames(write(tmp_path, ratings=gap), block=0)
    assert less.dropped["rows without rater_id"] == 1
    assert told(less) == [pair for pair in PAIRS if pair[2] != "5"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ratings": ratings([*GIVEN, ("R_1", 9, 0)])}, r"d3-ratings\.csv: row 11: item_id is not in the table of its"),
        ({"ratings": ratings([("R_9", 1, 0)])}, r"d3-ratings\.csv: row 1: rater_id is not in the table of its kind; g"),
        ({"ratings": ratings([("R_1", 1, 5)])}, r"row 1: rating_raw is none of -1, 0, 1, 2, 3, 4; correct the row"),
        ({"ratings": ratings().drop("item_id")}, r"column item_id is missing, the columns are rater_id, rating_raw, r"),
        ({"ratings": ratings().with_columns(rating_raw=pl.lit("na"))}, "row 1: rating_raw is 'na' where a number bel"),
        (
            {"raters": pl.concat([RATERS, RATERS[:1].with_columns(Age=pl.lit("50+"))])},
            r"d3-raters\.csv: row 4: rater_id is that of an earlier row that s",
        ),
        ({"items": ITEMS.drop("text")}, r"d3-items\.csv: column text is missing or empty; give the published file"),
        ({"items": ITEMS.with_columns(text=None)}, r"d3-items\.csv: column text is missing or empty; give the publ"),
        ({"raters": RATERS.drop("rater_id")}, r"d3-raters\.csv: column rater_id is missing, the columns are Age, "),
        ({"ratings": ratings([("R_1", 1, 2), ("R_1", 2, 2)])}, r"no comparison is left for d3code \(ties 1\); loosen"),
    ],
)
def test_what_is_an_error(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        frames(write(tmp_path, **changed))
