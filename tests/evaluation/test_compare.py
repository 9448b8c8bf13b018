"""The comparison table by hand and against scikit-learn; its controls on populations whose truth is known."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from types import ModuleType
from typing import ClassVar

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, log_loss

from plurality.data.comparisons import Comparisons
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError, InputWarning
from plurality.evaluation.compare import compare
from plurality.evaluation.comparison_table import METRICS, tabulate, worst_share
from plurality.evaluation.fold import BASELINE, TEMPERATURE
from plurality.models import LCPO, PAL, BradleyTerry

SMALL_PAL = PAL(n_prototypes=2, preference=3, decay=3.0)
CELLS = {f"{a} user, {b} prompt" for a in ("seen", "unseen") for b in ("seen", "unseen")}


def frame(model, gap, label, user, weight, control=False, cell="seen user, unseen prompt"):
    n = len(gap)
    return pl.DataFrame(
        {
            "model": [model] * n,
            "control": [control] * n,
            "fold": [0] * n,
            "cell": [cell] * n,
            "user_id": [f"u{i}" for i in user],
            "prob_first": 1 / (1 + np.exp(-np.asarray(gap, dtype=float))),
            "gap": np.asarray(gap, dtype=float),
            "label": np.asarray(label, dtype=float),
            "weight": np.asarray(weight, dtype=float),
        }
    )


def drawn(n_users, each, seed, size=1.0):
    """A baseline and a better model on the same rows, users of unequal weight."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(n_users), each)
    taste = rng.normal(size=n_users)[user]
    gap = size * rng.normal(size=len(user))
    label = (rng.random(len(user)) < 1 / (1 + np.exp(-gap - taste))).astype(float)
    weight = rng.uniform(0.5, 2, len(user))
    models = [frame(BASELINE, gap, label, user, weight), frame("better", gap + taste, label, user, weight)]
    return pl.concat(models), user, label, weight, {BASELINE: gap, "better": gap + taste}


def value(table, model, metric, column="estimate", cell=None):
    rows = table.filter((pl.col("model") == model) & (pl.col("metric") == metric))
    rows = rows if cell is None else rows.filter(pl.col("cell") == cell)
    return rows[column].item()


def test_table_by_hand():
    """Two users: the first right, tied in the prediction and tied in the label; the second wrong once, right once."""
    gap, label, user = [2.0, 0.0, 1.0, 1.0, -1.0], [1, 1, 0.5, 0, 0], [0, 0, 0, 1, 1]
    table, _ = tabulate(frame(BASELINE, gap, label, user, [1, 1, 1, 1, 3]), baseline=BASELINE, n_bootstrap=20, seed=0)
    first, second = (1 + 0.5 + 0.5) / 3, 3 / 4
    assert value(table, BASELINE, "accuracy") == pytest.approx((first + second) / 2)
    assert value(table, BASELINE, "accuracy_pooled") == pytest.approx((3 * first + 4 * second) / 7)
    s = 1 / (1 + np.exp(-1.0))
    nats = [-np.log(1 / (1 + np.exp(-2.0))), np.log(2), -0.5 * np.log(s) - 0.5 * np.log(1 - s), -np.log(1 - s)]
    assert value(table, BASELINE, "log_loss") == pytest.approx((sum(nats[:3]) / 3 + (nats[3] - 3 * np.log(s)) / 4) / 2)
    assert value(table, BASELINE, "worst_decile") == pytest.approx(min(first, second))
    assert value(table, BASELINE, "accuracy", "n_users") == 2
    assert value(table, BASELINE, "accuracy", "n_comparisons") == 5


def test_metrics_against_scikit_learn():
    predictions, user, label, weight, gaps = drawn(30, 12, seed=1)
    table, _ = tabulate(predictions, baseline=BASELINE, n_bootstrap=50, seed=0)
    for model, gap in gaps.items():
        p = 1 / (1 + np.exp(-gap))
        hit = (gap > 0) == (label > 0.5)
        assert value(table, model, "accuracy_pooled") == pytest.approx(np.average(hit, weights=weight))
        assert value(table, model, "log_loss_pooled") == pytest.approx(log_loss(label, p, sample_weight=weight))
        users = [user == u for u in range(30)]
        accuracies = [np.average(hit[u], weights=weight[u]) for u in users]
        assert value(table, model, "accuracy") == pytest.approx(np.mean(accuracies))
        losses = [log_loss(label[u], p[u], sample_weight=weight[u], labels=[0, 1]) for u in users]
        assert value(table, model, "log_loss") == pytest.approx(np.mean(losses))
        briers = [brier_score_loss(label[u], p[u], sample_weight=weight[u]) for u in users]
        assert value(table, model, "brier") == pytest.approx(np.mean(briers))
        assert value(table, model, "worst_decile") == pytest.approx(np.mean(np.sort(accuracies)[:3]))


