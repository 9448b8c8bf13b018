"""Planted populations: what is drawn follows the truth that is told."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chisquare

from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.models import BradleyTerry

MAKERS = {
    "pal": planted.pal,
    "low_rank": planted.low_rank,
    "taste_groups": planted.taste_groups,
    "careless": planted.careless,
    "objectives": planted.objectives,
}


@pytest.mark.parametrize("maker", MAKERS)
def test_shapes_and_names(maker):
    seen, new = MAKERS[maker](30, width=12, seed=0, unseen=7)
    assert (len(seen), len(new)) == (30, 7)
    sample = seen.sample(5, seed=1)
    data = sample.data
    assert data.items.shape == (300, 12)
    assert data.items.dtype == np.float32
    assert len(data) == len(sample.gap) == len(sample.p) == 150
    np.testing.assert_array_equal(np.bincount(data.user), np.full(30, 5))
    assert data.users["user_id"][0] == "user-0"
    assert new.users["user_id"][6] == "new-6"
    assert len(np.unique(data.item_keys)) == 300
    assert set(np.unique(data.label)) == {0.0, 1.0}


@pytest.mark.parametrize("maker", MAKERS)
def test_labels_are_as_frequent_as_told(maker):
    """30,000 labels: calibrated by tenths of p, and the truth predicts a share E max(p, 1−p) of them."""
    seen, _ = MAKERS[maker](100, width=12, seed=2)
    sample = seen.sample(300, seed=3)
    tenth = np.minimum((sample.p * 10).astype(int), 9)
    count = np.bincount(tenth, minlength=10)
    used = count > 50
    ones = np.bincount(tenth, sample.data.label, minlength=10)[used]
    expected = np.bincount(tenth, sample.p, minlength=10)[used]
    z = (ones - expected) / np.sqrt(np.bincount(tenth, sample.p * (1 - sample.p), minlength=10)[used])
    assert np.abs(z).max() < 4
    assert sample.accuracy() == pytest.approx(np.where(sample.gap > 0, sample.p, 1 - sample.p).mean(), abs=0.01)


@pytest.mark.parametrize("maker", MAKERS)
def test_sides_carry_no_information(maker):
    seen, _ = MAKERS[maker](100, width=12, seed=4)
    data = seen.sample(100, seed=5).data
    assert data.label.mean() == pytest.approx(0.5, abs=0.03)  # standard error .005 and a little for users


@pytest.mark.parametrize("maker", MAKERS)
def test_seeds_decide_all(maker):
    draws = [MAKERS[maker](20, width=12, seed=s)[0].sample(5, seed=t) for s, t in ((1, 1), (1, 1), (2, 1), (1, 2))]
    np.testing.assert_array_equal(draws[0].gap, draws[1].gap)
    np.testing.assert_array_equal(draws[0].data.label, draws[1].data.label)
    assert not np.array_equal(draws[0].gap, draws[2].gap)
    assert not np.array_equal(draws[0].data.items, draws[3].data.items)
    assert np.intersect1d(draws[0].data.item_keys, draws[3].data.item_keys).size == 0


def test_a_pool_of_items_recurs():
    seen, _ = planted.low_rank(20, width=8, seed=0)
    data = seen.sample(50, seed=1, items=30).data
    assert len(data.items) == 30
    assert (data.first != data.second).all()
    assert chisquare(np.bincount(np.r_[data.first, data.second], minlength=30)).pvalue > 1e-3
    with pytest.raises(InputError, match="a pool of 1 items has no pairs"):
        seen.sample(5, seed=0, items=1)


def test_ideal_points_by_their_formula():
    seen, new = planted.pal(40, prototypes=3, width=10, preference=2, norm=4.0, noise=0.35, seed=6)
    np.testing.assert_array_equal(seen.theta.sum(1), 1)
    np.testing.assert_array_equal(seen.theta.argmax(1), seen.group)
    x = np.random.default_rng(0).normal(size=(2000, 10))
    u = [seen.utility(x, np.tile(np.eye(3)[k], (2000, 1))) for k in range(3)]
    assert max(u[0]) <= 0  # at most at the ideal point itself
    difference, design = u[0] - u[1], np.c_[np.ones(2000), x]
    fitted = design @ np.linalg.lstsq(design, difference, rcond=None)[0]
    np.testing.assert_allclose(fitted, difference, atol=1e-9)  # ‖f(x)‖² is everybody's, so users differ linearly
    soft, _ = planted.pal(40, weights="dirichlet", seed=6)
    np.testing.assert_allclose(soft.theta.sum(1), 1)
    assert soft.theta.max(1).mean() < 0.95
    assert new.utility is seen.utility
    with pytest.raises(InputError, match="weights 'soft' are unknown"):
        planted.pal(10, weights="soft")


def test_tastes_lie_in_the_planted_rank():
    seen, _ = planted.low_rank(200, rank=3, width=20, scale=3.0, seed=7)
    x = np.eye(20)
    utility = np.stack([seen.utility(x, np.tile(theta, (20, 1))) for theta in seen.theta])
    singular = np.linalg.svd(utility, compute_uv=False)
    assert singular[2] > 1
    assert singular[3] < 1e-9
    assert np.square(utility).sum(1).mean() == pytest.approx(9, rel=0.15)  # E‖θ‖² = scale²


def test_a_minority_of_opposed_taste():
    seen, _ = planted.taste_groups(110, width=16, scale=2.0, seed=8)
    np.testing.assert_array_equal(np.bincount(seen.group), [100, 10])
    direction = np.stack([seen.theta[seen.group == g][0] for g in (0, 1)])
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1)
    assert direction[0] @ direction[1] < -0.5
    sample = seen.sample(200, seed=9)
    assert np.std(sample.gap) == pytest.approx(2.0 * np.sqrt(2), rel=0.02)  # x₁ − x₂ has variance 2 a dimension


def test_careless_users_are_told_apart_by_their_flips():
    seen, _ = planted.careless(60, flips=(0.0, 0.25, 0.5), width=6, scale=2.0, seed=10)
    sample = seen.sample(400, seed=11)
    right = (sample.gap > 0) == (sample.data.label > 0.5)
    clean = np.where(sample.gap > 0, expit(sample.gap), expit(-sample.gap))
    for level, flip in enumerate((0.0, 0.25, 0.5)):
        rows = seen.group[sample.data.user] == level
        expected = (1 - flip) * clean[rows] + flip * (1 - clean[rows])
        assert right[rows].mean() == pytest.approx(expected.mean(), abs=0.02)  # 8,000 labels


def test_objectives_are_weighed():
    seen, _ = planted.objectives(50, n_objectives=3, width=9, scale=3.0, seed=12)
    np.testing.assert_allclose(seen.theta.sum(1), 1)
    x = np.random.default_rng(1).normal(size=(100, 9))
    parts = np.stack([seen.utility(x, np.tile(np.eye(3)[j], (100, 1))) for j in range(3)], 1)
    np.testing.assert_allclose(seen.utility(x, np.tile(seen.theta[4], (100, 1))), parts @ seen.theta[4], rtol=1e-10)


def test_somebody_must_be_there():
    with pytest.raises(InputError, match="at least one user of each kind"):
        planted.low_rank(0, width=6)


def test_told_the_truth_a_model_is_as_good_as_the_truth():
    """Enough data for one taste: the fitted reward predicts as the true utility does."""
    seen, _ = planted.taste_groups(50, shares=(1.0,), width=6, seed=13)
    train, test = seen.sample(200, seed=14).data, seen.sample(100, seed=15)
    p = BradleyTerry(decay=1.0).fit(train).prefer(test.data)
    assert np.mean((p > 0.5) == (test.data.label > 0.5)) == pytest.approx(test.accuracy(), abs=0.01)
