"""The audit against the plain functions, against itself on parts of the data, and against a planted truth."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.slices import Disclosure
from plurality.analyses.audit.tables import TABLE
from plurality.analyses.calibration.calibration import brier, debiased_l2, ece, ece_null, kuiper, log_loss
from plurality.analyses.welfare.inequality import cvar
from plurality.analyses.welfare.welfare import gini, gini_noise_floor
from plurality.errors import InputError

POPQUORN = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "popquorn"


@pytest.fixture(scope="module")
def result(planted):
    return audit(*planted, n_bootstrap=300)


@pytest.fixture(scope="module")
def told(planted):
    """The same, with the worst-off fifth of the ten users or so that it has in a region."""
    return audit(*planted, n_bootstrap=50, disclosure=Disclosure(min_users_show=5))


def row(result, metric, attribute="(overall)", level="(all users)", provenance="observed"):
    wanted = (
        (pl.col("metric") == metric)
        & (pl.col("attribute") == attribute)
        & (pl.col("level") == level)
        & (pl.col("provenance") == provenance)
    )
    return result.table.filter(wanted).row(0, named=True)


def expected_values(predictions):
    """Every metric by the plain functions and by polars."""
    p, y = (predictions[c].to_numpy() for c in ("prob_first", "label"))
    own = predictions.with_columns(
        z=pl.when(pl.col("prob_first") > 0.5).then("label").otherwise(1 - pl.col("label")),
        c=pl.max_horizontal("prob_first", 1 - pl.col("prob_first")),
    )
    people = own.group_by("user_id").agg(pl.col("z", "c").mean(), pl.len())
    users = [predictions.filter(pl.col("user_id") == u) for u in people["user_id"]]
    return {
        ("accuracy", "observed"): people["z"].mean(),
        ("log_loss", "observed"): np.mean([log_loss(None, u["label"], gap=u["gap"]) for u in users]),
        ("brier", "observed"): np.mean([brier(u["prob_first"], u["label"]) for u in users]),
        ("confidence_gap", "observed"): (people["z"] - people["c"]).mean(),
        ("utility", "observed"): people["z"].mean(),
        ("utility", "model"): people["c"].mean(),
        ("ece", "observed"): ece(p, y),
        ("l2_debiased", "observed"): debiased_l2(p, y),
        ("kuiper", "observed"): kuiper(p, y).ratio,
        ("gini", "observed"): gini(people["z"].to_numpy()),
        ("utility_p20", "observed"): np.quantile(people["z"].to_numpy(), 0.2, method="inverted_cdf"),
        ("utility_worst_fifth", "observed"): cvar(people["z"].to_numpy(), 0.2),
        ("atkinson", "observed"): 1 - np.sqrt(people["z"].to_numpy()).mean() ** 2 / people["z"].mean(),
    }


@pytest.mark.parametrize("region", [None, "north", "south"])
def test_estimates_are_those_of_the_plain_functions(planted, told, region):
    (predictions, people), result = planted, told
    where = ("(overall)", "(all users)")
    if region:
        members = people.filter(pl.col("region") == region)["user_id"].to_list()
        predictions, where = predictions.filter(pl.col("user_id").is_in(members)), ("region", region)
    for (metric, provenance), value in expected_values(predictions).items():
        found = row(result, metric, *where, provenance)
        assert found["estimate"] == pytest.approx(value, abs=1e-10), metric
        assert found["n_comparisons"] == predictions.height
        assert found["n_users"] == predictions["user_id"].n_unique()


def test_a_fifth_of_few_users_is_not_told_of(result, told):
    """The 20th percentile is one person's utility, the mean of the worst fifth that of ten people."""
    for metric in ("utility_p20", "utility_worst_fifth"):
        assert row(result, metric)["estimate"] == row(told, metric)["estimate"]
        hidden = row(result, metric, "region", "south")
        assert hidden["suppressed"]
        assert {hidden[c] for c in ("n_users", "estimate", "lo", "hi", "null_expectation", "p", "q")} == {None}
        assert hidden["flag"] == "withheld: n_users < 11, or would reveal so few as a fifth of these"
    assert not any("Withheld" in sentence for sentence in result.verdict)


def test_what_chance_gives_is_that_of_the_plain_functions(planted, result):
    predictions, _ = planted
    p, y, users = (predictions[c].to_numpy() for c in ("prob_first", "label", "user_id"))
    assert row(result, "ece")["null_expectation"] == pytest.approx(ece_null(p), rel=0.05)
    plain = kuiper(p, y, users=users, draws=1000)
    assert row(result, "kuiper")["null_expectation"] == pytest.approx(plain.null_mean, rel=0.1)
    utility = row(result, "utility")["estimate"]
    floor = gini_noise_floor(np.full(200, 20), utility)
    assert row(result, "gini")["null_expectation"] == pytest.approx(floor, rel=0.02)
    assert row(result, "l2_debiased")["null_expectation"] == 0
    assert row(result, "accuracy")["null_expectation"] is None


