"""Sampling designs in audits: intervals of slices are the design's own, and clusters are resampled as wholes."""

import numpy as np
import polars as pl
import pytest

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.designs import DesignColumns, cluster_counts, read_design
from plurality.analyses.audit.population import asmd
from plurality.analyses.inference.raking import kish
from plurality.analyses.inference.survey import (
    SurveyDesign,
    bootstrap_weights,
    jackknife_weights,
    survey_difference,
    survey_mean,
)
from plurality.analyses.inputs import read_predictions
from plurality.cli import main
from plurality.errors import InputError

DESIGN = DesignColumns("w", strata="stratum", psu="school", fpc="schools")


def sampled(users=240, each=6, seed=0):
    """People of 24 schools in three strata who share their school's taste; every tenth has no comparisons."""
    rng = np.random.default_rng(seed)
    school = np.arange(users) % 24
    rate = np.clip(0.65 + rng.normal(0, 0.12, 24)[school] + rng.normal(0, 0.05, users), 0.05, 0.95)
    ids = [f"u{k}" for k in range(users)]
    people = pl.DataFrame(
        {"user_id": ids, "school": school, "stratum": school % 3, "schools": np.array([20.0, 60.0, 90.0])[school % 3],
         "w": 1 + (np.arange(users) * 7 % 11) / 4, "age": np.where(rng.random(users) < 0.4, "old", "young")}
    )  # fmt: skip
    has = np.flatnonzero(np.arange(users) % 10 != 3)
    user = np.repeat(has, each)
    label = (rng.random(len(user)) < rate[user]).astype(float)
    return pl.DataFrame({"user_id": np.array(ids)[user], "prob_first": 0.7, "label": label}), people


def own_means(predictions, people):
    """Accuracy of each person (n,), and who has one."""
    means = predictions.group_by("user_id").agg(pl.col("label").mean())
    joined = people.join(means, on="user_id", how="left", maintain_order="left")["label"]
    return joined.fill_null(0).to_numpy(), joined.is_not_null().to_numpy()


@pytest.fixture(scope="module")
def found():
    predictions, people = sampled()
    return predictions, people, audit(predictions, people, by=["age"], n_bootstrap=400, design=DESIGN)


def designed(people):
    return SurveyDesign(people["w"], people["stratum"], people["school"], people["schools"])


def test_intervals_of_slices_are_those_of_the_design(found):
    predictions, people, result = found
    x, there = own_means(predictions, people)
    table = result.table.filter(metric="accuracy")
    for row in table.iter_rows(named=True):
        inside = there if row["attribute"] == "(overall)" else there & (people["age"] == row["level"]).to_numpy()
        expected = survey_mean(x, designed(people), domain=inside)
        assert [row["estimate"], row["lo"], row["hi"]] == pytest.approx(
            [expected.estimate[0], expected.lo[0], expected.hi[0]], rel=1e-12
        )
        if row["attribute"] == "age":
            apart = survey_difference(x, designed(people), inside, there)
            assert [row["diff_vs_ref"], row["diff_lo"], row["diff_hi"]] == pytest.approx(
                [apart.estimate[0], apart.lo[0], apart.hi[0]], rel=1e-9
            )


def test_replicate_weights_give_their_own_intervals(found):
    predictions, people, _ = found
    jack = jackknife_weights(designed(people))
    names = [f"rw{k}" for k in range(24)]
    wide = people.with_columns(pl.DataFrame(jack.weights, schema=names))
    columns = DesignColumns("w", replicates=names, scale=jack.scale, rscales=jack.rscales, df=jack.df)
    row = audit(predictions, wide, by=["age"], n_bootstrap=20, design=columns).table.row(0, named=True)
    x, there = own_means(predictions, people)
    expected = survey_mean(x, SurveyDesign(people["w"], replicates=jack), domain=there)
    assert [row["lo"], row["hi"]] == pytest.approx([expected.lo[0], expected.hi[0]], rel=1e-9)


def test_a_difference_is_that_of_replicates_and_of_disjoint_domains(found):
    _, people, _ = found
    x, old = np.sin(np.arange(240.0)), (people["age"] == "old").to_numpy()
    alone = SurveyDesign(people["w"])
    apart = survey_difference(x, alone, old, ~old)
    parts = [survey_mean(x, alone, domain=mine) for mine in (old, ~old)]
    assert apart.estimate[0] == pytest.approx(parts[0].estimate[0] - parts[1].estimate[0], abs=1e-12)
    assert apart.se[0] == pytest.approx(np.hypot(parts[0].se[0], parts[1].se[0]), rel=1e-9)  # people apart, no clusters
    design = SurveyDesign(people["w"], people["stratum"], people["school"])
    drawn = SurveyDesign(people["w"], replicates=bootstrap_weights(design, 4000, seed=1))
    one, other = (survey_difference(x, d, old, np.ones(240, bool)).se[0] for d in (design, drawn))
    assert other == pytest.approx(one, rel=0.06)