def test_worst_share_by_brute_force():
    """The user on the boundary counts in part; a drawn user counts as often as drawn."""
    means = np.array([[0.9], [0.2], [0.5], [0.4]])
    counts = np.array([[1, 1, 1, 1], [0, 3, 1, 0], [2, 0, 0, 2]], dtype=np.float32)
    for share in (0.1, 0.4, 0.6, 1.0):
        expected = []
        for row in counts.astype(int):
            people = np.sort(np.repeat(means[:, 0], row))
            whole = np.repeat(people, 1000)
            expected.append(whole[: round(share * len(whole))].mean())
        np.testing.assert_allclose(worst_share(means, counts, share)[:, 0], expected, rtol=1e-12)


def test_intervals_are_those_of_means_over_users():
    """Percentiles of 2,000 draws against the normal interval of 200 users' means, and of their paired differences."""
    predictions, user, label, weight, gaps = drawn(200, 8, seed=2)
    table, _ = tabulate(predictions, baseline=BASELINE, n_bootstrap=2000, seed=0)
    means = {}
    for model, gap in gaps.items():
        hit = ((gap > 0) == (label > 0.5)).astype(float)
        means[model] = np.bincount(user, weight * hit) / np.bincount(user, weight)
        half = norm.ppf(0.975) * means[model].std() / np.sqrt(200)
        for side, sign in (("lo", -1), ("hi", 1)):
            expected = means[model].mean() + sign * half
            assert value(table, model, "accuracy", side) == pytest.approx(expected, abs=0.15 * half)
    difference = means["better"] - means[BASELINE]
    half = norm.ppf(0.975) * difference.std() / np.sqrt(200)
    assert value(table, "better", "accuracy", "diff") == pytest.approx(difference.mean())
    for side, sign in (("diff_lo", -1), ("diff_hi", 1)):
        expected = difference.mean() + sign * half
        assert value(table, "better", "accuracy", side) == pytest.approx(expected, abs=0.15 * half)


@pytest.mark.parametrize("seed", range(12))
def test_intervals_hold_their_estimates(seed):
    """All but a calibration error below what chance gives a calibrated model, which resamples cannot reach."""
    predictions, *_ = drawn(40, 10, seed)
    table, _ = tabulate(predictions, baseline=BASELINE, n_bootstrap=300, seed=seed)
    assert set(table["metric"]) == set(METRICS)
    lucky = (pl.col("metric") == "ece") & (pl.col("estimate") < pl.col("null_expectation"))
    out = table.filter(~pl.col("estimate").is_between("lo", "hi") & ~lucky)
    assert out.is_empty(), out
    paired = table.filter((pl.col("model") != BASELINE) & (pl.col("metric") != "ece"))
    assert paired.filter(~pl.col("diff").is_between("diff_lo", "diff_hi")).is_empty()


def test_the_baseline_has_no_difference_to_itself_and_its_double_none_at_all():
    predictions, user, label, weight, gaps = drawn(20, 10, seed=3)
    double = frame("double", gaps[BASELINE], label, user, weight)
    table, _ = tabulate(pl.concat([predictions, double]), baseline=BASELINE, n_bootstrap=50, seed=0)
    for column in ("diff", "diff_lo", "diff_hi"):
        assert table.filter(pl.col("model") == BASELINE)[column].is_null().all()
        assert (table.filter(pl.col("model") == "double")[column] == 0).all()
    a, b = (table.filter(pl.col("model") == m).select("metric", "estimate", "lo", "hi") for m in (BASELINE, "double"))
    assert a.equals(b)


