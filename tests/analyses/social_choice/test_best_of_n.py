"""Best of n against every subset of candidates, closed forms, and simulated populations."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plurality.analyses.social_choice.best_of_n_policies import (
    best_of_n,
    best_of_n_welfare,
    kl_bound,
    selection_probabilities,
)
from plurality.errors import InputError

EVERYBODY = "(all users)"


def every_subset(score, n):
    """Chance that each candidate is kept, counted over all subsets of n."""
    kept, subsets = np.zeros(len(score)), list(combinations(range(len(score)), n))
    for subset in subsets:
        best = [k for k in subset if score[k] == max(score[j] for j in subset)]
        kept[best] += 1 / len(best)
    return kept / len(subsets)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=7), min_size=1, max_size=3))
def test_probabilities_are_those_of_all_subsets_with_ties_and_fewer_candidates(ragged):
    scores = np.full((len(ragged), 7), np.nan)
    for row, given_scores in zip(scores, ragged, strict=True):
        row[: len(given_scores)] = given_scores
    found = selection_probabilities(scores, [1, 2, 3])
    assert found.shape == (3, len(ragged), 7)
    for row, given_scores in enumerate(ragged):
        for k, n in enumerate((1, 2, 3)):
            np.testing.assert_allclose(found[k, row, : len(given_scores)], every_subset(given_scores, n), atol=1e-12)
            assert (found[k, row, len(given_scores) :] == 0).all()
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-12)


def test_ends_and_order():
    rng = np.random.default_rng(0)
    score, u = rng.normal(size=(5, 30)), rng.normal(size=(5, 30))
    found = best_of_n(score, u, [1, 30])
    np.testing.assert_allclose(found[0], u.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(found[1], np.take_along_axis(u, score.argmax(axis=1)[:, None], 1)[:, 0], atol=1e-12)
    # its own utility never falls with n, and only the order of scores matters
    own = best_of_n(u, u, np.arange(1, 31))
    assert (np.diff(own, axis=0) >= -1e-12).all()
    np.testing.assert_allclose(best_of_n(np.exp(score), u, [7]), best_of_n(score, u, [7]), atol=1e-12)
    order = rng.permutation(30)
    np.testing.assert_allclose(best_of_n(score[:, order], u[:, order], [4, 9]), best_of_n(score, u, [4, 9]), atol=1e-12)
    np.testing.assert_allclose(best_of_n(np.zeros(30), u, [5])[0], u.mean(axis=1), atol=1e-12)  # all tied
    # the mean of the greatest of n of the numbers 1..K is n (K + 1) / (n + 1)
    ranks = np.arange(1.0, 1001)
    np.testing.assert_allclose(best_of_n(ranks, ranks, [2, 64, 999]), [n * 1001 / (n + 1) for n in (2, 64, 999)])


def test_samples_agree():
    rng = np.random.default_rng(1)
    score, u = rng.integers(0, 6, 20).astype(float), rng.normal(size=20)
    drawn = np.argsort(rng.random((40_000, 20)), axis=1)[:, :4]
    jitter = score + rng.random((40_000, 20)) * 0.5
    kept = np.take_along_axis(drawn, np.take_along_axis(jitter, drawn, 1).argmax(axis=1)[:, None], 1)[:, 0]
    error = u[kept].std() / 200
    assert best_of_n(score, u, [4])[0] == pytest.approx(u[kept].mean(), abs=4 * error)


def test_kl_bound_holds_and_is_reached_with_many_candidates():
    np.testing.assert_allclose(kl_bound([1, 2, 4]), [0, np.log(2) - 0.5, np.log(4) - 0.75])
    for size, slack in ((8, None), (4096, 2e-3)):
        for n in (2, 4, 8):
            p = selection_probabilities(np.arange(size, dtype=float), [n])[0]
            # drawing with replacement from the K candidates: F(k)ⁿ − F(k−1)ⁿ against 1/K
            with_return = np.diff((np.arange(size + 1) / size) ** n)
            divergence = (with_return * np.log(with_return * size)).sum()
            assert divergence <= kl_bound(n)[0]
            if slack:
                assert divergence == pytest.approx(kl_bound(n)[0], abs=slack)
                np.testing.assert_allclose(p, with_return, atol=5e-6)
    # among given candidates, without replacement, it is no bound
    four = selection_probabilities(np.arange(4.0), [4])[0]
    assert four.tolist() == [0, 0, 0, 1]
    assert np.log(4) > kl_bound(4)[0]


def town(users=60, prompts=5, k=8, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(prompts, k))
    groups = np.where(np.arange(users) % 3 == 0, "against", "with")
    sign = np.where(groups == "with", 1.0, -1.0)
    return common, sign[:, None, None] * common + 0.5 * rng.normal(size=(users, prompts, k)), groups


def test_welfare_by_group_is_the_mean_over_users():
    score, u, groups = town()
    table = best_of_n_welfare(score, u, groups, [1, 4], n_bootstrap=200)
    assert table.columns == ["n", "kl_bound", "group", "n_users", "mean", "lo", "hi"]
    assert table["group"].to_list() == [EVERYBODY, "against", "with"] * 2
    assert table["n_users"].to_list() == [60, 20, 40] * 2
    gained = best_of_n(score, u, [1, 4]).mean(axis=2)
    for k, n in enumerate((1, 4)):
        rows = table.filter(pl.col("n") == n)
        expected = [gained[k].mean(), gained[k][groups == "against"].mean(), gained[k][groups == "with"].mean()]
        np.testing.assert_allclose(rows["mean"], expected, atol=1e-12)
        np.testing.assert_allclose(rows["kl_bound"], kl_bound(n)[0])
    assert (table["lo"] <= table["mean"]).all()
    assert (table["mean"] <= table["hi"]).all()
    four = table.filter(pl.col("n") == 4)
    one = table.filter(pl.col("n") == 1)
    assert four["hi"][1] < one["lo"][1]  # the harder it selects, the worse for those against
    assert four["lo"][2] > one["hi"][2]


def test_personal_scores_unknown_prompts_and_weights():
    score, u, groups = town()
    personal = best_of_n_welfare(u, u, groups, [8], n_bootstrap=50)
    assert personal["mean"][0] == pytest.approx(u.max(axis=2).mean())
    u[0, 2] = np.nan
    u[1] = np.nan
    table = best_of_n_welfare(score, u, groups, [3], n_bootstrap=50)
    assert table["n_users"].to_list() == [59, 20, 39]
    gained = np.nanmean(best_of_n(score, u, [3])[0][np.arange(60) != 1], axis=1)
    assert table["mean"][0] == pytest.approx(gained.mean())
    own = best_of_n_welfare(np.where(np.isnan(u), np.nan, score), u, groups, [3], n_bootstrap=50)
    np.testing.assert_allclose(own["mean"], table["mean"], atol=1e-12)
    weights = np.random.default_rng(0).integers(0, 4, 60)
    weighted = best_of_n_welfare(score, u, groups, [3], weights=weights, n_bootstrap=50)
    repeated = best_of_n_welfare(score, np.repeat(u, weights, 0), np.repeat(groups, weights), [3], n_bootstrap=50)
    np.testing.assert_allclose(weighted["mean"], repeated["mean"], atol=1e-12)
    order = np.random.default_rng(1).permutation(60)
    shuffled = best_of_n_welfare(score, u[order], groups[order], [3], n_bootstrap=50)
    np.testing.assert_allclose(shuffled["mean"], table["mean"], atol=1e-12)


def test_interval_covers_the_population():
    rng = np.random.default_rng(3)
    score = rng.normal(size=(4, 6))
    true = best_of_n(score, score, [3])[0].mean()
    hits = np.zeros(2)
    trials = 300
    for k in range(trials):
        u = score + rng.normal(size=(25, 1, 1)) + rng.normal(size=(25, 4, 6))
        row = best_of_n_welfare(score, u, np.where(np.arange(25) < 10, "a", "b"), [3], n_bootstrap=400, seed=k)
        hits += row["lo"].is_between(-np.inf, true).to_numpy()[:2] & row["hi"].is_between(true, np.inf).to_numpy()[:2]
    np.testing.assert_allclose(hits / trials, 0.95, atol=3 * np.sqrt(0.05 * 0.95 / trials) + 0.01)


def test_edges():
    score, u, groups = town(users=3)
    lone = best_of_n_welfare(score, u[:1], ["only"], [2], n_bootstrap=20)
    assert lone["mean"].is_finite().all()
    assert lone["lo"].is_nan().all()
    nobody = best_of_n_welfare(score, u, groups, [2], weights=np.zeros(3), n_bootstrap=20)
    assert nobody["mean"].is_nan().all()
    assert nobody["n_users"].to_list() == [0, 0, 0]
    assert best_of_n_welfare(score, u[:0], [], [2])["mean"].is_nan().all()
    assert selection_probabilities(np.zeros((0, 4)), [2]).shape == (1, 0, 4)
    assert best_of_n(score, np.full(score.shape, np.nan), [2]).shape == (1, 5)
    assert np.isnan(best_of_n(score, np.full(score.shape, np.nan), [2])).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: selection_probabilities(np.zeros((2, 3)), [4]), "best of 4 of 3 candidates"),
        (lambda: selection_probabilities([[0, 1.0], [0, np.nan]], [2]), r"best of 2 of 1 candidates \(set 1\)"),
        (lambda: selection_probabilities([0.0, np.inf], [1]), "score: infinite"),
        (lambda: selection_probabilities(0.5, [1]), "score: infinite or a single number"),
        (lambda: best_of_n(np.zeros((2, 0)), np.zeros((2, 0)), [1]), r"best of 1 of 0 candidates \(set 0\)"),
        (lambda: kl_bound([0]), "n: "),
        (lambda: kl_bound([1.5]), "n: "),
        (lambda: best_of_n([0.0, 1.0], [0.0], [1]), "utility: shape"),
        (lambda: best_of_n_welfare(np.zeros((2, 3)), np.zeros((4, 2, 2)), ["a"] * 4, [1]), "utility: shapes"),
        (lambda: best_of_n_welfare(np.zeros((1, 2)), np.zeros((2, 1, 2)), ["a"], [1]), "groups: 1 labels"),
        (lambda: best_of_n_welfare(np.zeros((1, 2)), [[[0, np.nan]]], ["a"], [1]), "user 0 has some but not all"),
        (lambda: best_of_n_welfare(np.zeros((1, 2)), [[[0, 1]]], ["a"], [1], weights=[-1]), "weights: row 0 is -1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
