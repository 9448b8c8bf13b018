"""POPQUORN from a small table as published, and on the real judgements where they are."""

import polars as pl
import pytest

from plurality.datasets.popquorn import PROMPT, frames
from plurality.errors import InputError

TEXTS = {530: "fine, really", 1280: "you\nfool", 621: "hm", 7: " "}
# comment, person, rating
RATED = [(530, 0, 1.0), (1280, 0, 4.0), (621, 0, 1.0), (7, 0, 2.0), (530, 1, 2.0), (1280, 1, None), (621, 1, 5.0)]


def write(folder, rated=RATED, **changed):
    table = pl.DataFrame(rated, schema=["instance_id", "user_id", "offensiveness"], orient="row").with_columns(
        text=pl.col("instance_id").replace_strict(TEXTS, return_dtype=pl.String),
        gender=pl.lit("Woman"),
        race=pl.lit("White"),
        age=pl.when(pl.col("user_id") == 0).then(pl.lit("35-39")),
        occupation=pl.lit("Student"),
        education=pl.lit("College degree"),
    )
    (folder / "offensiveness").mkdir(exist_ok=True)
    table.with_columns(**changed).write_csv(folder / "offensiveness" / "raw_data.csv")
    (folder / "politeness_rating").mkdir(exist_ok=True)
    (folder / "politeness_rating" / "raw_data.csv").write_text("instance_id,user_id\n1,1\n")
    return folder


def told(made):
    return sorted(made.collect().select("user_id", "chosen", "rejected", "strength").rows())


PAIRS = [("0", "fine, really", "you\nfool", 0.75), ("0", "hm", "you\nfool", 0.75), ("1", "fine, really", "hm", 0.75)]


def test_the_less_offensive_is_preferred(tmp_path):
    made = frames(write(tmp_path), block=0)
    assert told(made) == PAIRS
    assert made.dropped == {"ratings of blank comments": 1, "ratings without a number": 1, "ties": 1}
    assert made.collect()["prompt"].unique().to_list() == [PROMPT]
    assert made.users.select("user_id", "age", "gender").rows() == [("0", "35-39", "Woman"), ("1", None, "Woman")]
    assert told(frames(tmp_path / "offensiveness" / "raw_data.csv", block=0)) == PAIRS


@pytest.mark.parametrize(
    ("rated", "changed", "message"),
    [
        ([*RATED, (530, 2, 6.0)], {}, "row 8: offensiveness is not within 1 to 5; correct"),
        (
            RATED,
            {"text": pl.format("text {}", "user_id")},
            "row 5: the text is not that of an earlier row with this ins",
        ),
        (RATED, {"offensiveness": None}, "column offensiveness is missing or empty; give the published file"),
    ],
)
def test_what_is_an_error(tmp_path, rated, changed, message):
    with pytest.raises(InputError, match=rf"raw_data\.csv: {message}"):
        frames(write(tmp_path, rated, **changed))


def test_the_real_judgements(real_data):
    made = frames(real_data("popquorn"))
    assert (made.collect().height, made.users.height, made.dropped) == (22_419, 262, {})
    assert made.users.columns == ["user_id", "gender", "race", "age", "occupation", "education"]
    assert made.collect().join(made.users, on="user_id", how="anti").height == 0
    assert made.collect().filter(pl.col("chosen") == pl.col("rejected")).height == 0
