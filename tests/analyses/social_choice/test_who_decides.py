"""Who decides and who benefits, against loops over people and prompts, and planted towns."""

import numpy as np
import polars as pl
import pytest

from plurality.analyses.social_choice.aggregation_rules import RULES, mean
from plurality.analyses.social_choice.selectors import (
    aggregation_front,
    negotiation_report,
    rule_choices,
    who_decides,
)
from plurality.analyses.welfare.normalisations import normalise_sets, sensitivity
from plurality.analyses.welfare.welfare import gini
from plurality.errors import InputError

EVERYBODY = "(all users)"


def town(users=60, prompts=6, k=5, seed=0):
    """A majority "a" (two thirds) and a minority "b" that wants the opposite, with personal taste on top."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(prompts, k))
    groups = np.where(np.arange(users) % 3 == 0, "b", "a")
    sign = np.where(groups == "a", 1.0, -1.0)
    return sign[:, None, None] * common + 0.7 * rng.normal(size=(users, prompts, k)), groups


def test_matrix_against_loops():
    reward, groups = town(users=9, prompts=4, k=3)
    reward[2, 1] = np.nan  # one user never saw a prompt
    reward[:, 3, 2] = np.nan  # and one prompt has two candidates
    u = normalise_sets(reward, "percentile").value
    weights = np.array([1, 2, 1, 3, 1, 1, 0, 2, 1.0])
    seat = (np.arange(9) < 2).astype(float)
    table = who_decides(
        reward, groups, normalisation="percentile", weights=weights, seats={"first two": seat}, n_bootstrap=20
    )
    assert table.columns == [
        "selector", "kind", "group", "n_users", "mean", "lo", "hi", "n_prompts", "normalisation", "provenance"
    ]  # fmt: skip
    deciders = {EVERYBODY: weights, "a": weights * (groups == "a"), "b": weights * (groups == "b"), "first two": seat}
    evaluated = {EVERYBODY: weights, "a": weights * (groups == "a"), "b": weights * (groups == "b")}

    def average(p, w):
        known = ~np.isnan(u[:, p, 0]) & (w > 0)
        return np.average(u[known, p], axis=0, weights=w[known])

    def even(values):
        best = np.isclose(values, np.nanmax(values), atol=1e-12)
        return best / best.sum()

    shares = {name: [even(average(p, w)) for p in range(4)] for name, w in deciders.items()}
    shares["maximin"] = [even(np.minimum(average(p, evaluated["a"]), average(p, evaluated["b"]))) for p in range(4)]
    for name, of in shares.items():
        own = [np.nanmean([np.where(of[p] > 0, of[p] * u[i, p], 0).sum() for p in range(4)]) for i in range(9)]
        for group, w in evaluated.items():
            row = table.filter(pl.col("selector") == name, pl.col("group") == group)
            assert row["mean"].item() == pytest.approx(np.average(own, weights=w), abs=1e-12)
            assert row["n_users"].item() == (w > 0).sum()
            assert row["n_prompts"].item() == 4
    personal = table.filter(pl.col("selector") == "personal", pl.col("group") == EVERYBODY)["mean"].item()
    assert personal == pytest.approx(np.average(np.nanmean(np.fmax.reduce(u, axis=2), axis=1), weights=weights))
    assert table["normalisation"].unique().to_list() == ["percentile"]
    assert table["provenance"].unique().to_list() == ["same rewards"]


def test_each_group_does_best_by_its_own_choice_and_all_by_personal():
    reward, groups = town()
    table = who_decides(reward, groups, n_bootstrap=300)
    value = {(r["selector"], r["group"]): r for r in table.iter_rows(named=True)}
    for group in ("a", "b", EVERYBODY):
        column = table.filter(pl.col("group") == group, pl.col("selector") != "personal")
        own = value[group, group]["mean"]
        assert own == column["mean"].max()
        assert value["personal", group]["mean"] > own
    assert value["a", "b"]["hi"] < value["b", "b"]["lo"]
    assert value["maximin", "b"]["mean"] > value[EVERYBODY, "b"]["mean"]
    assert (table["lo"] < table["mean"]).all()
    assert (table["mean"] < table["hi"]).all()
    # a seat of power that holds a group is that group
    seated = who_decides(reward, groups, seats={"b only": groups == "b"}, n_bootstrap=20)
    rows = seated.filter(pl.col("selector") == "b only")["mean"], seated.filter(pl.col("selector") == "b")["mean"]
    np.testing.assert_allclose(*rows, atol=1e-12)


def test_order_and_names_do_not_matter_and_a_weight_is_as_many_people():
    reward, groups = town(users=20)
    weights = np.random.default_rng(0).integers(0, 3, 20)
    order = np.random.default_rng(1).permutation(20)
    other = np.random.default_rng(2).permutation(5)
    for function, columns in (
        (who_decides, ["mean", "n_prompts"]),
        (aggregation_front, ["mean", "worst", "worst_group"]),
    ):
        base = function(reward, groups, weights=weights, n_bootstrap=20)[columns]
        moved = function(reward[order][:, :, other], groups[order], weights=weights[order], n_bootstrap=20)[columns]
        people = function(np.repeat(reward, weights, 0), np.repeat(groups, weights), n_bootstrap=20)[columns]
        for frame in (moved, people):
            for name in columns:
                if name == "worst_group":
                    assert frame[name].to_list() == base[name].to_list()
                else:
                    np.testing.assert_allclose(frame[name], base[name], atol=1e-10)
    shifted = aggregation_front(reward + np.arange(6)[:, None], groups, n_bootstrap=20)
    np.testing.assert_allclose(shifted["mean"], aggregation_front(reward, groups, n_bootstrap=20)["mean"], atol=1e-10)


def test_rewards_that_choose_flatter_the_chooser():
    rng = np.random.default_rng(0)
    groups = np.array(["a", "b"] * 10)
    first, second = rng.normal(size=(2, 20, 30, 4))  # nothing in common: no choice can be good
    same = who_decides(first, groups, normalisation="min_max", n_bootstrap=20)
    fair = who_decides(second, groups, normalisation="min_max", deciding=first, n_bootstrap=20)
    level = normalise_sets(second, "min_max").value.mean()
    assert same.filter(pl.col("selector") == "personal")["mean"].to_list() == [1, 1, 1]
    assert same.filter(pl.col("selector") == EVERYBODY)["mean"][0] > level + 0.05
    np.testing.assert_allclose(fair.filter(pl.col("group") == EVERYBODY)["mean"], level, atol=0.07)
    assert fair["provenance"].unique().to_list() == ["other rewards"]


def test_front_has_the_utilitarian_at_one_end_and_maximin_at_the_other():
    reward, groups = town()
    front = aggregation_front(reward, groups, normalisation="min_max", n_bootstrap=300)
    assert front.columns == [
        "rule", "mean", "lo", "hi", "worst", "worst_lo", "worst_hi", "worst_shrunk", "worst_group", "p_worst",
        "correlation", "n_users", "n_groups", "normalisation", "provenance",
    ]  # fmt: skip
    assert front["rule"].to_list() == [*RULES, "personal"]
    value = {row["rule"]: row for row in front.iter_rows(named=True)}
    assert value["personal"]["mean"] == pytest.approx(1)
    shared = [value[name] for name in RULES]
    assert max(shared, key=lambda row: row["mean"])["rule"] == "mean"
    assert value["mean"]["worst_group"] == "b"
    assert value["mean"]["p_worst"] > 0.99
    assert value["maximin"]["worst"] > value["mean"]["worst"] + 0.05
    # the mean of the front is the row of everybody in the matrix
    matrix = who_decides(reward, groups, normalisation="min_max", n_bootstrap=300)
    rows = matrix.filter(pl.col("selector") == EVERYBODY)
    for mine, theirs in (("mean", "mean"), ("lo", "lo"), ("hi", "hi")):
        assert value["mean"][mine] == pytest.approx(rows[theirs][0], abs=1e-12)
    assert value["mean"]["worst"] == pytest.approx(rows["mean"].min(), abs=1e-12)
    assert np.abs(front["correlation"].drop_nans().to_numpy()).max() <= 1
    assert front["n_groups"].to_list() == [2] * front.height


@pytest.mark.slow
def test_intervals_cover_what_fixed_choices_give_the_population():
    rng = np.random.default_rng(7)
    common = rng.normal(size=(3, 4))
    decided = np.broadcast_to(common, (30, 3, 4))
    best = common.argmax(axis=1)
    truth = np.array([common[range(3), best].mean(), -common[range(3), best].mean()])  # of groups a and b
    groups = np.where(np.arange(30) % 3 == 0, "b", "a")
    sign = np.where(groups == "a", 1.0, -1.0)[:, None, None]
    hits, trials = np.zeros(4), 300
    for k in range(trials):
        u = sign * common + rng.normal(size=(30, 1, 1)) + rng.normal(size=(30, 3, 4))
        seen = {"normalisation": None, "deciding": decided, "n_bootstrap": 400, "seed": k}
        table = who_decides(u, groups, **seen).filter(pl.col("selector") == EVERYBODY)
        row = aggregation_front(u, groups, rules={"mean": mean}, **seen).row(0, named=True)
        lo, hi = table["lo"].to_numpy(), table["hi"].to_numpy()
        hits[:2] += (lo[1:] <= truth) & (truth <= hi[1:])
        hits[2] += row["worst_lo"] <= truth.min() <= row["worst_hi"]
        # a fixed third of the users is of group b
        hits[3] += row["lo"] <= truth @ [2 / 3, 1 / 3] <= row["hi"]
    error = 3 * np.sqrt(0.05 * 0.95 / trials) + 0.01
    np.testing.assert_allclose(hits[:2] / trials, 0.95, atol=error)
    assert (hits[2:] / trials > 0.95 - error).all()  # these may be wider than they need be


def test_the_worst_off_under_one_and_the_same_maximin_turns_with_the_normalisation():
    """Both groups disagree within themselves as much; the noisy tell it in small rewards."""
    rng = np.random.default_rng(0)
    users, prompts, k = 40, 20, 5
    groups = np.where(np.arange(users) % 2, "decided", "noisy")
    taste = rng.normal(size=(2, prompts, k))
    own = np.where((groups == "noisy")[:, None, None], taste[0], 0.6 * taste[1] + rng.normal(size=(users, prompts, k)))
    reward = own * np.where(groups == "noisy", 0.15, 4.0)[:, None, None]
    served = np.broadcast_to(rule_choices(reward, groups, normalisation="min_max")["maximin"], reward.shape)
    user, prompt, _ = np.indices(reward.shape)
    rows = (reward.ravel(), user.ravel(), prompt.ravel(), served.ravel(), groups[user.ravel()])
    worst = dict(sensitivity(*rows).filter("worst").select("normalisation", "group").iter_rows())
    assert worst["min_max"] == "decided"
    assert worst["win_probability"] == "noisy"


def test_report_has_the_four_columns():
    reward, groups = town(users=12)
    policies = rule_choices(reward, groups)
    table = negotiation_report(reward, policies, groups)
    assert table.columns[:5] == ["policy", "total_utility", "worst_group", "percentile_20", "gini"]
    assert table["policy"].to_list() == [*RULES, "personal"]
    u, satisfied = (normalise_sets(reward, name).value for name in ("win_probability", "min_max"))
    for row in table.iter_rows(named=True):
        share = np.broadcast_to(policies[row["policy"]], reward.shape)
        own = (share * u).sum(axis=2).mean(axis=1)
        assert row["total_utility"] == pytest.approx(own.sum())
        assert row["worst_group"] == pytest.approx(min(own[groups == g].mean() for g in "ab"))
        assert row["percentile_20"] == pytest.approx(np.quantile((share * satisfied).sum(axis=2).mean(axis=1), 0.2))
        assert row["gini"] == pytest.approx(gini(own))
    assert table["percentile_20"][-1] == pytest.approx(1)
    assert table["total_utility"][-1] == table["total_utility"].max()
    weights = np.arange(12) % 3
    weighted_table = negotiation_report(reward, policies | {"personal": policies["mean"]}, groups, weights=weights)
    again = rule_choices(reward, groups)["mean"]
    repeated = negotiation_report(
        np.repeat(reward, weights, 0), {"mean": again}, np.repeat(groups, weights), weights=np.ones(weights.sum())
    )
    for name in table.columns[1:5]:
        assert weighted_table[name][0] == pytest.approx(repeated[name][0])
    negative = negotiation_report(reward, {"mean": again}, groups, normalisation="z_score")
    assert np.isnan(negative["gini"][0])


def test_edges():
    reward, groups = town(users=4, prompts=2, k=3)
    lone = aggregation_front(reward[:1], ["a"], n_bootstrap=20)
    assert lone["lo"].is_nan().all()
    assert lone["worst"].is_nan().all()
    assert lone["worst_group"].to_list() == [None] * lone.height
    for nothing in (
        {"reward": np.full((4, 2, 3), np.nan), "groups": groups},
        {"reward": reward, "groups": groups, "weights": np.zeros(4)},
        {"reward": reward[:0], "groups": []},
        {"reward": reward[:, :, :1], "groups": groups},  # nothing to prefer it to
        {"reward": reward[:, :0], "groups": groups},
        {"reward": reward[:, :, :0], "groups": groups},
    ):
        shared = who_decides(**nothing, n_bootstrap=20).filter(pl.col("selector") != "personal")
        assert shared["mean"].is_nan().all()
        front = aggregation_front(**nothing, n_bootstrap=20).filter(pl.col("rule") != "personal")
        assert front["mean"].is_nan().all()
        assert negotiation_report(policies=rule_choices(**nothing), **nothing)["gini"].is_nan().all()
    alike = aggregation_front(np.zeros((6, 2, 3)), ["a", "b"] * 3, normalisation="percentile", n_bootstrap=20)
    np.testing.assert_allclose(alike["mean"], 0.5)
    np.testing.assert_allclose(alike["hi"], 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r, g: who_decides(r[0], g), "reward: shape"),
        (lambda r, g: who_decides(r, g[:2]), "groups: 2 labels"),
        (lambda r, g: who_decides(np.where(np.indices(r.shape).sum(0) == 1, np.nan, r), g), "user 0 lacks a candidate"),
        (lambda r, g: who_decides(r, g, deciding=r[:, :1]), "deciding: not the users"),
        (lambda r, g: who_decides(r, g, normalisation="rank"), "'rank' is unknown"),
        (lambda r, g: who_decides(r, g, seats={"x": [1.0]}), r"seats: shape \(1,\)"),
        (lambda r, g: who_decides(r, g, seats={"x": [1.0, -1, 0, 0]}), "seats: row 1 is -1"),
        (lambda r, g: aggregation_front(r, g, normalisation="z_score"), "power mean: a utility is negative"),
        (lambda r, g: negotiation_report(r, {"x": np.ones((2, 2))}, g), "policy 'x': shape"),
        (lambda r, g: negotiation_report(r, {"x": np.ones((2, 3))}, g), "policy 'x': give the probability"),
    ],
)
def test_bad_input_is_named(call, message):
    reward, groups = town(users=4, prompts=2, k=3)
    with pytest.raises(InputError, match=message):
        call(reward, groups)
