"""Groups against each other, against scipy; power against the noncentral t; order, labels and missing answers."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import nct, ttest_ind
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.contrasts import holm
from plurality.analyses.audit.power import ALIKE, BLIND, DIFFERS, NONE_FOUND, detectable_gap, finding
from plurality.errors import InputError


def test_holm_is_that_of_statsmodels():
    p = np.random.default_rng(0).random(12) ** 3
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
    assert np.isnan(holm([0.5, np.nan])[1])


def test_contrasts_are_welchs(planted):
    predictions, users = planted
    result = audit(predictions, users, by=["region"], reference="south", n_bootstrap=2000)
    frame = result.sections["contrasts"].frame.filter(metric="accuracy")
    assert frame["reference"].unique().to_list() == ["south"]
    own = result.users.select("region", "accuracy")
    for row in frame.iter_rows(named=True):
        x, y = (own.filter(region=level)["accuracy"].to_numpy() for level in (row["level"], "south"))
        test = ttest_ind(x, y, equal_var=False)
        assert row["difference"] == pytest.approx(x.mean() - y.mean(), abs=1e-12)
        assert row["se"] == pytest.approx(
            np.hypot(x.std(ddof=1) / len(x) ** 0.5, y.std(ddof=1) / len(y) ** 0.5), rel=0.05
        )
        assert row["p"] < 1e-3
        assert test.pvalue < 1e-3
        ends = test.confidence_interval(0.95)
        assert [row["lo"], row["hi"]] == pytest.approx([ends.low, ends.high], abs=0.015)
        assert row["lo_all"] < row["lo"]
        assert row["hi_all"] > row["hi"]
        assert row["detectable"] == pytest.approx(detectable_gap(row["se"], 80, tests=3), rel=0.05)


def test_all_pairs_and_what_is_no_reference(planted):
    predictions, users = planted
    result = audit(predictions, users, pairs=True, ways=2, n_bootstrap=50)
    frame = result.sections["contrasts"].frame.filter(metric="log_loss")
    assert frame.group_by("attribute").len().sort("attribute").rows() == [("group", 1), ("region", 6)]
    assert "diff_vs_ref" in result.table.columns  # against everybody, under its own name
    for wrong, words in (
        ("north-east", "no level"),
        ({"region": "a"}, "no level of 'region'"),
        ({"x": "a"}, "no attribute"),
    ):
        with pytest.raises(InputError, match=words):
            audit(predictions, users, reference=wrong, n_bootstrap=0)


def test_a_reference_that_is_withheld_is_an_error(planted):
    predictions, users = planted
    rare = users.with_columns(group=pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("rare")).otherwise("group"))
    with pytest.raises(InputError, match="withheld"):
        audit(predictions, rare, by=["group"], reference="rare", n_bootstrap=0)


@pytest.mark.parametrize("n", [12, 60, 1000])
def test_a_gap_that_can_be_detected_is_shown_four_times_in_five(n):
    gap, critical = float(detectable_gap(1.0, n)), student.isf(0.025, n - 1)
    power = nct.sf(critical, n - 1, gap) + nct.cdf(-critical, n - 1, gap)
    assert power == pytest.approx(0.8, abs=0.012)
    assert detectable_gap(1.0, n, tests=10) > gap


def test_what_may_be_said_of_a_gap():
    assert finding(0.2, 0.05, 40, 0.01, 0.15, 0.05) == DIFFERS
    assert finding(0.01, 0.01, 40, 0.5, 0.03, 0.05) == ALIKE
    assert finding(0.03, 0.017, 400, 0.3, 0.048, 0.05) == NONE_FOUND
    assert finding(0.02, 0.05, 40, 0.8, 0.15, 0.05) == BLIND
    assert finding(np.nan, 0.05, 40, 0.8, 0.15, 0.05) is None


def test_the_verdict_tells_nothing_found_from_nothing_that_could_be(simulate):
    predictions, users = simulate(users=60, rows=6, seed=2)
    small = audit(predictions, users, by=["group"], n_bootstrap=200)
    assert any("could not have found one" in sentence for sentence in small.verdict)
    row = small.table.filter(metric="utility", provenance="observed", attribute="group").row(0, named=True)
    assert row["finding"] == BLIND
    assert row["detectable"] > 0.05
    wide = audit(predictions, users, by=["group"], n_bootstrap=200, margin=0.5)
    assert ALIKE in wide.table["finding"].drop_nulls().to_list()
    assert small.worst.filter(metric="utility")["detectable"][0] > row["detectable"] * 0.9


def test_levels_have_the_order_and_the_labels_that_are_given(planted):
    predictions, users = planted
    order = {"region": ["west", "east"], "group": {"b": "second", "a": "first"}}
    table = audit(predictions, users, levels=order, ways=1, n_bootstrap=0).table.filter(metric="accuracy")
    assert table["level"].to_list()[1:] == ["west", "east", "north", "south", "second", "first"]
    merged = {"region": {"west": "side", "east": "side"}}
    found = audit(predictions, users, by=["region"], levels=merged, n_bootstrap=0).table.filter(
        metric="accuracy", level="side"
    )
    assert found["n_users"][0] == users["region"].is_in(["west", "east"]).sum()
    with pytest.raises(InputError, match="not sliced by"):
        audit(predictions, users, levels={"age": ["x"]}, n_bootstrap=0)


def test_missing_answers_are_left_out_and_a_small_number_of_them_stays_secret(planted):
    predictions, users = planted
    lost = users.with_columns(group=pl.when(pl.int_range(pl.len()) < 5).then(None).otherwise("group"))
    told = audit(predictions, lost, by=["group"], n_bootstrap=0).table.filter(metric="accuracy")
    assert told.filter(pl.col("suppressed"))["level"].to_list() == ["a", "(missing)"] or told["suppressed"].sum() == 2
    without = audit(predictions, lost, by=["group"], exclude_missing=True, n_bootstrap=0)
    table = without.table.filter(metric="accuracy")
    assert "(missing)" not in table["level"].to_list()
    assert table["suppressed"].sum() == 1  # or everybody less both groups would be the five
    many = users.with_columns(group=pl.when(pl.int_range(pl.len()) < 60).then(None).otherwise("group"))
    table = audit(predictions, many, exclude_missing=True, n_bootstrap=0).table
    assert not table["level"].str.contains("missing").any()
    assert not table.filter(metric="accuracy", attribute="group")["suppressed"].any()