def test_the_table_always_has_the_same_columns(planted, result):
    assert dict(result.table.schema) == TABLE
    assert dict(audit(planted[0], n_bootstrap=20).table.schema) == TABLE
    assert list(TABLE)[:5] == ["metric", "normalisation", "provenance", "slice", "attribute"]
    temperatures = 1 + 4 + 2  # not of crossed attributes
    assert result.table.height == 13 * (1 + 4 + 2 + 8) + temperatures
    assert result.overall.height == 13 + 1


def test_the_planted_group_is_the_worst_served(result):
    south = row(result, "utility", "region", "south")
    assert south["estimate"] == pytest.approx(0.5, abs=0.05)
    assert south["q"] < 0.001
    assert south["diff_hi"] < -0.1
    assert south["estimate"] < south["shrunk"] < row(result, "utility")["estimate"]
    worst = result.worst.filter(pl.col("metric") == "utility", pl.col("provenance") == "observed")
    found = worst.filter(pl.col("attribute") == "region").row(0, named=True)
    assert (found["level"], found["shrunk_level"]) == ("south", "south")
    assert found["lo"] < 0.5 < found["hi"]
    assert found["probability"] > 0.99
    by_loss = result.worst.filter(pl.col("metric") == "log_loss", pl.col("attribute") == "region")
    assert by_loss["level"].to_list() == ["south"]
    assert row(result, "utility", "group", "a")["q"] > 0.01
    assert "region × group south × " in result.verdict[1]


def test_calibration_is_refused_only_where_it_is_off(result):
    assert row(result, "kuiper", "region", "south")["q"] < 0.01
    assert row(result, "confidence_gap", "region", "south")["hi"] < -0.1
    assert row(result, "kuiper", "region", "north")["p"] > 0.01
    assert row(result, "l2_debiased", "region", "north")["lo"] < 0.005


def test_order_of_rows_and_sides_does_not_matter(planted, result):
    predictions, people = planted
    swap = pl.Series(np.random.default_rng(1).random(predictions.height) < 0.5)
    turned = predictions.with_columns(
        prob_first=pl.when(swap).then(1 - pl.col("prob_first")).otherwise("prob_first"),
        label=pl.when(swap).then(1 - pl.col("label")).otherwise("label"),
        gap=pl.when(swap).then(-pl.col("gap")).otherwise("gap"),
    )
    again = audit(turned.sample(fraction=1, shuffle=True, seed=3), people.reverse(), n_bootstrap=300)
    for column in ("estimate", "lo", "hi", "shrunk", "diff_vs_ref"):
        left, right = (t.table[column].fill_null(-9).fill_nan(-8).to_numpy() for t in (again, result))
        np.testing.assert_allclose(left, right, atol=1e-6)


def test_a_weight_is_as_many_rows(simulate):
    predictions, people = simulate(40, 8)
    times = np.random.default_rng(0).integers(1, 4, predictions.height)
    weighted = audit(
        predictions.with_columns(weight=pl.Series(times)), people, n_bootstrap=50, disclosure=Disclosure(0, 0)
    )
    repeated = predictions[np.repeat(np.arange(predictions.height), times)]
    rows = audit(repeated, people, n_bootstrap=50, disclosure=Disclosure(0, 0))
    for column in ("estimate", "lo", "hi", "diff_vs_ref"):
        left, right = (t.table[column].fill_null(-9).fill_nan(-8).to_numpy() for t in (weighted, rows))
        np.testing.assert_allclose(left, right, atol=1e-5)


def test_the_same_seed_gives_the_same_bits(planted, result):
    again = audit(*planted, n_bootstrap=300)
    assert again.table.equals(result.table)
    assert again.worst.equals(result.worst)
    other = audit(*planted, n_bootstrap=300, seed=1)
    assert other.table["estimate"].equals(result.table["estimate"])
    assert not other.table["lo"].equals(result.table["lo"])


def test_containers_and_paths_give_the_same(planted, result, tmp_path):
    predictions, people = planted
    predictions.write_parquet(tmp_path / "p.parquet")
    people.write_csv(tmp_path / "u.csv")
    for tables in (
        (predictions.to_pandas(), people.to_pandas()),
        (tmp_path / "p.parquet", tmp_path / "u.csv"),
        (predictions.to_dict(as_series=False), people.to_dict(as_series=False)),
    ):
        assert audit(*tables, n_bootstrap=300).table.equals(result.table)
    assert isinstance(predictions.to_pandas(), pd.DataFrame)


