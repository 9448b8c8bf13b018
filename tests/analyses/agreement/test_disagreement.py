"""Disagreement and controversy by hand, and without bias in simulations."""

import numpy as np
import pytest

from plurality.analyses.agreement.item_disagreement import controversy, disagreement
from plurality.errors import InputError


def test_disagreement_by_hand_and_without_bias():
    found = disagreement([0, 5, 2, 1], [4, 10, 4, 1])
    np.testing.assert_allclose(found.margin, [0, 1, 1, 0])
    np.testing.assert_allclose(found.variance, [0, 1, 1, 0])
    np.testing.assert_allclose(found.unbiased, [0, 10 / 9, 4 / 3, np.nan])
    drawn = np.random.default_rng(0).binomial(4, 0.7, 40_000)
    unbiased = disagreement(drawn, np.full(40_000, 4)).unbiased
    assert unbiased.mean() == pytest.approx(4 * 0.7 * 0.3, abs=4 * unbiased.std() / 200)
    assert disagreement(drawn, np.full(40_000, 4)).variance.mean() < 0.66  # .84 · 3/4
    assert np.isnan(disagreement([0], [0]).margin).all()
    with pytest.raises(InputError, match=r"at \[1\]"):
        disagreement([0, 3], [1, 2])


def test_controversy_is_the_variance_of_groups_without_their_noise():
    first, n = np.array([[3.0, 8.0, 1.0]]), np.array([[10.0, 10.0, 4.0]])
    p = first / n
    expected = p.var(ddof=1) - (p * (1 - p) / (n - 1)).mean()
    assert controversy(first, n)[0] == pytest.approx(expected, abs=1e-14)
    # a group of one person, or without weight, is left out
    assert controversy([[3, 8, 1, 1]], [[10, 10, 4, 1]])[0] == pytest.approx(expected, abs=1e-14)
    assert controversy([[3, 8, 1, 9]], [[10, 10, 4, 9]], [1, 1, 1, 0])[0] == pytest.approx(expected, abs=1e-14)
    assert np.isnan(controversy([[3, 1]], [[10, 1]])[0])
    assert np.isnan(controversy([[3, 1]], [[10, 5]], [1, 0])[0])
    with pytest.raises(InputError, match="weights"):
        controversy([[1, 1]], [[2, 2]], [1])


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 5.0]])
def test_controversy_is_unbiased(weights):
    rng = np.random.default_rng(1)
    share, n = np.array([0.4, 0.6, 0.9]), np.tile([5, 12, 30], (30_000, 1))
    w = np.ones(3) / 3 if weights is None else np.array(weights) / np.sum(weights)
    truth = (w * (share - w @ share) ** 2).sum() / (1 - (w**2).sum())
    values = controversy(rng.binomial(n, share), n, weights)
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / np.sqrt(30_000))
    nothing = controversy(rng.binomial(n, 0.7), n, weights)
    assert nothing.mean() == pytest.approx(0, abs=4 * nothing.std() / np.sqrt(30_000))


def test_people_of_unequal_weight_are_paired_by_their_product():
    rng = np.random.default_rng(3)
    w, y = rng.uniform(0.1, 4, 9), (rng.random(9) < 0.4).astype(float)
    pairs = w[:, None] * w * (1 - np.eye(9))
    expected = 2 * (pairs * np.abs(y[:, None] - y)).sum() / pairs.sum()
    kish = w.sum() ** 2 / (w**2).sum()
    assert disagreement([w @ y], [w.sum()], effective=[kish]).unbiased[0] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(disagreement([2.0], [3.0], effective=[1.0]).unbiased[0])  # one person, whatever he weighs
    with pytest.raises(InputError, match="effective"):
        disagreement([1.0], [3.0], effective=[np.inf])


def test_controversy_of_weighted_people_is_unbiased():
    rng = np.random.default_rng(4)
    w, p = rng.uniform(0.2, 3, (6, 12)), np.linspace(0.2, 0.8, 6)
    y = rng.random((4000, 6, 12)) < p[:, None]
    kish = np.broadcast_to(w.sum(1) ** 2 / (w**2).sum(1), (4000, 6))
    found = controversy((y * w).sum(2), np.broadcast_to(w.sum(1), (4000, 6)), effective=kish)
    assert found.mean() == pytest.approx(p.var(ddof=1), abs=4 * found.std() / np.sqrt(4000))
