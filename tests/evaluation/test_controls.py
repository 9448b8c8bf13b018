"""Controls give away what they should and nothing else."""

import numpy as np
import pytest

from plurality.datasets.simulated import populations as planted
from plurality.evaluation import controls
from plurality.models import PAL


@pytest.fixture(scope="module")
def data():
    seen, _ = planted.pal(20, prototypes=2, width=6, preference=2, norm=5.0, seed=1)
    return seen.sample(15, seed=1).data


@pytest.fixture(scope="module")
def model(data):
    return PAL(n_prototypes=2, preference=3, decay=3.0).fit(data)


def test_the_populations_beliefs_are_what_an_unseen_user_gets(data, model):
    beliefs = controls.population_beliefs(model, data)
    unseen = data.with_users([f"unseen {i}" for i in range(20)])
    np.testing.assert_array_equal(model.log_odds(data, beliefs=beliefs), model.log_odds(unseen, unknown="population"))


@pytest.mark.parametrize("rows", ["all", "some users"])
def test_every_present_user_gets_another_users_code(data, model, rows):
    part = data if rows == "all" else data.of_users([f"user-{i}" for i in range(3, 20, 4)])
    beliefs = controls.another_users_beliefs(model, part, seed=5)
    codes = beliefs.codes
    assert codes.shape == (20, 2)
    own = model.codes(data.users["user_id"].to_list())
    present = part.present
    assert not (codes[present] == own[present]).all(1).any()
    given, taken = (np.sort(c.numpy()[present], axis=0) for c in (codes, own))
    np.testing.assert_array_equal(given, taken)  # each code goes to one other user
    absent = np.setdiff1d(np.arange(20), present)
    np.testing.assert_array_equal(codes[absent], model.prior.mean.expand(len(absent), -1))


def test_the_exchange_is_the_seeds_alone(data, model):
    again = [controls.another_users_beliefs(model, data, seed=s).codes for s in (1, 1, 2)]
    assert (again[0] == again[1]).all()
    assert not (again[0] == again[2]).all()
    moved = data.take(np.random.default_rng(0).permutation(len(data)))
    assert (controls.another_users_beliefs(model, moved, seed=1).codes == again[0]).all()


def test_shuffled_users_keep_their_number_of_comparisons_and_lose_their_labels(data):
    shuffled = controls.shuffled_users(data, seed=3)
    np.testing.assert_array_equal(np.bincount(shuffled.user), np.bincount(data.user))
    for column in ("first", "second", "label", "weight", "group"):
        assert vars(shuffled)[column] is vars(data)[column]
    assert np.mean(shuffled.user == data.user) < 0.15  # 1 in 20 by chance, 300 rows
    np.testing.assert_array_equal(controls.shuffled_users(data, seed=3).user, shuffled.user)
    assert (controls.shuffled_users(data, seed=4).user != shuffled.user).any()


def test_another_users_code_is_worse_than_ones_own(data, model):
    own, other = model.prefer(data), model.prefer(data, beliefs=controls.another_users_beliefs(model, data, seed=0))
    right = data.label > 0.5
    assert np.mean((own > 0.5) == right) > np.mean((other > 0.5) == right) + 0.05
