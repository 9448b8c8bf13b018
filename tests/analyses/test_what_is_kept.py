"""What people hand in is used or named: weights of people, orders of levels, masks, ids, columns."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.segments import segments_of_attributes
from plurality.analyses.audit.slices import Disclosure
from plurality.analyses.calibration.calibration import ece
from plurality.analyses.social_choice.candidate_sets import coded
from plurality.analyses.welfare.inequality import atkinson
from plurality.analyses.welfare.welfare import gini, lorenz
from plurality.errors import InputError

OPEN = Disclosure(0, 0)


def value(result, metric, level="(all users)", column="estimate"):
    return result.table.filter(metric=metric, level=level, provenance="observed")[column][0]


@pytest.fixture(scope="module")
def weighted(simulate):
    """Predictions, users, and what each person weighs in the population."""
    predictions, people = simulate(60, 10)
    weight = np.random.default_rng(2).uniform(0.2, 5, people.height)
    table = predictions.join(people.select("user_id", weight=pl.Series(weight)), on="user_id")
    return table, people, weight


def test_weights_of_people_weigh_people(weighted):
    table, people, weight = weighted
    result = audit(table, people, n_bootstrap=300, disclosure=OPEN)
    own = result.users.join(people.select("user_id", w=pl.Series(weight)), on="user_id")
    x, w = own["utility"].to_numpy(), own["w"].to_numpy()
    w = w / w.mean()
    assert value(result, "utility") == pytest.approx(np.average(x, weights=w))
    assert value(result, "gini") == pytest.approx(gini(x, w))
    assert value(result, "atkinson") == pytest.approx(atkinson(x, 0.5, w))
    assert value(result, "ece") == pytest.approx(ece(table["prob_first"], table["label"], weights=table["weight"]))
    east = own.filter(region="east")
    assert value(result, "utility", "east") == pytest.approx(np.average(east["utility"], weights=east["w"]))
    shares, curve = lorenz(x, w)
    at = result.lorenz["users"].to_numpy()
    np.testing.assert_allclose(result.lorenz["utility"].to_numpy(), np.interp(at, shares, curve))
    assert any("they weigh people" in note for note in result.notes)
    rng = np.random.default_rng(0)
    draws = [np.average(x[i], weights=w[i]) for i in rng.integers(0, len(x), (4000, len(x)))]
    width = value(result, "utility", column="hi") - value(result, "utility", column="lo")
    assert width == pytest.approx(np.quantile(draws, 0.975) - np.quantile(draws, 0.025), rel=0.2)


def test_weights_of_parts_of_answers_weigh_no_people(weighted):
    """Pairs of a person's one long answer weigh alike, which is no weight that a survey gives."""
    table, people, _ = weighted
    result = audit(table.with_columns(answer_kind=pl.lit("rating")), people, n_bootstrap=30, disclosure=OPEN)
    assert value(result, "utility") == pytest.approx(result.users["utility"].mean())
    assert not any("weigh people" in note or "not read" in note for note in result.notes)


def test_the_unit_of_peoples_weights_changes_nothing(weighted):
    table, people, _ = weighted
    result, again = (audit(table.with_columns(pl.col("weight") * k), people, n_bootstrap=30) for k in (1, 1e-6))
    for column in ("estimate", "lo", "hi", "shrunk", "n_eff"):
        a, b = (t.table[column].fill_null(-9).fill_nan(-8).to_numpy() for t in (result, again))
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_weights_within_a_person_weigh_comparisons_and_say_so(simulate):
    predictions, people = simulate(40, 8)
    rows = predictions.with_columns(weight=pl.Series(np.random.default_rng(0).integers(1, 4, predictions.height)))
    assert any("weigh comparisons" in note for note in audit(rows, people, n_bootstrap=20).notes)


LEVELS = ["strongly disagree", "disagree", "agree", "strongly agree"]


@pytest.mark.parametrize("kind", ["enum", "pandas"])
def test_ordered_levels_keep_their_order(simulate, kind):
    predictions, people = simulate(160, 5)
    answers = [LEVELS[k % 4] for k in range(160)]
    if kind == "enum":
        users = people.select("user_id", answer=pl.Series(answers, dtype=pl.Enum(LEVELS)))
    else:
        answer = pd.Categorical(answers, categories=LEVELS, ordered=True)
        users = pd.DataFrame({"user_id": people["user_id"].to_list(), "answer": answer})
    rng = np.random.default_rng(0)
    cube = {"user_id": np.repeat(people["user_id"].to_numpy(), 6), "prompt": np.tile(np.repeat([0, 1], 3), 160)}
    cube |= {"candidate": np.tile([0, 1, 2], 320), "reward": rng.normal(size=960)}
    result = audit(predictions, users, candidates=pl.DataFrame(cube), n_bootstrap=20)
    assert result.table.filter(metric="accuracy")["level"].to_list()[1:] == LEVELS
    decided = result.sections["who_decides"].frame
    assert [g for g in decided["group"].unique(maintain_order=True) if g in LEVELS] == LEVELS


def test_segments_and_labels_keep_the_order_of_an_enum():
    column = pl.Series("a", ["hot", "cold", "mild"], dtype=pl.Enum(["cold", "mild", "hot"]))
    assert segments_of_attributes(column.to_frame()).level[1:] == ("cold", "mild", "hot")
    names, code = coded(column, "groups")
    assert (names, code.tolist()) == (("cold", "mild", "hot"), [2, 0, 1])


def test_what_is_masked_is_missing():
    x = np.ma.array([0.2, 0.4, 999.0], mask=[False, False, True])
    with pytest.raises(InputError, match="utility: row 2 is nan"):
        gini(x)
    with pytest.raises(InputError, match="row 2 is masked"):
        coded(np.ma.array(["a", "b", "c"], mask=[False, False, True]), "groups")
    table = {"user_id": ["a", "b", "c"], "prob_first": [0.2, 0.7, 0.6], "label": np.ma.array([0, 1, 1], mask=[0, 0, 1])}
    with pytest.raises(InputError, match="label is missing, NaN or infinite in row 2"):
        audit(table)


def test_ids_that_end_in_nul_are_people_of_their_own():
    ids = ["u", "u\0"] * 10
    result = audit({"user_id": ids, "prob_first": [0.7] * 20, "label": [1, 0] * 10}, n_bootstrap=20)
    assert result.meta["n_users"] == 2
    assert coded(ids, "user")[0] == ("u", "u\0")


def test_columns_that_nobody_reads_are_named(simulate):
    predictions, _ = simulate(30, 5)
    result = audit(predictions.with_columns(tie=pl.lit(0), annotator2=pl.lit("x")), n_bootstrap=20)
    assert "Columns of predictions that are not read: 'tie', 'annotator2'." in result.notes
    assert not any("not read" in note for note in audit(predictions, n_bootstrap=20).notes)
