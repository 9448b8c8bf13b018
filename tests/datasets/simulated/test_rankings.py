"""Planted rankings: each is an order, and one pair by itself is Bradley–Terry's."""

import numpy as np
import pytest

from plurality.datasets.simulated import populations as planted
from plurality.datasets.simulated.rankings import rankings
from plurality.errors import InputError

PEOPLE, _ = planted.taste_groups(400, shares=(1.0,), width=6, scale=1.0, seed=0)


def test_all_pairs_of_a_ranking_agree_with_an_order():
    """Of n items in an order, the wins are n − 1, n − 2, … 0, each once."""
    data = rankings(PEOPLE, items=5, seed=1).data
    assert len(data) == 400 * 10
    winner = np.where(data.label > 0.5, data.first, data.second)
    wins = np.zeros((400, 5), dtype=int)
    np.add.at(wins, (data.user, winner), 1)
    np.testing.assert_array_equal(np.sort(wins, axis=1), np.tile(np.arange(5), (400, 1)))


def test_labels_are_as_frequent_as_told():
    """One pair a user, so that labels are independent: 2,000 of them, calibrated by tenths of p within 4 errors."""
    labels, truths = [], []
    for seed in range(5):
        sample = rankings(PEOPLE, items=2, pool=40, seed=seed)
        labels.append(sample.data.label)
        truths.append(sample.p)
    label, p = np.concatenate(labels), np.concatenate(truths)
    tenth = np.minimum((p * 10).astype(int), 9)
    error = np.sqrt(np.bincount(tenth, p * (1 - p), minlength=10))
    assert np.abs((np.bincount(tenth, label - p, minlength=10)) / error).max() < 4


def test_pools_and_shares():
    data = rankings(PEOPLE, items=4, pool=30, share=0.5, seed=2).data
    assert len(np.unique(data.first)) > 25
    assert len(data) == pytest.approx(400 * 6 / 2, abs=4 * np.sqrt(400 * 6 / 4))
    assert max(len(np.unique(np.r_[data.first[data.user == u], data.second[data.user == u]])) for u in range(9)) <= 4
    assert (data.first != data.second).all()


@pytest.mark.parametrize(("items", "pool"), [(1, 3), (5, 4)])
def test_a_ranking_needs_items(items, pool):
    with pytest.raises(InputError, match="items to rank"):
        rankings(PEOPLE, items=items, pool=pool)
