"""Planned numbers of people give intervals of the planned width, which hold the truth as often as they say."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import t as student

from plurality.analyses.planning import plan
from plurality.errors import InputError

BETWEEN = 0.1  # sd over people of how often the model is right


def people(n_old: int, n_young: int, answers: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The model is right with .6 of the old and .7 of the young, ± BETWEEN."""
    rng = np.random.default_rng(seed)
    old = np.arange(n_old + n_young) < n_old
    right = np.clip(np.where(old, 0.6, 0.7) + BETWEEN * rng.standard_normal(len(old)), 0, 1)
    user = np.repeat(np.arange(len(old)), answers)
    label = rng.integers(0, 2, len(user)).astype(float)
    agree = rng.random(len(user)) < right[user]
    ids = [f"u{u}" for u in range(len(old))]
    users = pl.DataFrame({"user_id": ids, "age": np.where(old, "old", "young")})
    rows = {"user_id": [ids[u] for u in user], "prob_first": np.where(agree == (label > 0.5), 0.8, 0.2), "label": label}
    return pl.DataFrame(rows), users


def test_components_are_those_that_were_planted():
    found = plan(*people(400, 400, 20, 0), by="age", within=0.05)
    inside = np.mean([0.6 * 0.4, 0.7 * 0.3]) - BETWEEN**2  # of an answer, less what people differ by
    # the two ages differ by .1 as well, which is between people too: .05² more
    assert found.about["between"] == pytest.approx((BETWEEN**2 + 0.05**2) ** 0.5, abs=0.015)
    assert found.about["within_person"] == pytest.approx(inside**0.5, abs=0.01)


@pytest.mark.parametrize("answers", [5, 40])
def test_the_planned_people_give_the_planned_interval(answers):
    pilot = plan(*people(60, 800, 20, 1), by="age", within=0.06, answers=[answers])
    row = pilot.table.filter(level="old").row(0, named=True)
    again = [plan(*people(row["people"], 800, answers, seed), by="age", within=0.06, answers=[answers]).table
             for seed in range(5, 13)]  # fmt: skip
    now = np.mean([t.filter(level="old")["half_width_now"][0] for t in again])
    assert now == pytest.approx(0.06, rel=0.15)  # components of 60 people are themselves known to a tenth


@pytest.mark.slow
def test_intervals_of_that_width_hold_the_truth():
    held = []
    for seed in range(100):
        rows, users = people(40, 60, 10, 100 + seed)
        found = plan(rows, users, by="age", within=0.05, answers=[10])
        means = (
            rows.with_columns(right=(pl.col("prob_first") > 0.5) == (pl.col("label") > 0.5))
            .group_by("user_id").agg(pl.col("right").mean()).join(users, on="user_id")
            .group_by("age").agg(pl.col("right").mean())
        )  # fmt: skip
        by = dict(means.iter_rows())
        width = found.table.filter(level="old")["half_width_now"][0]
        held.append(abs(by["old"] - by["young"] + 0.1) <= width)
    assert np.mean(held) > 0.89  # 95 % less three standard errors of 100 trials


def test_more_answers_take_fewer_people_until_people_themselves_differ():
    found = plan(*people(100, 900, 20, 2), by="age", within=0.05, answers=[1, 10, 1000])
    need = found.table.filter(level="old")["people"].to_list()
    assert need[0] > need[1] > need[2] > 10
    widths = found.curve.filter(level="old", answers=10)["half_width"].to_numpy()
    assert (np.diff(widths) < 0).all()
    assert "old: 10 answers each" in str(found)
    assert len(found.figure().axes) == 2


def test_a_rest_that_is_unknown_and_groups_too_small_are_told():
    found = plan(*people(100, 20, 10, 3), by="age", within=0.02, answers=[10])
    assert found.table.filter(level="old")["people"].to_list() == [None]
    assert "the rest is not known well enough" in " ".join(str(found).split())
    rows, users = people(5, 40, 10, 4)
    with pytest.raises(InputError, match="nothing to plan"):
        plan(rows, users, by="age", within=0.05)
    with pytest.raises(InputError, match="'income' is no attribute of the users table"):
        plan(rows, users, by="income", within=0.05)
    with pytest.raises(InputError, match="within must be above 0"):
        plan(rows, users, by="age", within=0)


def test_an_audit_is_planned_by_the_gap_that_it_is_to_show(simulate):
    """The least n with (t_{1 − α/2k} + t_.8) SE ≤ gap, by hand."""
    predictions, users = simulate(users=200, rows=8, seed=9)
    gap = 0.12
    found = plan(predictions, users, by="group", gap=gap, answers=[8], searched=1)
    row = found.table.filter(level="a").row(0, named=True)
    own = found.about["between"] ** 2 + found.about["within_person"] ** 2 / 8
    rest = own / (200 - row["n_now"])

    def least(n):
        return (student.isf(0.025, n - 1) + student.ppf(0.8, n - 1)) * np.sqrt(own / n + rest)

    assert least(row["people"]) <= gap < least(row["people"] - 1)
    assert row["detectable_now"] == pytest.approx(least(row["n_now"]), rel=0.1)
    more = plan(predictions, users, by=["group", "region"], gap=gap, answers=[8])
    assert more.about["searched"] == 6
    assert more.table["level"][0] == "group: a"
    assert more.table["detectable_now"][0] > row["detectable_now"]
    assert "To show gaps of 0.12 in accuracy (80% of times, 6 groups searched)" in str(more).replace("\n ", "")
    with pytest.raises(InputError, match="within"):
        plan(predictions, users, by="group")
