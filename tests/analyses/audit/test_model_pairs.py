"""Models side by side, paired by person and row, and abstention by group."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import ttest_1samp

from plurality.analyses.audit.compute import audit
from plurality.analyses.calibration.abstention import coverage_risk
from plurality.errors import InputError


@pytest.fixture(scope="module")
def two(simulate):
    """A model, and one that turns round what it says of the south, whom nobody can serve, and of group b."""
    predictions, users = simulate(users=150, rows=16, seed=7)
    turned = predictions.join(users, on="user_id")["group"] == "b"
    other = predictions.with_columns(
        gap=pl.when(turned).then(-pl.col("gap")).otherwise("gap"),
        prob_first=pl.when(turned).then(1 - pl.col("prob_first")).otherwise("prob_first"),
    )
    return predictions, other, users, audit(users=users, models={"old": predictions, "new": other}, n_bootstrap=300)


def test_differences_are_paired_and_the_first_is_audited(two):
    predictions, other, users, result = two
    assert result.meta["model"] == "old"
    frame = result.sections["models"].frame.filter(metric="accuracy")
    each = [audit(p, users, n_bootstrap=0).users for p in (predictions, other)]
    d = (each[1]["accuracy"] - each[0]["accuracy"]).to_numpy()
    row = frame.filter(attribute="(overall)").row(0, named=True)
    test = ttest_1samp(d, 0)
    assert row["difference"] == pytest.approx(d.mean(), abs=1e-12)
    assert [row["lo"], row["hi"]] == pytest.approx(list(test.confidence_interval(0.95)), abs=0.01)
    still = frame.filter(level="a").row(0, named=True)
    assert still["difference"] == 0
    assert frame.filter(level="b").row(0, named=True)["q"] < 1e-6
    shown = result.table.filter(~pl.col("suppressed"), metric="accuracy").select("attribute", "level")
    assert frame.select("attribute", "level").rows() == shown.rows()  # no slice that the table withholds


def test_who_is_harmed_by_switching_is_told_without_the_noise(two):
    *_, result = two
    frame = result.sections["models"].frame.filter(metric="accuracy")
    harmed = {row["level"]: row["harmed"] for row in frame.iter_rows(named=True)}
    north = frame.filter(attribute="region × group", level="north × b").row(0, named=True)
    assert harmed["a"] < 0.05
    assert north["harmed"] > 0.9
    assert any("switching truly harms" in s for s in result.verdict)
    assert result.sections["models"].figure() is not None


def test_equivalence_is_two_one_sided_tests(simulate):
    predictions, users = simulate(users=120, rows=20, seed=8)
    rng = np.random.default_rng(8)
    near = predictions["gap"].to_numpy() + rng.normal(0, 0.05, predictions.height)
    other = predictions.with_columns(gap=pl.Series(near), prob_first=pl.Series(1 / (1 + np.exp(-near))))
    result = audit(users=users, models={"old": predictions, "new": other}, n_bootstrap=1000)
    row = result.sections["models"].frame.filter(metric="accuracy", attribute="(overall)").row(0, named=True)
    d = (audit(other, users, n_bootstrap=0).users["accuracy"] - result.users["accuracy"]).to_numpy()
    sides = [ttest_1samp(d, -0.05, alternative="greater").pvalue, ttest_1samp(d, 0.05, alternative="less").pvalue]
    assert row["p_equivalent"] < 1e-10
    assert max(sides) < 1e-10
    assert row["p"] > 1e-3
    assert "within 5 points of each other" in " ".join(result.verdict)


def test_rows_in_another_order_are_matched_by_pair_and_other_rows_are_an_error(two):
    predictions, other, users, result = two
    named = [p.with_columns(pair=pl.int_range(pl.len()).cast(pl.String)) for p in (predictions, other)]
    mixed = named[1].sample(fraction=1, shuffle=True, seed=0)
    again = audit(users=users, models={"old": named[0], "new": mixed}, n_bootstrap=0).sections["models"].frame
    expected = result.sections["models"].frame
    np.testing.assert_allclose(again["difference"].to_numpy(), expected["difference"].to_numpy(), atol=1e-12)
    with pytest.raises(InputError, match="another order"):
        audit(users=users, models={"old": predictions, "new": other.reverse()}, n_bootstrap=0)
    with pytest.raises(InputError, match="other comparisons"):
        audit(users=users, models={"old": predictions, "new": other.head(100)}, n_bootstrap=0)
    both = pl.concat([p.with_columns(model=pl.lit(n)) for p, n in ((predictions, "old"), (other, "new"))])
    same = audit(both, users, models=["old", "new"], n_bootstrap=0).sections["models"].frame
    assert same["difference"].equals(again["difference"])
    for given, words in (
        ({"models": ["old"]}, "at least two"),
        ({"models": ["old", "new"], "model": "new"}, "put 'new' first"),
    ):
        with pytest.raises(InputError, match=words):
            audit(both, users, **given)


def test_abstention_is_that_of_the_curve_and_of_groups_whose_bins_are_shown(two):
    predictions, _, _, result = two
    frame = result.sections["abstention"].frame
    everybody = frame.filter(attribute="(overall)")
    p, y = predictions["prob_first"].to_numpy(), predictions["label"].to_numpy()
    curve = coverage_risk(p, y, 1 - np.maximum(p, 1 - p))
    for row in everybody.iter_rows(named=True):
        assert row["risk"] == pytest.approx(curve.at(row["of_all"]), abs=1e-9)
        assert row["lo"] < row["risk"] < row["hi"]
    shown = set(result.reliability.select("attribute", "level").iter_rows())
    assert set(frame.select("attribute", "level").iter_rows()) <= shown
    south = frame.filter(level="south")
    assert south["risk"].min() > everybody["risk"].min() + 0.15  # their choices are coin flips, however sure it is
    assert south.row(-1, named=True)["coverage"] == 1
