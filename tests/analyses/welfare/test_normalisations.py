"""Normalisations against pairs counted one by one, their invariances as tabled, and who is worst off under each."""

import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from plurality.analyses.social_choice.candidate_sets import coded
from plurality.analyses.welfare.normalisations import (
    NORMALISATIONS,
    min_max,
    normalise_sets,
    normalised_regret,
    percentile,
    sensitivity,
    win_probability,
    z_score,
)
from plurality.errors import InputError


@st.composite
def candidates(draw):
    """Rewards in quarters (so that shifts and scales by powers of two are exact) of users and prompts, any order."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    user = np.repeat([draw(st.integers(0, 2)) for _ in sizes], sizes)
    prompt = np.repeat(np.arange(len(sizes)), sizes)
    reward = np.array([draw(st.integers(-12, 12)) for _ in user]) / 4
    order = np.array(draw(st.permutations(range(len(user)))))
    return reward[order], user[order], prompt[order]


def one_by_one(reward, user, prompt, own):
    """Value of each row from the rewards of the others of its set and of its whole set."""
    result = []
    for k in range(len(reward)):
        same = (user == user[k]) & (prompt == prompt[k])
        others = same.copy()
        others[k] = False
        result.append(own(reward[k], reward[others], reward[same]))
    return np.array(result, float)


def rank_share(r, others, _):
    return ((others < r).sum() + 0.5 * (others == r).sum()) / len(others) if len(others) else np.nan


def win_share(r, others, _):
    return expit(r - others).mean() if len(others) else np.nan


def range_share(r, _, same):
    return (r - same.min()) / np.ptp(same) if np.ptp(same) else 0.5


def regret_share(r, _, same):
    return (r - same.mean()) / (same.max() - same.mean()) if np.ptp(same) else np.nan


@settings(max_examples=80, deadline=None)
@given(candidates())
def test_each_is_its_definition(rows):
    reward, user, prompt = rows
    for function, own in (
        (percentile, rank_share),
        (win_probability, win_share),
        (min_max, range_share),
        (normalised_regret, regret_share),
    ):
        found = function(*rows)
        np.testing.assert_allclose(found.value, one_by_one(reward, user, prompt, own), atol=1e-12)
    z = z_score(*rows)
    for u in np.unique(user):
        own = reward[user == u]
        expected = (own - own.mean()) / own.std() if np.ptp(own) else np.zeros(len(own))
        np.testing.assert_allclose(z.value[user == u], expected, atol=1e-12)
    sizes = (
        pl.DataFrame({"u": user, "p": prompt, "r": reward})
        .group_by("u", "p")
        .agg(pl.len(), flat=pl.col("r").n_unique() == 1)
    )
    assert percentile(*rows).sets == sizes.height
    assert percentile(*rows).flat == win_probability(*rows).flat == (sizes["len"] == 1).sum()
    assert min_max(*rows).flat == normalised_regret(*rows).flat == sizes["flat"].sum()


@settings(max_examples=50, deadline=None)
@given(candidates(), st.lists(st.integers(-8, 8), min_size=30, max_size=30), st.integers(-3, 3))
def test_invariances_are_as_tabled(rows, shifts, power):
    reward, user, prompt = rows
    moved = reward + np.array(shifts)[prompt + 6 * user] / 4
    wider = reward * np.where(user == 1, 2.0**power, 1.0)
    for rule in NORMALISATIONS.values():
        value = rule.function(*rows).value
        if rule.shift_invariant:
            np.testing.assert_allclose(rule.function(moved, user, prompt).value, value, atol=1e-9)
        if rule.scale_invariant:
            np.testing.assert_allclose(rule.function(wider, user, prompt).value, value, atol=1e-9)


def test_and_do_not_hold_where_they_are_not_tabled():
    reward, user, prompt = np.array([0.0, 1, 3, 0, 2]), np.zeros(5, int), np.array([0, 0, 0, 1, 1])
    win, z = NORMALISATIONS["win_probability"], NORMALISATIONS["z_score"]
    assert not win.scale_invariant
    assert np.abs(win.function(3 * reward, user, prompt).value - win.function(reward, user, prompt).value).max() > 0.1
    assert not z.shift_invariant
    assert (
        np.abs(z.function(reward + 2 * prompt, user, prompt).value - z.function(reward, user, prompt).value).max() > 0.1
    )


@settings(max_examples=50, deadline=None)
@given(candidates(), st.lists(st.integers(0, 3), min_size=30, max_size=30))
def test_a_weight_is_as_many_candidates_and_order_does_not_matter(rows, times):
    weights = np.array(times[: len(rows[0])])
    repeated = [np.repeat(column, weights) for column in rows]
    for function in (win_probability, percentile, normalised_regret, z_score):
        single = function(*rows, weights=weights).value
        np.testing.assert_allclose(np.repeat(single, weights), function(*repeated).value, atol=1e-9)
    order = np.random.default_rng(0).permutation(len(weights))
    names = np.array(["z", "a", "m"])
    for rule in NORMALISATIONS.values():
        there = rule.function(*(column[order] for column in rows)).value
        np.testing.assert_allclose(there, rule.function(*rows).value[order], atol=1e-12)
        renamed = rule.function(rows[0], names[rows[1]], rows[2].astype(str))
        np.testing.assert_allclose(renamed.value, rule.function(*rows).value, atol=1e-12)


def test_known_values_and_a_reference():
    rows = (np.array([0.0, 1, 2, 2, 7]), np.array([0, 0, 0, 0, 1]), np.zeros(5, int))
    np.testing.assert_allclose(percentile(*rows).value, [0, 1 / 3, 2.5 / 3, 2.5 / 3, np.nan])
    np.testing.assert_allclose(min_max(*rows).value, [0, 0.5, 1, 1, 0.5])
    np.testing.assert_allclose(normalised_regret(*rows, reference=[1.0, 1, 1, 1, 7]).value, [-1, 0, 1, 1, np.nan])
    assert normalised_regret(*rows, reference=[1.0, 1, 1, 1, 7]).flat == 1
    assert normalised_regret(*rows, reference=[3.0, 3, 3, 3, 0]).flat == 1  # nothing beats the reference
    table = np.array([[0.0, 2]] * 4 + [[7, np.nan]])
    found = win_probability(*rows, reference=table)
    np.testing.assert_allclose(found.value[0], (0.5 + expit(-2)) / 2)
    np.testing.assert_allclose(found.value[4], 0.5)
    assert found.flat == 0
    np.testing.assert_allclose(normalised_regret(*rows, reference=table).value[1], 0)
    np.testing.assert_allclose(win_probability(*rows, reference=rows[0]).value, 0.5)
    wide = (np.array([0.0, 900, -900]), np.zeros(3), np.zeros(3))
    np.testing.assert_allclose(win_probability(*wide).value, [0.5, 1, 0])


def test_nothing_in_nothing_out():
    for rule in NORMALISATIONS.values():
        found = rule.function([], [], [])
        assert (len(found.value), found.sets, found.flat) == (0, 0, 0)
    empty = sensitivity([], [], [], [], [])
    assert empty.height == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: percentile([0.0, np.nan], [1, 1], [1, 1]), "reward: row 1 is nan"),
        (lambda: percentile([0.0, 1.0], [1, 1], [1]), "lengths differ: 2 rewards, 2 users, 1 prompts"),
        (lambda: percentile([0.0, 1.0], ["a", None], [1, 1]), "user: row 1 has no label"),
        (lambda: percentile([0.0, 1.0], [1, 1], [1, np.nan]), "prompt: row 1 has no label"),
        (lambda: percentile([0.0, 1.0], [1, 1], [1, 1], weights=[1, -1]), "weights: row 1 is -1"),
        (lambda: win_probability([0.0, 1.0], [1, 1], [1, 1], reference=[1.0]), r"reference: shape \(1, 1\)"),
        (lambda: win_probability([0.0, 1.0], [1, 1], [1, 1], reference=[1.0, np.nan]), "reference: row 1"),
        (lambda: normalised_regret([0.0, 1.0], [1, 1], [1, 1], reference=[1.0, 2.0]), "reference: row 1 differs"),
        (lambda: normalise_sets(np.zeros((2, 2, 2)), "rank"), "'rank' is unknown; use win_probability"),
        (lambda: normalise_sets(np.zeros((2, 2)), "min_max"), "users x prompts x candidates"),
        (lambda: normalise_sets(np.zeros((2, 2, 2)), "win_probability", [[0.0, 1]]), r"reference: shape \(1, 2\)"),
        (lambda: win_probability([0.0, 1], [1, 1], [1, 1], reference=[1.0], weights=[0, 1]), r"reference: shape"),
        (lambda: sensitivity([0.0, 1.0], [1, 1], [1, 1], [1, 0], ["a", "b"]), "group: row 1 differs"),
        (lambda: sensitivity([0.0, 1.0], [1, 1], [1, 1], [1], ["a", "a"]), "served"),
        (lambda: sensitivity([0.0, 1.0], [1, 1], [1, 1], [1, -1], ["a", "a"]), "served"),
        (lambda: sensitivity([0.0], [1], [1], [1], ["a"], weights=[np.inf]), "weights"),
        (lambda: sensitivity([0.0], [1], [1], [1], ["a"], weights=[1, 2]), r"weights: shape \(2,\) for 1 rows"),
        (lambda: coded([[1]], "group"), "group: shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_cube_is_the_same_as_rows():
    rng = np.random.default_rng(0)
    cube = rng.normal(size=(4, 3, 5))
    cube[1, 2] = np.nan
    cube[:, 0, 4] = np.nan
    user, prompt, _ = there = np.nonzero(~np.isnan(cube))
    reference = rng.normal(size=(4, 3))
    for name, rule in NORMALISATIONS.items():
        given = {"reference": reference[user, prompt]} if rule.takes_reference else {}
        found = normalise_sets(cube, name, reference)
        np.testing.assert_array_equal(found.value[there], rule.function(cube[there], user, prompt, **given).value)
        assert np.isnan(found.value[np.isnan(cube)]).all()


def flipping():
    """Users who see three prompts of four candidates: "decided" choose sharply, "noisy" almost at random.

    A policy serves the decided their second best, close to the best, and the noisy their best.
    """
    frames = []
    for k in range(40):
        group, served, spread = ("decided", 2, 20.0) if k % 2 else ("noisy", 3, 0.1)
        for prompt in range(3):
            ladder = spread * np.array([0.0, 0.1, 0.4, 1.0]) + prompt
            frames.append(
                pl.DataFrame({"reward": ladder, "user": k, "prompt": prompt, "group": group}).with_columns(
                    served=pl.int_range(4) == served
                )
            )
    return pl.concat(frames)


def columns(frame):
    return (frame[name].to_numpy() for name in ("reward", "user", "prompt", "served", "group"))


def test_who_is_worst_off_turns_with_the_normalisation():
    table = sensitivity(*columns(flipping()))
    worst = {row["normalisation"]: row["group"] for row in table.filter("worst").iter_rows(named=True)}
    assert worst["min_max"] == "decided"
    assert worst["percentile"] == "decided"
    assert worst["win_probability"] == "noisy"
    value = {(row["normalisation"], row["group"]): row["mean"] for row in table.iter_rows(named=True)}
    assert value["min_max", "decided"] == pytest.approx(0.4)
    assert value["min_max", "noisy"] == pytest.approx(1)
    assert value["win_probability", "noisy"] == pytest.approx(expit(0.1 * np.array([1, 0.9, 0.6])).mean())
    assert value["win_probability", "decided"] == pytest.approx(expit(20 * np.array([0.4, 0.3, -0.6])).mean())
    assert table.filter(pl.col("n_users") != 20).is_empty()
    assert table.filter(pl.col("n_sets") != 60).is_empty()
    assert table.columns == ["normalisation", "group", "mean", "se", "rank", "worst", "n_users", "n_sets", "n_flat"]


def test_sensitivity_averages_prompts_within_users_then_users():
    rng = np.random.default_rng(0)
    user = np.repeat([0, 0, 0, 1, 2, 2], 3)
    prompt = np.repeat([0, 1, 2, 0, 0, 1], 3)
    group = np.where(user == 0, "x", "y")
    reward, served = rng.normal(size=18), rng.random(18)
    weights = np.array([2, 1, 3])[user]
    table = sensitivity(reward, user, prompt, served, group, weights=weights, names=["min_max"])
    u = min_max(reward, user, prompt).value.reshape(6, 3)
    s = served.reshape(6, 3)
    of_set = (u * s).sum(axis=1) / s.sum(axis=1)
    mine = [of_set[:3].mean(), of_set[3], of_set[4:].mean()]
    assert table["mean"].to_list() == pytest.approx([mine[0], (mine[1] + 3 * mine[2]) / 4])
    crowd = np.array([mine[1]] + 3 * [mine[2]])
    assert table["se"].to_list() == pytest.approx([0, crowd.std(ddof=1) / 2])
    assert table["n_users"].to_list() == [1, 2]
    assert table["n_sets"].to_list() == [3, 3]
    # relabelled, reordered and shifted, the table is the same
    order = rng.permutation(18)
    again = sensitivity(
        reward[order] + 3, 7 - user[order], prompt[order], 5 * served[order], group[order], weights=weights[order],
        names=["min_max"],
    )  # fmt: skip
    np.testing.assert_allclose(again["mean"], table["mean"], atol=1e-12)


def test_undefined_sets_are_left_out_and_counted():
    reward = np.array([0.0, 1, 5, 2, 2])
    rows = (reward, np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 0]), np.array([0, 1, 1, 1, 0]))
    table = sensitivity(*rows, ["a", "a", "a", "b", "b"])
    by = {(row["normalisation"], row["group"]): row for row in table.iter_rows(named=True)}
    assert by["percentile", "a"]["mean"] == 1  # the prompt with one candidate says nothing
    assert by["percentile", "a"]["n_sets"] == 1
    assert by["percentile", "a"]["n_flat"] == 1
    assert by["min_max", "a"]["mean"] == pytest.approx(0.75)
    assert by["min_max", "a"]["n_flat"] == 2
    lost = by["normalised_regret", "b"]
    assert np.isnan(lost["mean"])
    assert (lost["rank"], lost["worst"], lost["n_users"]) == (None, False, 0)
    ties = sensitivity([0.0, 1, 0, 1], [0, 0, 1, 1], [0] * 4, [0, 1, 0, 1], ["a", "a", "b", "b"], names=["min_max"])
    assert ties["rank"].to_list() == [1, 1]


def test_standard_error_is_the_spread_of_repeated_samples():
    rng = np.random.default_rng(0)
    means, errors = [], []
    for _ in range(300):
        reward = rng.normal(size=(40, 6)) * rng.lognormal(0, 0.5, (40, 1))
        rows = (reward.ravel(), np.repeat(np.arange(40), 6), np.tile([0, 0, 0, 1, 1, 1], 40))
        table = sensitivity(*rows, np.tile([1, 0, 0], 80), ["all"] * 240, names=["win_probability"])
        means.append(table["mean"][0])
        errors.append(table["se"][0])
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.15)


def test_a_large_table_takes_moments():
    rng = np.random.default_rng(0)
    user, prompt = np.repeat(np.arange(2000), 64), np.tile(np.repeat(np.arange(8), 8), 2000)
    reward, start = rng.normal(size=len(user)), time.perf_counter()
    sensitivity(reward, user, prompt, np.tile(np.arange(8) == 0, 16_000), user % 5)
    assert time.perf_counter() - start < 10
