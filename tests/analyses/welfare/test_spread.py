"""Statistics of spread under counts against the plain functions on people written out, and their noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurality.analyses.inference.bootstrap import resample_counts
from plurality.analyses.welfare.inequality import cvar
from plurality.analyses.welfare.spread import SHARE, spread_draws, spread_noise
from plurality.analyses.welfare.welfare import gini, gini_noise


def written_out(people):
    """The four statistics of people, one row each."""
    low = np.quantile(people, SHARE, method="inverted_cdf")
    atkinson = 1 - np.sqrt(people).mean() ** 2 / people.mean()
    return [gini(people), low, cvar(people, SHARE), atkinson]


@given(st.lists(st.integers(1, 20), min_size=3, max_size=12), st.integers(0, 10_000))
def test_counts_are_people_written_out(values, seed):
    x = np.sort(np.array(values) / 20)
    counts = resample_counts(len(x), 5, seed)
    expected = [written_out(np.repeat(x, row.astype(int))) for row in counts]
    np.testing.assert_allclose(spread_draws(x, counts), expected, atol=2e-6)  # counts are in single precision


def test_nobody_drawn_and_nothing_to_share_are_undefined():
    x = np.array([0.0, 0.0, 0.0])
    gini_, low, worst, atkinson = spread_draws(x, np.ones((1, 3), np.float32))[0]
    assert (low, worst) == (0, 0)
    assert np.isnan([gini_, atkinson]).all()


@pytest.mark.parametrize("users", [2, 5, 7, 250])
def test_noise_is_that_of_binomial_people(users):
    """Every draw by the plain functions; the Gini is also that of its own function, which draws the same."""
    n = np.random.default_rng(0).integers(2, 30, users)
    noise = spread_noise(n, 0.7, draws=50, seed=1)
    np.testing.assert_allclose(noise[:, 0], gini_noise(n, 0.7, draws=50, seed=1), atol=1e-12)
    rng = np.random.default_rng(1)
    drawn = np.sort(rng.binomial(n, 0.7, size=(50, users)) / n, axis=1)
    np.testing.assert_allclose(noise, [written_out(x) for x in drawn], atol=1e-12)


def test_noise_of_one_person_is_undefined():
    assert np.isnan(spread_noise([5], 0.7, draws=3)).all()