def test_gains_are_paired_differences_to_the_population_code():
    predictions, user, label, weight, gaps = drawn(150, 8, seed=2)
    shared = frame("better · population code", gaps[BASELINE], label, user, weight, control=True)
    table, gains = tabulate(pl.concat([predictions, shared]), baseline=BASELINE, n_bootstrap=200, seed=0)
    assert gains.select("model", "metric").rows() == [("better", "accuracy"), ("better", "log_loss")]
    for metric in ("accuracy", "log_loss"):  # the population's code predicts as the baseline here
        row = gains.row(by_predicate=pl.col("metric") == metric, named=True)
        for column, other in (("gain", "diff"), ("lo", "diff_lo"), ("hi", "diff_hi")):
            assert row[column] == pytest.approx(value(table, "better", metric, other), abs=1e-12)
    assert tabulate(predictions, baseline=BASELINE, n_bootstrap=20, seed=0)[1].is_empty()


@pytest.fixture(scope="module")
def groups():
    """Two opposed tastes; prompts of ten comparisons each."""
    return compared(*planted.taste_groups(50, shares=(0.5, 0.5), width=6, scale=3.0, seed=4))


@pytest.fixture(scope="module")
def one_taste():
    return compared(*planted.taste_groups(50, shares=(1.0,), width=6, scale=3.0, seed=5))


def data_of(population, seed=6):
    data = population.sample(40, seed=seed).data
    n = len(data) // 10
    prompt = np.arange(len(data.items)) % len(data) % n
    return Comparisons(**{**vars(data), "prompt": prompt, "prompt_keys": np.arange(n, dtype=np.uint64)})


def compared(population, _, **arguments):
    arguments = {"n_bootstrap": 300, "support": 15, **arguments}
    return compare(data_of(population), {"pal": SMALL_PAL}, **arguments)


def test_every_model_control_and_cell_is_there(groups):
    pal = [f"pal · {c}" for c in ("population code", "another user's code", "shuffled users")]
    assert groups.table["model"].unique(maintain_order=True).to_list() == [BASELINE, TEMPERATURE, "pal", *pal]
    assert groups.table.filter("control")["model"].unique(maintain_order=True).to_list() == [TEMPERATURE, *pal]
    assert set(groups.table["cell"]) == CELLS
    assert groups.table.height == 6 * 4 * len(METRICS)
    assert groups.table.filter(pl.col("metric") == "accuracy")["estimate"].is_between(0, 1).all()
    assert groups.fits["model"].to_list() == [BASELINE, TEMPERATURE, "pal"]
    assert groups.fits["seconds"].min() > 0
    assert groups.about["models"]["pal"] == repr(SMALL_PAL)


def test_models_predict_the_same_rows_in_the_same_order(groups):
    parts = groups.predictions.partition_by("model")
    assert len(parts) == 6
    for part in parts[1:]:
        assert part.select("fold", "cell", "user_id", "label", "weight").equals(
            parts[0].select("fold", "cell", "user_id", "label", "weight")
        )
    p = 1 / (1 + np.exp(-groups.predictions["gap"].to_numpy()))
    np.testing.assert_allclose(groups.predictions["prob_first"], p, rtol=1e-12)


def test_cells_keep_users_and_prompts_apart(groups):
    users = {cell: set(part["user_id"]) for (cell,), part in groups.predictions.group_by("cell")}
    assert users["seen user, unseen prompt"].isdisjoint(users["unseen user, unseen prompt"])
    assert len(users["unseen user, unseen prompt"]) == 10
    assert groups.fits["users"].to_list() == [40, 40, 40]


def test_planted_groups_beat_every_control(groups):
    for cell in ("seen user, unseen prompt", "unseen user, unseen prompt"):
        own = value(groups.table, "pal", "accuracy", cell=cell)
        for rival in groups.table["model"].unique():
            if rival != "pal":
                assert own > value(groups.table, rival, "accuracy", cell=cell) + 0.04, (cell, rival)
        assert value(groups.table, "pal", "accuracy", "diff_lo", cell=cell) > 0
        assert value(groups.table, "pal", "log_loss", "diff_hi", cell=cell) < 0


def test_shuffled_users_gain_nothing(groups):
    for cell in CELLS:
        diff = value(groups.table, "pal · shuffled users", "accuracy", "diff", cell=cell)
        assert diff < 0.05  # about 150 to 1,000 comparisons a cell


def test_where_tastes_agree_nothing_is_gained(one_taste):
    """Own codes against the population's, on the same rows: the interval of the difference holds nought."""
    assert set(one_taste.gains["cell"]) == CELLS
    for row in one_taste.gains.filter(pl.col("metric") == "accuracy").iter_rows(named=True):
        assert row["lo"] <= 0.005, row
        assert abs(row["gain"]) < 0.04, row
    assert abs(value(one_taste.table, "pal", "accuracy", "diff", cell="unseen user, unseen prompt")) < 0.04


