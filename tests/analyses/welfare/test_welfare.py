"""Welfare against brute force, identities, and planted truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plurality.analyses.welfare.inequality import cvar
from plurality.analyses.welfare.welfare import (
    gini,
    gini_noise_floor,
    gini_shrunk,
    lorenz,
    lorenz_noise,
    posterior_draws,
    shrink,
    worst_group,
)
from plurality.errors import InputError


def brute_gini(x, corrected):
    x = np.asarray(x, float)
    n = len(x)
    return np.abs(x[:, None] - x).sum() / (2 * (n * (n - 1) if corrected else n * n) * x.mean())


utilities = st.integers(2, 15).flatmap(
    lambda n: st.tuples(
        arrays(float, n, elements=st.floats(0, 1).map(lambda v: round(v, 3))),
        arrays(int, n, elements=st.integers(1, 4)),
    )
)


@settings(max_examples=60, deadline=None)
@given(utilities)
def test_gini_is_the_mean_absolute_difference_and_a_weight_is_as_many_people(data):
    x, times = data
    people = np.repeat(x, times)
    for corrected in (True, False):
        if people.mean() > 0:
            expected = pytest.approx(brute_gini(people, corrected), abs=1e-12)
            assert gini(people, corrected=corrected) == expected
            assert gini(x, times, corrected) == expected


def test_gini_known_values():
    assert gini([1, 1, 1]) == 0
    assert gini([0, 0, 0, 1], corrected=False) == pytest.approx(0.75)
    assert gini([0, 0, 0, 1]) == pytest.approx(1.0)
    uniform = np.linspace(0, 1, 2001)
    assert gini(uniform) == pytest.approx(1 / 3, abs=1e-3)
    assert gini(0.8 + 0.2 * uniform) < gini(0.2 - 0.2 * uniform)  # polarity matters


def test_gini_edges():
    assert np.isnan(gini([]))
    assert np.isnan(gini([0.5]))
    assert np.isnan(gini([0.0, 0.0]))
    with pytest.raises(InputError, match=r"-0\.1 is negative"):
        gini([-0.1, 0.5])
    with pytest.raises(InputError, match="utility: row 1 is nan"):
        gini([0.1, np.nan])


@pytest.mark.parametrize(("items", "expected"), [(4, 0.176), (6, 0.146), (20, 0.082), (100, 0.037)])
def test_noise_floor_of_equal_people(items, expected):
    # 1000 people who all have the true win rate .7: a Monte-Carlo fact at 1e-3
    assert gini_noise_floor(np.full(1000, items), 0.7) == pytest.approx(expected, abs=0.002)


def test_noise_floor_is_the_gini_of_such_people():
    n = np.random.default_rng(0).integers(1, 30, 200)
    drawn = [gini(np.random.default_rng(k).binomial(n, 0.6) / n) for k in range(200)]
    error = np.std(drawn) / np.sqrt(200)
    assert gini_noise_floor(n, 0.6, draws=1000) == pytest.approx(np.mean(drawn), abs=5 * error)
    assert np.isnan(gini_noise_floor([5], 0.6))
    assert np.isnan(gini_noise_floor([5, 5], 0.0))


def test_shrunk_gini_finds_the_truth_behind_few_items():
    rng = np.random.default_rng(0)
    true = rng.beta(7 * 1.6, 3 * 1.6, 4000)
    k = rng.binomial(6, true) / 6
    noise = k * (1 - k) / 5
    assert gini(k) > 1.6 * gini(true)
    # the plug-in is 70 % too high; the shape of six-item shares leaves some error after shrinking
    assert gini_shrunk(k, noise) == pytest.approx(gini(true), rel=0.15)
    equal = rng.binomial(6, 0.7, 4000) / 6
    assert gini_shrunk(equal, equal * (1 - equal) / 5) < 0.03
    assert np.isnan(gini_shrunk([0.5, 0.7], [np.nan, np.nan]))


def test_lorenz_curve_holds_the_gini_and_the_worst_share():
    x = np.random.default_rng(0).random(50)
    people, utility = lorenz(x)
    assert gini(x, corrected=False) == pytest.approx(1 - 2 * np.trapezoid(utility, people), abs=1e-12)
    for share in (0.1, 0.33, 0.8):  # share · CVaR = mean · Lorenz
        held = np.interp(share, people, utility)
        assert share * cvar(x, share) == pytest.approx(x.mean() * held, abs=1e-12)
    assert np.isnan(lorenz([0.0, 0.0])[1][-1])


def test_lorenz_of_equal_people_has_the_gini_of_the_floor():
    n, shares = np.full(40, 10), np.arange(41) / 40
    curves = lorenz_noise(n, 0.7, shares, draws=50, seed=3)
    ginis = 1 - 2 * np.trapezoid(curves, shares, axis=1)
    assert ginis.mean() == pytest.approx(gini_noise_floor(n, 0.7, draws=50, seed=3, corrected=False), abs=1e-12)


def test_shrinkage_recovers_the_spread_and_its_moment_equation_holds():
    rng = np.random.default_rng(0)
    se = rng.uniform(0.02, 0.08, 300)
    true = rng.normal(0.6, 0.05, 300)
    x = true + se * rng.standard_normal(300)
    result = shrink(x, se)
    assert result.tau == pytest.approx(0.05, rel=0.15)
    assert result.mean == pytest.approx(0.6, abs=0.01)
    moments = ((x - result.mean) ** 2 / (se**2 + result.tau**2)).sum()
    assert moments == pytest.approx(299, rel=1e-6)
    assert ((result.value - true) ** 2).mean() < 0.7 * ((x - true) ** 2).mean()


def test_shrinkage_edges():
    assert shrink([0.5, 0.5, 0.5], [0.1, 0.1, 0.1]).tau == 0
    alone = shrink([0.5, np.nan], [0.1, 0.1])
    assert alone.value[0] == 0.5
    assert np.isnan(alone.value[1])
    assert np.isfinite(shrink([0.2, 0.8, 0.5], [0.0, 0.0, 0.0]).value).all()
    assert np.isfinite(shrink([0.2, 0.8, 0.5], [0.0, 0.1, 0.1]).value).all()


def test_interval_of_the_worst_group_covers_where_the_naive_upper_end_does_not():
    groups, se, trials = 12, 0.03, 400
    rng = np.random.default_rng(0)
    hits = np.zeros(3)
    for _ in range(trials):
        x = 0.6 + se * rng.standard_normal(groups)  # all equal: the worst true value is .6
        bad = worst_group(x, np.full(groups, se), draws=10)
        hits += [bad.lo <= 0.6 <= bad.hi, bad.hi >= 0.6, x.min() + 1.96 * se >= 0.6]
    covered, upper, naive = hits / trials
    assert covered >= 0.93
    assert upper >= 0.955
    assert naive < 0.82


def test_plug_in_is_too_low_and_shrinkage_less_so_when_all_are_equal():
    rng = np.random.default_rng(1)
    found = [worst_group(0.6 + 0.03 * rng.standard_normal(12), np.full(12, 0.03), draws=10) for _ in range(200)]
    plug_in, shrunk = np.mean([f.plug_in for f in found]), np.mean([f.shrunk for f in found])
    assert plug_in == pytest.approx(0.6 - 1.63 * 0.03, abs=0.005)  # the mean minimum of 12 normals
    assert plug_in < shrunk - 0.02
    assert shrunk < 0.605


def test_worst_is_the_highest_where_lower_is_better():
    low = worst_group([0.5, 0.7, 0.6], [0.01] * 3)
    high = worst_group([-0.5, -0.7, -0.6], [0.01] * 3, higher_is_better=False)
    assert (low.index, high.index) == (0, 0)
    assert (high.lo, high.hi) == pytest.approx((-low.hi, -low.lo))
    assert high.plug_in == -low.plug_in
    assert high.shrunk == pytest.approx(-low.shrunk)


def test_few_users_widen_the_interval_of_the_worst():
    normal, small = (worst_group([0.5, 0.7], [0.05, 0.05], n_users=n) for n in (None, [5, 5]))
    assert small.lo < normal.lo
    assert small.hi > normal.hi


def test_probability_of_being_worst():
    clear = worst_group([0.3, 0.7, 0.72], [0.01] * 3)
    assert clear.probability[0] > 0.99
    even = worst_group([0.6, 0.6, 0.6, 0.6], [0.05] * 4, draws=20_000)
    np.testing.assert_allclose(even.probability, 0.25, atol=0.02)
    known = worst_group([np.nan, 0.6, 0.7], [0.05, 0.05, 0.05])
    assert known.index == 1
    assert known.probability[0] == 0
    assert worst_group([np.nan], [0.1]).index == -1


def test_posterior_draws_match_the_exact_posterior_of_two_equal_groups():
    # by symmetry the mean of each group's posterior is that of the other mirrored about the centre
    drawn = posterior_draws(np.array([0.5, 0.7]), np.array([0.05, 0.05]), 40_000, seed=0)
    centre = drawn.mean(axis=1)
    assert centre.mean() == pytest.approx(0.6, abs=0.002)
    assert (drawn[:, 0] + drawn[:, 1]).mean() == pytest.approx(1.2, abs=0.004)
    assert 0.5 < drawn[:, 0].mean() < 0.56  # shrunk, but not to one value
    # a well-known set (Rubin's eight schools, Gelman et al. 2013, table 5.3): school A near 10 ± 8 of 28 ± 15
    x = np.array([28, 8, -3, 7, -1, 1, 18, 12.0])
    se = np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
    schools = posterior_draws(x, se, 40_000, seed=0)
    assert schools[:, 0].mean() == pytest.approx(10.5, abs=1.5)
    assert schools[:, 0].std() == pytest.approx(8, abs=1.5)
    assert schools[:, 2].mean() == pytest.approx(6.5, abs=1.5)
