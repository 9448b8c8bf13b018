"""Settings are the same whatever the seed and whatever number an item has; that none were chosen is said."""

from dataclasses import replace

import numpy as np
import pytest

from plurality.data.keys import mix
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputWarning
from plurality.fitting import tuning
from plurality.fitting.objective import FitPlan
from plurality.fitting.tuning import FitOptions
from plurality.models import BradleyTerry, LowRank

ITEMS = 60


@pytest.fixture(scope="module")
def data():
    """400 comparisons of 60 items."""
    return planted.low_rank(20, rank=1, width=8, seed=0)[0].sample(20, seed=1, items=ITEMS).data


def renumbered(data, seed):
    """The same comparisons of the same items, which have other numbers."""
    order = np.random.default_rng(seed).permutation(len(data.items))
    place = np.argsort(order)
    return replace(
        data, items=data.items[order], item_keys=mix(np.arange(len(order))), prompt=data.prompt[order],
        first=place[data.first], second=place[data.second],
    )  # fmt: skip


@pytest.mark.parametrize("spec", [BradleyTerry(), LowRank()], ids=repr)
def test_probabilities_are_those_of_any_seed_and_numbering(data, spec):
    """Convex, or from one start: what is left is where optimisers stop, a thousandth of a probability at most."""
    other = renumbered(data, 0)
    found = [spec.fit(data, seed=0).prefer(data), spec.fit(other, seed=1).prefer(other)]
    assert np.ptp(found, axis=0).max() < 1e-3


def test_few_comparisons_are_split_until_enough_are_held_out(data):
    parts = tuning.inner_parts(data, FitPlan(), FitOptions())
    assert sum(len(outer) for _, outer in parts) >= tuning.SMALL_HELD_ROWS
    for inner, outer in parts:
        assert not set(inner.first) & set(outer.first) | set(inner.second) & set(outer.second)


def test_content_keys_tell_items_apart_whatever_their_units(data):
    keys = tuning.content_keys(data)
    used = np.unique(np.concatenate([data.first, data.second]))
    assert len(np.unique(keys[used])) == len(used)
    scaled = replace(data, items=data.items * np.float32([3, 1, 0.01, 1, 1, 1000, 1, 1]) + 5)
    np.testing.assert_array_equal(tuning.content_keys(scaled)[used], keys[used])


def test_a_default_is_said(data):
    with pytest.warns(
        InputWarning, match="planted: 25 comparisons are too few .* settings are not chosen but defaults"
    ):
        BradleyTerry().fit(data.take(np.arange(25)))


@pytest.mark.filterwarnings("error")
def test_of_a_given_setting_nothing_is_said(data):
    BradleyTerry(decay=3.0).fit(data.take(np.arange(25)))