def test_withheld_slices_have_no_numbers(simulate):
    predictions, _ = simulate(90, 10)
    people = pl.DataFrame({"user_id": [f"u{k}" for k in range(90)], "g": ["a"] * 60 + ["b"] * 24 + ["c"] * 6})
    result = audit(predictions, people, n_bootstrap=50)
    numbers = [
        c for c in TABLE if c not in ("metric", "normalisation", "provenance", "slice", "attribute", "level", "flag")
    ]
    hidden = result.table.filter("suppressed")
    assert hidden["level"].unique().sort().to_list() == ["b", "c"]
    assert hidden.select(pl.col(numbers).exclude("suppressed").is_null().all()).row(0) == (True,) * (len(numbers) - 1)
    flags = dict(hidden.select("level", "flag").iter_rows())
    same = "withheld: n_users < 11, or would reveal such a slice"  # why would say whether it is ten or more
    assert flags == {"b": same, "c": same}
    assert set(result.reliability["level"]) == {"(all users)", "a"}
    assert "c" not in result.worst["level"].to_list()
    loose = audit(predictions, people, n_bootstrap=50, disclosure=Disclosure(complementary=False))
    assert loose.table.filter("suppressed", metric="accuracy")["level"].unique().to_list() == ["c"]
    assert row(loose, "accuracy", "g", "b")["flag"] is None


def test_few_users_are_shown_with_a_flag(simulate):
    predictions, _ = simulate(60, 10)
    people = pl.DataFrame({"user_id": [f"u{k}" for k in range(60)], "g": ["a"] * 45 + ["b"] * 15})
    result = audit(predictions, people, n_bootstrap=50)
    assert row(result, "accuracy", "g", "b")["flag"] == "n_users < 20"
    assert not row(result, "accuracy", "g", "b")["suppressed"]


def test_served_responses_of_another_policy(simulate):
    predictions, _ = simulate(50, 10)
    other = audit(predictions.with_columns(served_first=1.0), n_bootstrap=20)
    people = predictions.group_by("user_id").agg(pl.col("label", "prob_first").mean())
    assert row(other, "utility")["estimate"] == pytest.approx(people["label"].mean())
    assert row(other, "utility", provenance="model")["estimate"] == pytest.approx(people["prob_first"].mean())
    assert other.meta["served"] == "column served_first"


def test_one_model_and_one_cell_are_audited_and_named(simulate):
    predictions, _ = simulate(50, 8)
    half = predictions.with_columns(prob_first=pl.lit(0.5), gap=pl.lit(0.0))
    several = pl.concat(
        [
            half.with_columns(model=pl.lit("shuffled users"), cell=pl.lit("seen users, unseen prompts")),
            half.with_columns(model=pl.lit("pal"), cell=pl.lit("seen users, seen prompts")),
            predictions.with_columns(model=pl.lit("pal"), cell=pl.lit("seen users, unseen prompts")),
        ]
    )
    result = audit(several, n_bootstrap=20)
    assert (result.meta["model"], result.meta["cell"]) == ("pal", "seen users, unseen prompts")
    assert result.table["estimate"].equals(audit(predictions, n_bootstrap=20).table["estimate"])
    assert "model pal · cell seen users, unseen prompts" in str(result)
    control = audit(several, n_bootstrap=20, model="shuffled users")
    assert row(control, "accuracy")["estimate"] == 0.5
    assert result.notes[0].startswith("Model 'pal' was taken; model= chooses another of 'shuffled users'")
    broken = several.with_columns(label=pl.when(pl.int_range(pl.len()) == 900).then(7.0).otherwise("label"))
    with pytest.raises(InputError, match=r"label is 7\.0 in row 900 "):  # counted over all models
        audit(broken)
    with pytest.raises(InputError, match="choose model= one of 'shuffled users', 'pal'"):
        audit(several, model="vpl")


def test_edges_are_undefined_and_flagged(simulate):
    one = audit({"user_id": ["a"] * 4, "prob_first": [0.6, 0.7, 0.2, 0.9], "label": [1, 0, 1, 1]}, n_bootstrap=20)
    assert row(one, "accuracy")["estimate"] == 0.5
    assert np.isnan(row(one, "accuracy")["lo"])
    assert row(one, "accuracy")["flag"] == "one user"
    assert row(one, "gini")["flag"] == "one user; undefined"
    predictions, _ = simulate(40, 5)
    ties = audit(predictions.with_columns(label=pl.lit(0.5)), n_bootstrap=20)
    for metric in ("ece", "l2_debiased", "kuiper"):
        assert np.isnan(row(ties, metric)["estimate"])
        assert row(ties, metric)["flag"] == "only ties; undefined"
    assert row(ties, "accuracy")["estimate"] == 0.5
    wrong = pl.col("prob_first") < 0.5
    never = audit(predictions.with_columns(label=wrong.cast(float)), n_bootstrap=20)
    assert row(never, "gini")["flag"] == "undefined"
    certain = predictions.with_columns(prob_first=(pl.col("prob_first") > 0.5).cast(float)).drop("gap")
    saturated = audit(certain, n_bootstrap=20)
    assert row(saturated, "log_loss")["flag"] == "infinite: prob_first of 0 or 1, give gap; undefined"
    assert "Log-loss is infinite in" in " ".join(saturated.notes)
    assert np.isnan(row(saturated, "kuiper")["estimate"])
    for found in (one, ties, never, saturated):
        assert str(found)
        assert found.verdict


