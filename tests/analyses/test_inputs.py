"""Input is read the same from every container, and bad input is named."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from plurality.analyses.audit.attributes import attributes_of
from plurality.analyses.inputs import (
    chosen,
    default_cell,
    default_model,
    read_predictions,
    read_table,
)
from plurality.errors import InputError, InputWarning

GOOD = {"user_id": ["a", "b", "a"], "prob_first": [0.2, 0.5, 0.9], "label": [0.0, 1.0, 0.5]}


def frame(**changes):
    return pl.DataFrame(GOOD | changes)


def test_every_container_gives_the_same_frame(tmp_path):
    expected = frame()
    expected.write_parquet(tmp_path / "p.parquet")
    expected.write_csv(tmp_path / "p.csv")
    expected.write_ndjson(tmp_path / "p.jsonl")
    paths = [tmp_path / "p.parquet", str(tmp_path / "p.csv"), tmp_path / "p.jsonl"]
    for table in (expected, expected.lazy(), GOOD, pd.DataFrame(GOOD), *paths):
        assert read_table(table, "predictions").equals(expected)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (3, "predictions of type int cannot be read; give a file"),
        ("no/such.parquet", "no/such.parquet does not exist; give the path of the predictions"),
    ],
)
def test_what_is_no_table_is_named(table, text):
    with pytest.raises(InputError, match=text):
        read_table(table, "predictions")


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "p.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"p\.parquet cannot be read .*write the file again"):
        read_table(tmp_path / "p.parquet", "predictions")


def test_predictions_are_read_as_they_stand():
    data, notes = read_predictions(frame())
    assert data.ids == ("a", "b")
    assert data.user.tolist() == [0, 1, 0]
    assert data.served.tolist() == [0, 0.5, 1]  # the model's own pick, half where it has none
    assert data.own_pick
    assert data.gap is None
    assert notes == []
    given, _ = read_predictions(frame(served_first=[1.0, 0.0, 0.3], weight=[2, 1, 1]))
    assert given.served.tolist() == [1, 0, 0.3]
    assert given.weight.tolist() == [2, 1, 1]
    assert not given.own_pick


def test_whole_number_ids_are_taken_as_text_and_rows_of_no_weight_left_out():
    data, notes = read_predictions(frame(user_id=[7, 8, 7], weight=[1, 0, 1]))
    assert data.ids == ("7",)
    assert notes == ["1 rows of weight 0 were left out."]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"prob_first": [0.2, 1.5, 0.9]}, r"prob_first is 1\.5 in row 1 \(first row is 0\); it must lie in \[0, 1\]"),
        ({"prob_first": [0.2, None, float("nan")]}, r"prob_first is missing, NaN or infinite in rows 1, 2"),
        ({"label": [2.0, 1.0, -1.0]}, r"label is 2\.0 in rows 0, 2"),
        ({"label": ["x", "y", "z"]}, "label is 'x' in rows 0, 1, 2 .*; give numbers"),
        ({"weight": [-1, 1, 1]}, r"weight is -1\.0 in row 0 .*in \[0, 1e"),
        ({"weight": [0, 0, 0]}, "no row with a positive weight"),
        ({"gap": [0.0, 0.0, float("inf")]}, "gap is missing, NaN or infinite in row 2"),
        ({"gap": [-1.386, 0.0, 5.0]}, r"gap 5\.0 and prob_first 0\.9 disagree in row 2"),
        ({"user_id": ["a", None, ""]}, "user_id is empty in rows 1, 2"),
        ({"user_id": [0.5, 1.5, 2.5]}, "user_id is Float64; give strings"),
        ({"served_first": [0, 1, 7]}, r"served_first is 7\.0 in row 2"),
    ],
)
def test_bad_predictions_are_named(changes, text):
    with pytest.raises(InputError, match=text):
        read_predictions(frame(**changes))


def test_missing_columns_are_named():
    with pytest.raises(InputError, match="no column prob_first or label, found 'user_id'"):
        read_predictions(frame().select("user_id"))
    with pytest.raises(InputError, match="no column user_id"):
        read_predictions(frame().drop("user_id"))


def test_many_bad_rows_are_counted():
    bad = pl.DataFrame({"user_id": ["a"] * 9, "prob_first": [2.0] * 9, "label": [1.0] * 9})
    with pytest.raises(InputError, match="in rows 0, 1, 2, 3, 4 and 4 more"):
        read_predictions(bad)


def test_winner_first_data_earns_a_warning():
    with pytest.warns(InputWarning, match="winner stored first.*1 - p when the two responses are swapped"):
        read_predictions(frame(label=[1.0, 1.0, 1.0]))


MODELS = pl.DataFrame(
    {
        "model": ["shuffled users", "pal", "vpl", "pal"],
        "cell": ["seen users, seen prompts", "seen users, unseen prompts", "unseen/unseen", "unseen/seen"],
    }
)


def test_the_first_model_that_is_no_control_is_taken():
    assert default_model(MODELS) == "pal"
    marked = MODELS.with_columns(control=pl.Series([False, True, False, True]))
    assert default_model(marked) == "shuffled users"
    assert default_model(frame()) is None


@pytest.mark.parametrize(
    "name", ["seen users, unseen items", "seen × unseen", "seen_user/unseen_prompt", "SEEN-UNSEEN"]
)
def test_the_cell_of_seen_users_and_unseen_items_is_taken(name):
    cells = ["unseen users, unseen items", "seen users, seen items", name]
    assert default_cell(pl.DataFrame({"cell": cells})) == name


def test_choosing_a_model_or_a_cell():
    rows, taken, notes = chosen(MODELS, "model", "pal", None)
    assert (rows.height, taken, notes) == (2, "pal", [])
    said = chosen(MODELS, "model", None, "pal")[2]
    assert said == ["Model 'pal' was taken; model= chooses another of 'shuffled users', 'vpl'."]
    assert chosen(frame(), "model", None, None)[1] is None
    assert chosen(MODELS.head(1), "model", None, None)[1] == "shuffled users"
    with pytest.raises(
        InputError, match="model: several are there; choose model= one of 'shuffled users', 'pal', 'vpl'"
    ):
        chosen(MODELS, "model", None, None)
    with pytest.raises(InputError, match="cell: 'x' is not there"):
        chosen(MODELS, "cell", "x", None)
    with pytest.raises(InputError, match="no column model"):
        chosen(frame(), "model", "pal", None)


USERS = pl.DataFrame(
    {
        "user_id": ["a", "b", "c"],
        "gender": ["Woman", None, "Prefer not to say"],
        "stars": [1, 2, 2],
        "height": [1.7, 1.8, 1.9],
        "same": ["x", "x", "x"],
    }
)


def test_levels_keep_what_is_missing_apart():
    levels, notes = attributes_of(USERS, ("a", "b", "c", "z"), None)
    assert levels.columns == ["gender", "stars"]
    assert levels["gender"].to_list() == ["Woman", "(missing)", "Prefer not to say", "(not in users table)"]
    assert levels["stars"].to_list() == ["1", "2", "2", "(not in users table)"]
    assert "height (Float64), same (1 levels)" in notes[0]
    assert "Users who are not in the users table" in notes[1]


def test_whole_numbers_beside_a_missing_value_are_levels():
    users = pd.DataFrame({"user_id": ["a", "b", "c"], "children": [2, None, 0]})  # floats in pandas
    levels, _ = attributes_of(read_table(users, "users"), ("a", "b", "c"), None)
    assert levels["children"].to_list() == ["2", "(missing)", "0"]


def test_a_column_of_many_levels_is_passed_over_unless_asked_for():
    ids = [str(k) for k in range(60)]
    users = pl.DataFrame({"user_id": ids, "town": ids, "big": np.arange(60)})
    assert attributes_of(users, tuple(ids), None)[0].columns == []
    assert attributes_of(users, tuple(ids), ["town"])[0].columns == ["town"]
    assert attributes_of(users, tuple(ids), "big")[0].columns == ["big"]


@pytest.mark.parametrize(
    ("users", "by", "text"),
    [
        (USERS, ["age"], "by: 'age' is no attribute of the users table; it has 'gender', 'stars'"),
        (USERS, ["height"], "users: height is Float64; cut it into named bands"),
        (pl.concat([USERS, USERS.head(1)]), None, "user_id 'a' stands on 2 rows"),
        (USERS.with_columns(user_id=pl.Series(["x", "y", "w"])), None, "none of the users in predictions is listed"),
        (None, ["age"], "without a users table"),
    ],
)
def test_bad_users_are_named(users, by, text):
    with pytest.raises(InputError, match=text):
        attributes_of(users, ("a", "b", "c"), by)