def test_the_bootstrap_draws_clusters_and_is_as_wide_as_linearisation(found):
    predictions, people, _ = found
    sample = read_design(DESIGN, people, read_predictions(predictions)[0])
    counts = cluster_counts(sample, 2000, 0).astype(float)
    assert (
        counts.reshape(len(sample.place), -1)[0] == counts[np.flatnonzero(people["school"][sample.place] == 0)]
    ).all()
    x, there = own_means(predictions, people)
    w = people["w"].to_numpy()[sample.place]
    drawn = (counts.T @ (w * x[sample.place])) / (counts.T @ w)
    plain = SurveyDesign(people["w"], people["stratum"], people["school"])
    expected = survey_mean(x, plain, domain=there).se[0] * np.sqrt(7 / 8)  # 8 clusters a stratum, of which 8 are drawn
    assert drawn.std() == pytest.approx(expected, rel=0.06)
    people_alone = survey_mean(x, SurveyDesign(people["w"]), domain=there).se[0]
    assert expected > 1.3 * people_alone  # what is lost on those who resample people


def test_the_section_has_design_effects(found):
    predictions, people, result = found
    frame = result.sections["design"].frame
    x, there = own_means(predictions, people)
    whole = frame.row(0, named=True)
    w = people["w"].to_numpy()[there]
    assert whole["kish_deff"] == pytest.approx(len(w) * (w**2).sum() / w.sum() ** 2)
    assert whole["kish_n"] == pytest.approx(kish(w))
    assert whole["deff"] == pytest.approx(survey_mean(x, designed(people), domain=there).deff[0])
    assert "Kish" in " ".join(result.verdict)
    assert "Binder 1983" in result.methods


def test_levels_are_off_their_shares_in_standard_deviations(found):
    predictions, people, _ = found
    assert asmd(0.4, 0.5) == pytest.approx(0.2)
    assert asmd(None, 0.5) is None
    assert asmd(0.3, 1.0) is None
    result = audit(predictions, people, by=["age"], n_bootstrap=20, margins={"age": {"old": 0.5, "young": 0.5}})
    shares = result.sections["population"].frame.filter(kind="share")
    np.testing.assert_allclose(shares["asmd"], np.abs(shares["sample"] - 0.5) / 0.5, rtol=1e-9)
    np.testing.assert_allclose(shares["asmd_raked"], 0, atol=1e-6)


def test_the_command_takes_the_columns(found, tmp_path, capsys):
    predictions, people, result = found
    predictions.write_parquet(tmp_path / "p.parquet")
    people.write_parquet(tmp_path / "u.parquet")
    given = ["--weights", "w", "--strata", "stratum", "--psu", "school", "--fpc", "schools", "--n-bootstrap", "20"]
    files = ["audit", str(tmp_path / "p.parquet"), "--users", str(tmp_path / "u.parquet"), "--by", "age"]
    assert main([*files, *given, "--out", str(tmp_path / "audit")]) == 0
    table = pl.read_parquet(tmp_path / "audit" / "audit.parquet").filter(metric="accuracy")
    np.testing.assert_allclose(table["lo"], result.table.filter(metric="accuracy")["lo"])
    assert main([*files, *given[2:], "--out", str(tmp_path / "other")]) == 2
    assert "without --weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"weight": "none"}, "'none' is no column of the users table"),
        ({"replicates": ["w"]}, "replicates without scale"),
        ({"psu": "hole"}, r"users: hole is missing in row 2"),
        ({"weight": "bad"}, "weights: "),
    ],
)
def test_designs_that_do_not_fit_are_named(change, text):
    predictions, people = sampled(60)
    hole = pl.when(pl.int_range(pl.len()) == 2).then(None).otherwise(pl.col("school")).alias("hole")
    people = people.with_columns(hole, bad=pl.lit(0.0))
    with pytest.raises(InputError, match=text):
        audit(predictions, people, by=["age"], n_bootstrap=20, design=DesignColumns(**{"weight": "w"} | change))
    with pytest.raises(InputError, match="no users table"):
        audit(predictions, n_bootstrap=20, design=DESIGN)
    with pytest.raises(InputError, match="'u0' is not in the users table"):
        audit(predictions, people[1:], by=["age"], n_bootstrap=20, design=DesignColumns("w"))
