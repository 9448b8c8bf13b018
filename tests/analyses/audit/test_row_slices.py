"""Slices of rows: the audit of those rows alone, people the unit, nothing small in what is written."""

import numpy as np
import polars as pl
import pytest

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.row_levels import OTHERS, coded, row_levels
from plurality.analyses.audit.row_slices import TOGETHER
from plurality.analyses.calibration.slopes import slopes_by_group
from plurality.errors import InputError

LEAST = 11


@pytest.fixture(scope="module")
def sliced(simulate):
    """Topics of which one is answered at random, and an audit by them."""
    predictions, users = simulate(users=160, rows=12, seed=3)
    rng = np.random.default_rng(3)
    topic = rng.choice(["maths", "poems", "rare"], predictions.height, p=[0.6, 0.38, 0.02])
    label = np.where(topic == "poems", rng.integers(0, 2, len(topic)), predictions["label"])
    table = predictions.with_columns(topic=pl.Series(topic), label=pl.Series(label).cast(pl.Float64))
    return table, users, audit(table, users, by=["region"], rows=["topic"], n_bootstrap=200)


def test_a_level_of_rows_is_the_audit_of_those_rows(sliced):
    table, users, result = sliced
    frame = result.sections["rows_topic"].frame
    alone = audit(table.filter(topic="maths"), users, by=["region"], n_bootstrap=0).table
    here = frame.filter(rows_level="maths").drop("rows", "rows_level")
    both = here.join(alone, on=["metric", "provenance", "attribute", "level"], suffix="_alone")
    both = both.filter(~pl.col("suppressed"), pl.col("metric") != "temperature", pl.col("estimate").is_finite())
    assert both.height > 40
    np.testing.assert_allclose(both["estimate"], both["estimate_alone"], atol=1e-9)
    assert both["n_users"].equals(both["n_users_alone"])
    poems = frame.filter(rows_level="poems", attribute="(overall)", metric="accuracy").row(0, named=True)
    assert poems["lo"] < 0.5 < poems["hi"]
    assert poems["diff_hi"] < 0  # from all rows, by the same draws of people
    assert "served least in poems" in " ".join(result.verdict)


def test_intervals_of_rows_are_of_people(simulate):
    """Each person has one taste for all rows of a topic: rows in plenty make nobody surer."""
    rng = np.random.default_rng(0)
    ids = [f"u{k:03}" for k in range(60)]
    right = rng.random(60) < 0.6
    table = pl.DataFrame({"user_id": np.repeat(ids, 80), "prob_first": 0.8, "label": np.repeat(right, 80).astype(float),
                          "topic": ["a", "b"] * 2400})  # fmt: skip
    frame = audit(table, rows=["topic"], n_bootstrap=400).sections["rows_topic"].frame
    row = frame.filter(metric="accuracy", rows_level="a").row(0, named=True)
    expected = np.sqrt(right.var(ddof=1) / 60)
    assert (row["hi"] - row["lo"]) / 4 == pytest.approx(expected, rel=0.15)  # t of 59 is 2.0


def test_temperature_by_rows_is_that_of_the_rows_and_tested_jointly(sliced):
    table, _, result = sliced
    found = result.sections["rows_topic"].frame.filter(metric="temperature").sort("rows_level")
    topic = table["topic"].rank("dense").cast(pl.Int64)
    expected = slopes_by_group(table["gap"], table["label"], topic, users=table["user_id"])
    assert found["rows_level"].to_list() == ["maths", "poems", "rare"]
    np.testing.assert_allclose(found["estimate"], expected["temperature"], rtol=1e-6)
    assert any(
        s.startswith("That one temperature does not serve all levels of topic is beyond chance") for s in result.verdict
    )


def test_no_cell_of_rows_is_of_few_people_and_groups_are_shown_whole_or_not(sliced):
    frame = sliced[2].sections["rows_topic"].frame
    shown = frame.filter(~pl.col("suppressed"))
    assert shown["n_users"].min() >= LEAST
    assert frame.filter(rows_level="rare", metric="accuracy")["level"].to_list() == ["(all users)"]
    crossed = frame.filter(pl.col("attribute") != "(overall)", metric="accuracy")
    assert crossed["rows_level"].unique().sort().to_list() == [TOGETHER, "maths"]
    assert (crossed.group_by("attribute", "level").agg(pl.col("suppressed").n_unique())["suppressed"] == 1).all()
    hidden = frame.filter("suppressed").select("n_users", "n_comparisons", "estimate", "lo", "hi", "detectable")
    assert hidden.null_count().sum_horizontal()[0] == 6 * hidden.height


def test_two_attributes_of_rows_that_differ_by_one_persons_rows_are_not_both_told(simulate):
    predictions, users = simulate(users=60, rows=10, seed=1)
    topic = np.array(["a", "b"] * 300)
    language = np.where(topic == "a", "en", "fr")
    language[np.flatnonzero((predictions["user_id"] == "u0").to_numpy() & (topic == "a"))[:2]] = "fr"
    table = predictions.with_columns(topic=pl.Series(topic), language=pl.Series(language))
    result = audit(table, users, by=["group"], rows=["topic", "language"], n_bootstrap=20)
    assert "rows_topic" in result.sections
    assert "rows_language" not in result.sections
    assert any(note.startswith("Rows are not sliced by language") for note in result.notes)


def test_small_levels_stand_together_until_they_are_people_enough():
    user = np.concatenate([np.arange(40), np.arange(30), np.arange(12), np.arange(3), np.arange(3, 5)])
    levels = pl.Series(["w"] * 40 + ["x"] * 30 + ["y"] * 12 + ["p"] * 3 + ["q"] * 2)
    names, code = coded(levels, user, LEAST)
    assert names == ("w", "x", OTHERS)  # p and q are five people, and y joins them
    assert np.bincount(code).tolist() == [40, 30, 17]


def test_times_are_cut_and_pairs_have_no_order():
    frame = pl.DataFrame({"a": ["m", "n", None], "b": ["n", "m", "m"], "x": [0.5, 1.0, 2.0]})
    frame = frame.with_columns(day=pl.date_range(pl.date(2024, 1, 31), pl.date(2024, 3, 31), "1mo", eager=True))
    assert row_levels(frame, ("a", "b"))[1].to_list() == ["m – n", "m – n", "(missing) – m"]
    assert row_levels(frame, "day")[1].to_list() == ["2024-01-31", "2024-02-29", "2024-03-31"]
    years = pl.DataFrame({"day": pl.date_range(pl.date(2020, 1, 1), pl.date(2022, 12, 31), "1d", eager=True)})
    assert row_levels(years, "day")[1].unique().sort().to_list()[:2] == ["2020-Q1", "2020-Q2"]
    for wanted, words in (("x", "named bands"), ("z", "no column"), (("a", "b", "day"), "name one column")):
        with pytest.raises(InputError, match=words):
            row_levels(frame, wanted)
