"""Sets of responses on which people disagree, against brute force and planted camps."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from plurality.datasets.simulated import low_rank as planted_rank
from plurality.elicitation import candidate_sets, negatively_correlated, negatively_correlated_set
from plurality.errors import InputError
from plurality.models import BradleyTerry
from plurality.models.low_rank import LowRank


def mean_correlation(utilities, rows):
    within = utilities - utilities.mean(1, keepdims=True)
    correlation = np.corrcoef(within.T)
    return np.mean([correlation[i, j] for i, j in combinations(rows, 2)])


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_best_of_all_sets(k):
    utilities = np.random.default_rng(0).normal(size=(40, 9)) @ np.random.default_rng(1).normal(size=(9, 9))
    found = negatively_correlated_set(utilities, k)
    every = [mean_correlation(utilities, rows) for rows in combinations(range(9), k)]
    assert len(set(found)) == k
    assert mean_correlation(utilities, found) == pytest.approx(min(every))
    assert min(every) >= -1 / (k - 1) - 1e-12


@pytest.mark.parametrize("k", [2, 4, 6])
@pytest.mark.parametrize("seed", range(5))
def test_exchange_is_near_the_best_of_all_sets(monkeypatch, k, seed):
    rng = np.random.default_rng(seed)
    utilities = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 12))
    exact = mean_correlation(utilities, negatively_correlated_set(utilities, k))
    monkeypatch.setattr(candidate_sets, "MOST_SETS", 0)
    found = mean_correlation(utilities, negatively_correlated_set(utilities, k))
    every = [mean_correlation(utilities, rows) for rows in combinations(range(12), k)]
    assert exact == pytest.approx(min(every))
    assert found <= np.quantile(every, 0.01)
    if k == 2:
        assert found == pytest.approx(exact)


def test_many_candidates_are_chosen_by_exchange():
    """Of 80 responses for four camps the four found please one camp each."""
    rng = np.random.default_rng(2)
    camp, aim = np.repeat(np.arange(4), 25), rng.integers(4, size=80)
    utilities = 2.0 * (camp[:, None] == aim) + 0.1 * rng.normal(size=(100, 80))
    found = negatively_correlated_set(utilities, 4)
    assert sorted(aim[found]) == [0, 1, 2, 3]


def test_a_shift_of_a_person_and_a_response_that_all_agree_on_say_nothing():
    rng = np.random.default_rng(3)
    utilities = rng.normal(size=(30, 7))
    found = negatively_correlated_set(utilities, 3)
    np.testing.assert_array_equal(negatively_correlated_set(utilities + 50 * rng.normal(size=(30, 1)), 3), found)
    within = utilities - utilities.mean(1, keepdims=True)
    agreed = np.column_stack([within, np.zeros(30)])
    np.testing.assert_array_equal(negatively_correlated_set(agreed, 3), found)


def test_a_weight_is_the_person_that_many_times():
    rng = np.random.default_rng(4)
    utilities, counts = rng.normal(size=(12, 8)), rng.integers(1, 6, 12)
    again = np.repeat(utilities, counts, 0)
    for k in (2, 4):
        weighted = negatively_correlated_set(utilities, k, counts.astype(float))
        np.testing.assert_array_equal(weighted, negatively_correlated_set(again, k))


def test_responses_chosen_by_a_model_of_planted_tastes_split_the_people():
    seen, _ = planted_rank.signed(80, rank=2, width=8, scale=3.0, seed=5)
    model = LowRank(rank=2).fit(seen.sample(40, seed=6).data)
    items = np.random.default_rng(7).normal(size=(10, 8)).astype(np.float32)
    truth = np.array([seen.utility(items, np.tile(w, (10, 1))) for w in seen.theta])
    found = negatively_correlated(model, items, 4)
    every = [mean_correlation(truth, rows) for rows in combinations(range(10), 4)]
    assert mean_correlation(truth, found) < np.quantile(every, 0.05)
    few = negatively_correlated(model, items, 4, users=model.user_ids[:30])
    assert len(few) == 4


def test_what_cannot_be_chosen():
    utilities = np.random.default_rng(8).normal(size=(5, 4))
    for k in (1, 5):
        with pytest.raises(InputError, match=f"{k} responses cannot be chosen from 4; give k of 2 to 4"):
            negatively_correlated_set(utilities, k)
    with pytest.raises(InputError, match="all users rank these responses alike"):
        negatively_correlated_set(np.tile(utilities[:1], (5, 1)), 2)
    seen, _ = planted_rank.signed(20, rank=2, width=8, seed=9)
    alike = BradleyTerry(decay=1.0).fit(seen.sample(5, seed=9).data)
    with pytest.raises(InputError, match="all users rank these responses alike"):
        negatively_correlated(replace(alike), np.eye(8, dtype=np.float32), 2)