def test_users_are_not_on_disk_and_files_are_whole(result, tmp_path):
    folder = result.save(tmp_path / "audit")
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    sections = ["abstention", "multicalibration", "temperature"]
    pictures = [f"figures/{n}.{k}" for n in ("groups", "lorenz", "reliability", *sections) for k in ("png", "svg")]
    tables = [f"sections/{name}.parquet" for name in sections]
    assert names == sorted(["audit.json", "audit.parquet", "index.html", *pictures, *tables])
    for name in sections:
        assert pl.read_parquet(folder / "sections" / f"{name}.parquet").equals(result.sections[name].frame)
    assert pl.read_parquet(folder / "audit.parquet").equals(result.table)
    meta = json.loads((folder / "audit.json").read_text())
    assert meta["disclosure"] == {"min_users_flag": 20, "min_users_show": 11, "complementary": True}
    assert meta["verdict"] == list(result.verdict)
    assert "u17" not in (folder / "audit.json").read_text()


def test_a_frame_for_each_user(planted, result):
    predictions, people = planted
    frame = result.users
    assert frame.height == 200
    assert frame["n_comparisons"].sum() == predictions.height
    assert frame["accuracy"].mean() == pytest.approx(row(result, "accuracy")["estimate"])
    joined = frame.join(people, on="user_id")
    assert (joined["region"] == joined["region_right"]).all()


def test_text_fits_a_terminal(result):
    text = str(result)
    assert max(len(line) for line in text.split("\n")) <= 80
    assert "Kuiper ratio" in text
    assert "region" in text
    assert "…" not in text
    assert repr(result) == "<Audit of 200 users, 202 rows; print it, or see .table>"


def test_numbers_in_the_interval_are_those_of_resampled_people(planted):
    predictions, _ = planted
    own = predictions.with_columns(z=pl.when(pl.col("prob_first") > 0.5).then("label").otherwise(1 - pl.col("label")))
    means = own.group_by("user_id").agg(pl.col("z").mean())["z"].to_numpy()
    rng = np.random.default_rng(5)
    draws = [rng.choice(means, len(means)).mean() for _ in range(4000)]
    found = row(audit(predictions, n_bootstrap=4000), "accuracy")
    width = found["hi"] - found["lo"]
    assert (found["lo"], found["hi"]) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.1 * width)
    deviation = (own["z"].to_numpy()).std()
    assert found["n_eff"] == pytest.approx((deviation / np.std(draws)) ** 2, rel=0.1)
    assert found["n_eff"] < predictions.height


def test_no_model_matplotlib_or_torch_is_imported():
    code = (
        "import sys, plurality.analyses.audit, plurality.analyses.calibration, plurality.analyses.welfare;"
        "print([m for m in ('torch', 'transformers', 'matplotlib', 'jinja2', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not POPQUORN.is_dir(), reason="the popquorn data are not beside the checkout")
def test_real_demographics_show_no_gap_that_is_not_there():
    people = pl.read_parquet(POPQUORN / "users.parquet")
    pairs = pl.read_parquet(POPQUORN / "comparisons.parquet", columns=["user_id"])
    rng = np.random.default_rng(0)
    gap = rng.normal(0, 1, pairs.height)
    p = 1 / (1 + np.exp(-gap))
    label = (rng.random(pairs.height) < p).astype(float)  # a calibrated model that serves everybody alike
    predictions = pairs.with_columns(prob_first=pl.Series(p), label=pl.Series(label))
    result = audit(predictions, people, n_bootstrap=300)
    shown = result.table.filter(~pl.col("suppressed"))
    assert shown["n_users"].min() >= 11
    assert set(result.meta["attributes"]) == {"gender", "race", "age", "occupation", "education"}
    assert shown.filter(pl.col("q") < 0.01).height <= 0.02 * shown.height
    small = result.table.filter(pl.col("level") == "Prefer not to disclose")
    assert small["suppressed"].all()
