"""Labels for the shared reward: the batch that leaves its weights least uncertain, and what it is worth."""

from itertools import combinations

import numpy as np
import pytest

import plurality as pl8
from plurality.datasets.simulated.populations import taste_groups
from plurality.elicitation import greedy_log_det, next_labels
from plurality.errors import InputError


@pytest.fixture(scope="module")
def world():
    population, _ = taste_groups(n_users=20, shares=(1.0,), width=6, seed=0)
    pool, known = population.sample(20, seed=1).data, population.sample(3, seed=2).data
    return pool, known, pl8.BradleyTerry(decay=5.0).fit(known)


def log_det(x, weight, rows, covariance):
    part = x[list(rows)]
    return np.linalg.slogdet(np.linalg.inv(covariance) + (part * weight[list(rows)][:, None]).T @ part)[1]


def test_gains_are_falls_in_entropy_and_the_first_is_the_best():
    rng = np.random.default_rng(0)
    x, weight, covariance = rng.normal(size=(12, 4)), rng.uniform(0.1, 0.25, 12), np.diag([1.0, 2.0, 0.5, 3.0])
    found = greedy_log_det(x, weight, covariance, 3)
    before = log_det(x, weight, [], covariance)
    for k in range(1, 4):
        after = log_det(x, weight, found.rows[:k], covariance)
        assert found.gain[:k].sum() == pytest.approx((after - before) / 2)
    assert found.rows[0] == max(range(12), key=lambda row: log_det(x, weight, [row], covariance))
    best = max(log_det(x, weight, rows, covariance) for rows in combinations(range(12), 3))
    assert found.gain.sum() >= (1 - 1 / np.e) * (best - before) / 2  # greedy on a submodular function
    assert len(set(found.rows.tolist())) == 3


def test_chosen_labels_teach_the_shared_reward_more_than_others(world):
    pool, known, model = world
    truth = taste_groups(n_users=20, shares=(1.0,), width=6, seed=0)[0].sample(50, seed=9).data
    # the pool is made redundant: most pairs lie along one direction, and few tell of the rest
    items = pool.items.copy()
    dull = np.random.default_rng(3).random(len(items)) < 0.9
    items[dull, 1:] *= 0.05
    pool = pl8.Comparisons(**{**vars(pool), "items": items})
    bought = next_labels(model, pool, known, n=40, decay=5.0)
    chance = np.random.default_rng(4).choice(len(pool), 40, replace=False)

    def right(rows):
        with_known = pl8.concat([known, pool.take(rows)], objectives=["known", "bought"], same_users=True)
        fitted = pl8.BradleyTerry(decay=5.0).fit(with_known)
        return float(((fitted.log_odds(truth, unknown="population") > 0) == (truth.label > 0.5)).mean())

    assert right(bought.rows) > right(chance) - 0.005
    assert not dull[pool.first[bought.rows]].all()
    assert (np.diff(bought.gain) < 1e-12).all()


def test_a_policy_s_own_pairs_count_for_more(world):
    pool, known, model = world
    log_policy = np.full((len(pool), 2), -10.0)
    log_policy[:7] = -1.0
    assert set(next_labels(model, pool, known, n=5, log_policy=log_policy).rows.tolist()) <= set(range(7))
    with pytest.raises(InputError, match="a side a column"):
        next_labels(model, pool, known, log_policy=np.zeros(3))


def test_any_family_and_bad_input(world):
    pool, known, model = world
    own = pl8.LowRank(rank=1, decay=5.0).fit(known)
    assert len(next_labels(own, pool, known.take(np.zeros(0, dtype=int)), n=2).rows) == 2
    with pytest.raises(InputError, match="cannot be chosen from"):
        next_labels(model, pool, known, n=len(pool) + 1)
    with pytest.raises(InputError, match="decay 0 is not positive"):
        next_labels(model, pool, known, decay=0)
