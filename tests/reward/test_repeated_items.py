"""Comparisons that share an item: their weight by hand, as evidence of codes, and in the folder of a model."""

import json
from dataclasses import replace

import numpy as np
import pytest

from plurality.datasets.simulated import populations as planted
from plurality.datasets.simulated.rankings import rankings
from plurality.models import BradleyTerry, MaxMin
from plurality.reward.repeated_items import discounted, repeats
from plurality.reward.reward_model import load

PEOPLE, _ = planted.taste_groups(12, shares=(0.5, 0.5), width=4, seed=0)


@pytest.fixture(scope="module")
def data():
    return rankings(PEOPLE, items=5, seed=1).data


@pytest.fixture(scope="module")
def model(data):
    fitted = MaxMin(n_groups=2, decay=5.0).fit(PEOPLE.sample(30, seed=2).data)
    return replace(fitted, item_correlation=0.4)


def test_repeats_by_hand(data):
    """In a complete ranking of five each item is met four times; of two pairs that share one item, it is met twice."""
    np.testing.assert_array_equal(repeats(data), np.full(len(data), 3.0))
    mine = np.flatnonzero(data.user == 0)
    pair = next(i for i in mine[1:] if {data.first[i], data.second[i]} & {data.first[mine[0]], data.second[mine[0]]})
    two = data.take(np.array([mine[0], pair]))
    np.testing.assert_array_equal(repeats(two), [0.5, 0.5])
    np.testing.assert_allclose(discounted(two, 0.4).weight, 1 / 1.2)


def test_users_do_not_repeat_one_another(data):
    first = data.take(np.flatnonzero(np.diff(data.user, prepend=-1)))  # one comparison of each user
    assert not repeats(first).any()
    np.testing.assert_array_equal(discounted(first, 9.0).weight, first.weight)


def test_a_weight_is_the_row_repeated(data):
    half = data.take(np.arange(0, len(data), 2))
    thrice = half.take(np.repeat(np.arange(len(half)), 3))
    heavy = discounted(replace(half, weight=3 * half.weight), 0.4).weight
    np.testing.assert_allclose(discounted(thrice, 0.4).weight.reshape(-1, 3).sum(1), heavy, rtol=1e-14)


def test_no_correlation_is_no_change(data):
    assert discounted(data, 0.0) is data


def test_codes_are_inferred_from_what_comparisons_are_worth(model, data):
    """ρ .4 with three further comparisons of each item: as if each of them had weight 1 / 2.2."""
    new = model.adapt(data, replace=True)
    light = replace(model, item_correlation=0.0).adapt(replace(data, weight=data.weight / 2.2), replace=True)
    np.testing.assert_allclose(new.posterior.codes.numpy(), light.posterior.codes.numpy(), rtol=1e-12)
    assert new.n_comparisons.tolist() == [10] * 12


def test_it_is_saved_and_was_0_before_it_was_known(model, data, tmp_path):
    again = load(model.save_pretrained(tmp_path / "model"))
    assert again.item_correlation == 0.4
    np.testing.assert_array_equal(again.adapt(data).prefer(data), model.adapt(data).prefer(data))
    assert "share an item" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    config = tmp_path / "model" / "config.json"
    former = json.loads(config.read_text())
    del former["item_correlation"]
    config.write_text(json.dumps(former))
    assert load(tmp_path / "model", verify=False).item_correlation == 0


def test_models_without_codes_have_none(data):
    assert BradleyTerry(decay=5.0).fit(data).item_correlation == 0