def test_where_they_differ_the_gain_is_told(groups):
    gains = groups.gains.filter(pl.col("metric") == "accuracy")
    assert (gains["lo"] > 0).all()
    gained, harmed = groups.verdict[:4], groups.verdict[4:]
    assert all(line.endswith(": a gain.") for line in gained)
    assert len(harmed) == 4
    assert all("own code raises the log-loss of" in line and "none shown to be harmed" in line for line in harmed)


def test_folds_test_every_prompt_once():
    seen, _ = planted.taste_groups(20, shares=(1.0,), width=4, seed=7)
    data = data_of(seen)
    result = compare(data, [BradleyTerry()], test_size=0.5, folds=2, unseen_users=0.0, n_bootstrap=20)
    new = result.predictions.filter((pl.col("cell") == "seen user, unseen prompt") & (pl.col("model") == BASELINE))
    assert new.height == len(data)
    np.testing.assert_array_equal(new["user_id"].value_counts()["count"], np.full(20, 40))
    assert result.fits.height == 4
    assert set(result.table["cell"]) == {"seen user, unseen prompt", "seen user, seen prompt"}


def test_the_same_seed_gives_the_same_table(groups):
    again = compared(*planted.taste_groups(50, shares=(0.5, 0.5), width=6, scale=3.0, seed=4))
    assert again.table.equals(groups.table)
    assert again.predictions.equals(groups.predictions)


def test_baselines_stand_where_they_were():
    with pytest.raises(InputError, match=r"'bradley_terry' is the baseline.*under another name"):
        compare(data_of(planted.taste_groups(20, width=4)[0]), [BradleyTerry(hidden=4)])
    with pytest.raises(InputError, match="two models are called pal; give a mapping"):
        compare(data_of(planted.taste_groups(20, width=4)[0]), [PAL(), PAL(n_prototypes=2)])


def test_saved_tables_come_back(groups, tmp_path):
    folder = groups.save(tmp_path / "out")
    assert pl.read_parquet(folder / "table.parquet").equals(groups.table)
    assert pl.read_parquet(folder / "gains.parquet").equals(groups.gains)
    assert pl.read_parquet(folder / "predictions.parquet").equals(groups.predictions)
    record = json.loads((folder / "comparison.json").read_text(), parse_constant=pytest.fail)  # NaN is not JSON
    assert pl.read_parquet(folder / "harmed.parquet").equals(groups.harmed)
    assert record["about"]["seed"] == 0
    assert len(record["harmed"]) == 4
    assert len(record["table"]) == groups.table.height
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_text_and_notebook_show_every_model(groups):
    for shown in (str(groups), groups._repr_html_()):
        for words in ("BT · temperature", "PAL", "Pop.", "Shuf.", "Unseen user"):
            assert words in shown
    assert max(map(len, str(groups).splitlines())) <= 80


@dataclass(frozen=True)
class Picky(BradleyTerry):
    """Works on nothing."""

    name: ClassVar[str] = "picky"

    def check(self, data):
        raise InputError("picky: this data has no moon; try bradley_terry")


def test_a_model_that_cannot_work_stops_everything_before_the_first_fit(monkeypatch):
    data = planted.pal(30, width=4, preference=2)[0].sample(10, seed=0).data
    monkeypatch.setattr(BradleyTerry, "learn", None)
    with pytest.raises(InputError, match="no moon"):
        compare(data, [Picky()], split="item")


def test_or_is_left_out_and_said_so():
    data = planted.pal(30, width=4, preference=2)[0].sample(10, seed=0).data
    result = compare(data, [Picky()], split="item", leave_out=True, n_bootstrap=20)
    assert "picky" not in result.table["model"].to_list()
    assert result.about["left_out"] == {"picky": "picky: this data has no moon; try bradley_terry"}
    for shown in (str(result), result._repr_html_()):
        assert "Left out: picky" in shown


def test_units_other_than_users_keep_their_codes_for_unseen_users():
    """A group is known from its seen users; their newcomers need no support of their own."""
    seen, _ = planted.taste_groups(60, shares=(0.5, 0.5), width=6, scale=3.0, seed=0)
    data = seen.sample(40, seed=1).data
    spec = PAL(n_prototypes=2, preference=3, decay=3.0, unit="group")
    result = compare(data, {"by group": spec}, split="item", support=2, shuffled=False, n_bootstrap=50)
    for kind in ("seen", "unseen"):
        cell = f"{kind} user, unseen item"
        own = value(result.table, "by group", "accuracy", cell=cell)
        assert own > value(result.table, BASELINE, "accuracy", cell=cell) + 0.1
        assert own > value(result.table, "by group · another user's code", "accuracy", cell=cell) + 0.1


