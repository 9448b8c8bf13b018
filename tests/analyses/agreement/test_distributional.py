"""The share of a distributional reward's variance between responses: the law of total variance, moments by hand."""

import numpy as np
import pytest

from plurality.analyses.agreement.distributional import categorical_moments, dpl_r2
from plurality.errors import InputError


def test_dpl_r2_splits_the_variance_of_a_mixture():
    rng = np.random.default_rng(0)
    mean, sd = rng.normal(0, 2, 50), rng.uniform(0.5, 2, 50)
    found = dpl_r2(mean, sd**2)
    assert found == pytest.approx(mean.var() / (mean.var() + (sd**2).mean()))
    # law of total variance: draws from all of the distributions
    draws = mean + sd * rng.normal(size=(20_000, 50))
    assert found == pytest.approx(mean.var() / draws.var(), rel=0.01)
    times = rng.integers(0, 4, 50)
    expected = dpl_r2(np.repeat(mean, times), np.repeat(sd**2, times))
    assert dpl_r2(mean, sd**2, times) == pytest.approx(expected, abs=1e-12)
    assert dpl_r2(3 - 2 * mean, 4 * sd**2) == pytest.approx(found)
    assert dpl_r2([1, 1], [1, 2]) == 0
    assert dpl_r2([0, 1], [0, 0]) == 1
    for empty in ((), (0.0, 0.0)):
        assert np.isnan(dpl_r2(empty, empty))
    assert np.isnan(dpl_r2([1, 2], [1, 1], [0, 0]))
    with pytest.raises(InputError, match="row 1"):
        dpl_r2([1, np.nan], [1, 1])
    with pytest.raises(InputError, match="row 0"):
        dpl_r2([1, 2], [-1, 1])
    for mean, variance in (([1, 2], [1]), (1.0, 1.0), ([[1, 2]], [[1, 2]])):
        with pytest.raises(InputError, match="give one of each a response"):
            dpl_r2(mean, variance)


def test_moments_of_categories():
    p = np.array([[1, 0, 0], [0.25, 0.5, 0.25], [2, 0, 2]])
    mean, variance = categorical_moments(p)
    np.testing.assert_allclose(mean, [0, 0.5, 0.5])
    np.testing.assert_allclose(variance, [0, 0.125, 0.25])
    mean, variance = categorical_moments(p, [1, 2, 3])
    np.testing.assert_allclose(mean, [1, 2, 2])
    np.testing.assert_allclose(variance, [0, 0.5, 1])
    # ten atoms from 0 to 1 where nothing else is said: the even distribution over them
    mean, variance = categorical_moments(np.ones((1, 10)))
    np.testing.assert_allclose([mean[0], variance[0]], [0.5, np.linspace(0, 1, 10).var()])
    for atoms in ([0, 1], [0, np.nan, 1]):
        with pytest.raises(InputError, match="atoms"):
            categorical_moments(p, atoms)
    assert np.isnan(categorical_moments([[0, 0, 0]])).all()