@dataclass(frozen=True)
class Fickle(BradleyTerry):
    """Has a code for each user in every other fold, as a rank chosen on held-out items may be 0."""

    personal: Iterator[bool] = field(default_factory=lambda: cycle([False, True]))

    name: ClassVar[str] = "fickle"

    def learn(self, data, run):
        return BradleyTerry(temperature=next(self.personal), decay=3.0).learn(data, run)


def test_a_model_without_codes_in_one_fold_is_its_own_control_there():
    data = planted.taste_groups(20, shares=(0.5, 0.5), width=4, seed=7)[0].sample(30, seed=0).data
    result = compare(data, [Fickle()], folds=2, unseen_users=0.0, shuffled=False, n_bootstrap=20)
    lines = result.predictions.partition_by("model", as_dict=True)
    own, control = (lines[(name,)] for name in ("fickle", "fickle · population code"))
    assert own.height == control.height
    first = pl.col("fold") == 0
    assert own.filter(first)["gap"].equals(control.filter(first)["gap"])
    assert not own.filter(~first)["gap"].equals(control.filter(~first)["gap"])


def test_a_split_that_holds_nothing_new_out_is_told_of():
    data = planted.taste_groups(20, shares=(0.5, 0.5), width=4, seed=7)[0].sample(30, seed=0).data  # one prompt
    for split, told in (("prompt", True), ("item", False)):
        result = compare(data, [], split=split, shuffled=False, n_bootstrap=20)
        assert ("split: no test comparison is of an unseen prompt" in " ".join(str(result).split())) == told


def test_models_side_by_side_give_what_they_give_one_by_one():
    """Each in a process of its own, and what a fit warns of is heard all the same."""
    data = data_of(planted.taste_groups(30, shares=(0.5, 0.5), width=4, seed=0)[0])
    lcpo = LCPO(unidentified="warn", decay=3.0, reliability="global", eta_starts=(0.75,))
    arguments = {"split": "row", "support": 5, "n_bootstrap": 20, "shuffled": False}
    found = []
    for n_jobs in (1, 2):
        with pytest.warns(InputWarning, match="lcpo"):
            found.append(compare(data, {"pal": SMALL_PAL, "lcpo": lcpo}, n_jobs=n_jobs, **arguments))
    one, two = found
    assert_frame_equal(one.predictions, two.predictions)
    assert one.fits.select("model", "fold", "users").equals(two.fits.select("model", "fold", "users"))
    assert (two.fits["cpu_seconds"] > 0).all()


@pytest.mark.slow
def test_a_spec_that_another_process_cannot_make_is_one_line(monkeypatch):
    data = data_of(planted.taste_groups(30, shares=(0.5, 0.5), width=4, seed=0)[0])
    here = ModuleType("here_alone")
    here.Local = type("Local", (BradleyTerry,), {"__module__": "here_alone"})
    monkeypatch.setitem(sys.modules, "here_alone", here)
    with pytest.raises(InputError, match=r"n_jobs=2: .*; give n_jobs=1"):
        compare(data, {"local": here.Local()}, n_jobs=2, split="row", support=5, n_bootstrap=20)


def test_a_time_limit_leaves_out_what_was_not_begun_and_a_log_hears_what_was_done():
    heard, data = [], planted.taste_groups(20, shares=(0.5, 0.5), width=3)[0].sample(20, seed=0).data
    found = compare(
        data, [PAL(n_prototypes=2, decay=1.0)], split="row", support=5, shuffled=False, n_bootstrap=10, folds=2,
        time_limit=0, log=lambda step, values: heard.append(values),
    )  # fmt: skip
    assert "time limit" in found.about["left_out"]["pal"]
    assert found.about["folds"] == 1
    assert set(found.table.filter(~pl.col("control"))["model"]) == {"bradley_terry"}
    assert any(values.get("model") == "bradley_terry" for values in heard)
    assert heard[-1] == found.headline
    assert heard[-1]["bradley_terry/seen user, unseen row/accuracy"] > 0.4
