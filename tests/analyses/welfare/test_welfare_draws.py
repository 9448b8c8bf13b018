"""Statistics of many draws at once against draws written out one by one, and the coverage of their intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plurality.analyses.inference.bootstrap import interval, resample_counts
from plurality.analyses.welfare.welfare_draws import WelfareDraws, ascending
from plurality.errors import InputError

SHARES = (0.01, 0.2, 1 / 3, 0.5, 0.7, 1.0)
POWERS = (-np.inf, -400.0, -3.0, -1.0, 0.0, 0.5, 1.0, 2.0, 600.0, np.inf)
ALPHAS = (-1.0, 0.0, 0.5, 1.0, 2.0, 3.5)


def least(people, share):
    """Mean of the worst-off share, person by person."""
    left, total = share * len(people), 0.0
    for value in np.sort(people):
        total += min(max(left, 0.0), 1.0) * value
        left -= 1
    return total / (share * len(people))


def power(people, p):
    if np.isinf(p):
        return people.max() if p > 0 else people.min()
    if p == 0:
        return np.exp(np.log(people).mean())
    scale = people.max() if p > 0 else people.min()  # or the power overflows
    return scale * np.mean((people / scale) ** p) ** (1 / p)


def entropy(people, alpha):
    ratio = people / people.mean()
    if alpha == 0:
        return -np.log(ratio).mean()
    if alpha == 1:
        return (ratio * np.log(ratio)).mean()
    return (ratio**alpha - 1).mean() / (alpha * (alpha - 1))


def difference(people):
    n = len(people)
    return np.abs(people[:, None] - people).sum() / (2 * n * (n - 1) * people.mean()) if n > 1 else np.nan


STATISTICS = [(lambda c: c.gini(), difference), (lambda c: c.mean, np.mean), (lambda c: c.total, len)]
STATISTICS += [(lambda c, s=s: c.cvar(s), lambda x, s=s: least(x, s)) for s in SHARES]
STATISTICS += [(lambda c, q=q: c.quantile(q), lambda x, q=q: np.quantile(x, q)) for q in (0.0, *SHARES)]
STATISTICS += [
    (
        lambda c, q=q: c.quantile(q, "inverted_cdf"),
        lambda x, q=q: np.sort(x)[max(int(np.ceil(q * len(x) - 1e-9)), 1) - 1],
    )
    for q in (0.0, *SHARES)
]
STATISTICS += [(lambda c, p=p: c.power_mean(p), lambda x, p=p: power(x, p)) for p in POWERS]
STATISTICS += [(lambda c, e=e: c.atkinson(e), lambda x, e=e: 1 - power(x, 1 - e) / x.mean()) for e in (0, 0.5, 1, 2)]
STATISTICS += [(lambda c, a=a: c.generalised_entropy(a), lambda x, a=a: entropy(x, a)) for a in ALPHAS]
STATISTICS += [
    (lambda c, k=k: c.kolm_pollak(k), lambda x, k=k: x.min() - np.log(np.mean(np.exp(-k * (x - x.min())))) / k)
    for k in (0.1, 1.0, 30.0)
]

tables = st.integers(1, 9).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(1, 30), min_size=n, max_size=n),
        st.lists(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any), min_size=1, max_size=4),
    )
)


@settings(max_examples=25, deadline=None)
@given(tables)
def test_counts_are_people_written_out(data):
    x, counts = np.sort(np.array(data[0]) / 30), np.array(data[1])
    written = [np.repeat(x, row) for row in counts]
    of_their_own = np.stack([x * (1 + k) for k in range(len(counts))])
    for statistic, own in STATISTICS:
        expected = [own(people) for people in written]
        np.testing.assert_allclose(statistic(WelfareDraws.of(x, counts)), expected, atol=1e-11)
        # the counts of a bootstrap are in single precision
        np.testing.assert_allclose(statistic(WelfareDraws.of(x, counts.astype(np.float32))), expected, atol=1e-11)
        expected = [own(people * (1 + k)) for k, people in enumerate(written)]
        np.testing.assert_allclose(statistic(WelfareDraws.of(of_their_own, counts)), expected, atol=1e-11)
        if statistic is not STATISTICS[2][0]:
            expected = [own(np.repeat(row, counts[0])) for row in of_their_own]
            np.testing.assert_allclose(statistic(WelfareDraws.of(of_their_own, counts[:1])), expected, atol=1e-11)


@settings(max_examples=60, deadline=None)
@given(tables, st.sampled_from([0.1, 1 / 3, 0.7, 1e6, 1e-6]), st.randoms(use_true_random=False))
def test_weights_count_by_their_shares_and_order_does_not_matter(data, scale, shuffle):
    """All but the corrected Gini and the interpolated quantile, which ask how many people there are."""
    x, w = np.array(data[0]) / 30, np.array(data[1][0], float)
    order = np.array(shuffle.sample(range(len(x)), len(x)))
    base, scaled, moved = WelfareDraws.one(x, w), WelfareDraws.one(x, scale * w), WelfareDraws.one(x[order], w[order])
    for statistic, _ in STATISTICS:
        assert statistic(moved)[0] == pytest.approx(statistic(base)[0], abs=1e-12, nan_ok=True)
    assert scaled.gini(corrected=False)[0] == pytest.approx(base.gini(corrected=False)[0], abs=1e-12)
    for q in SHARES:
        assert scaled.quantile(q, "inverted_cdf")[0] == base.quantile(q, "inverted_cdf")[0]
        assert scaled.cvar(q)[0] == pytest.approx(base.cvar(q)[0], abs=1e-11)
    for alpha in ALPHAS:
        assert scaled.generalised_entropy(alpha)[0] == pytest.approx(base.generalised_entropy(alpha)[0], abs=1e-11)
    for p in POWERS:
        assert scaled.power_mean(p)[0] == pytest.approx(base.power_mean(p)[0], abs=1e-12)


def test_a_person_of_weight_zero_is_not_there():
    """Not even at the ends of the order, where quantiles at 0 and 1 and infinite powers look."""
    x, counts = np.array([0.1, 0.2, 0.5, 0.9]), np.array([[0, 3, 2, 0]])
    for statistic, own in STATISTICS:
        expected = own(np.repeat(x, counts[0]))
        assert statistic(WelfareDraws.of(x, counts))[0] == pytest.approx(expected, abs=1e-12)
        assert statistic(WelfareDraws.one(x, counts[0]))[0] == pytest.approx(expected, abs=1e-12)


def test_a_boundary_that_rounding_blurs():
    weights = np.full(10, 0.1)  # sums of tenths are a little off
    for k in range(1, 11):
        assert WelfareDraws.one(np.arange(10.0), weights).quantile(k / 10, "inverted_cdf")[0] == k - 1
    few = WelfareDraws.of([1.0, 2.0, 5.0], [[1e13, 1, 0]])
    assert few.quantile(1, "inverted_cdf")[0] == 2  # however few they are
    single = np.full((1, 3), 0.1, np.float32)
    assert WelfareDraws.of([1.0, 2.0, 3.0], single).quantile(2 / 3, "inverted_cdf")[0] == 2
    x = np.arange(100.0)
    counts = np.ones((1, 100), np.float32)
    for k in range(1, 101):  # 0.55 * 100 is more than 55
        assert WelfareDraws.of(x, counts).quantile(k / 100, "inverted_cdf")[0] == k - 1
        assert WelfareDraws.of(x, counts).cvar(k / 100)[0] == pytest.approx((k - 1) / 2, abs=1e-9)


def test_signs_that_a_statistic_cannot_have_are_nan_and_others_are_fine():
    draw = WelfareDraws.of([-2.0, 1.0, 3.0], [[1, 1, 1], [0, 1, 1]])
    for value in (draw.power_mean(1), draw.power_mean(-np.inf), draw.atkinson(0.5), draw.generalised_entropy(2)):
        assert np.isnan(value).all()
    np.testing.assert_allclose(draw.cvar(0.5), [(-2 + 0.5) / 1.5, 1])
    np.testing.assert_allclose(draw.quantile(0.5), [1, 2])
    expected = [-np.log(np.mean(np.exp([2, -1, -3]))), -np.log(np.mean(np.exp([-1, -3])))]
    np.testing.assert_allclose(draw.kolm_pollak(1), expected)
    np.testing.assert_allclose(draw.kolm_pollak(0), [2 / 3, 2])
    np.testing.assert_allclose(draw.kolm_pollak(1e308), [-2, 1])
    own = WelfareDraws.of([[-1.0, 1.0], [1.0, 1.0]], [[1, 1]])  # one draw has somebody below zero
    np.testing.assert_allclose(own.power_mean(2), [np.nan, 1])


def test_nobody_is_nan_and_zeros_count_only_where_they_are():
    x, counts = [0.0, 1.0, 2.0], np.array([[0, 0, 0], [0, 1, 1], [1, 1, 1]], np.float32)
    draws = WelfareDraws.of(x, counts)
    for statistic, _ in STATISTICS[:2] + STATISTICS[3:]:
        assert np.isnan(statistic(draws)[0])
        assert not np.isnan(statistic(draws)[1:]).any()
        for empty in (WelfareDraws.of([], np.ones((2, 0))), WelfareDraws.of(np.zeros((2, 0)), np.ones((1, 0)))):
            assert np.isnan(statistic(empty)).all()
        for none in (WelfareDraws.of(x, np.ones((0, 3))), WelfareDraws.of(np.ones((0, 3)), np.ones((1, 3)))):
            assert statistic(none).shape == (0,)
        assert np.isnan(statistic(WelfareDraws.one([], []))).all()
    np.testing.assert_allclose(draws.power_mean(0)[1:], [np.sqrt(2), 0])
    np.testing.assert_allclose(draws.power_mean(-1)[1:], [4 / 3, 0])
    np.testing.assert_allclose(draws.generalised_entropy(0)[1:], [np.log(1.5 / np.sqrt(2)), np.inf])
    np.testing.assert_allclose(draws.atkinson(1)[1:], [1 - np.sqrt(2) / 1.5, 1])
    nothing = WelfareDraws.of([0.0, 0.0], [[1, 1]])
    assert np.isnan([nothing.gini(), nothing.atkinson(0.5), nothing.generalised_entropy(1)]).all()
    assert [nothing.cvar(0.2)[0], nothing.power_mean(2)[0], nothing.kolm_pollak(1)[0]] == [0, 0, 0]


def test_powers_near_zero_keep_their_digits():
    x = np.random.default_rng(0).gamma(2, size=(1, 50))
    draw = WelfareDraws.of(np.sort(x), np.ones((1, 50)))
    np.testing.assert_allclose(draw.power_mean(1e-9), draw.power_mean(0), rtol=1e-8)
    np.testing.assert_allclose(draw.kolm_pollak(1e-9), draw.mean - 1e-9 * x.var() / 2, rtol=1e-13)
    np.testing.assert_allclose(draw.generalised_entropy(1e-7), draw.generalised_entropy(0), rtol=1e-6)


def test_powers_far_out_neither_overflow_nor_vanish():
    draws = WelfareDraws.of([1e-3, 0.5, 1.0], [[1, 1, 1], [0, 2, 1]])
    # the least utility is not in the second draw: its power dwarfs all that is
    expected = [1e-3 * 3 ** (1 / 400), 0.5 * (2 / 3 + 2.0**-400 / 3) ** (-1 / 400)]
    np.testing.assert_allclose(draws.power_mean(-400), expected, rtol=1e-12)
    np.testing.assert_allclose(draws.power_mean(5000), 3 ** (-1 / 5000), rtol=1e-12)
    np.testing.assert_allclose(draws.power_mean(-1e308), [1e-3, 0.5])
    np.testing.assert_allclose(draws.power_mean(1e308), 1)
    own = WelfareDraws.of([[1e-3, 0.5, 1.0], [0.2, 0.2, 0.2]], [[0, 2, 1]])
    np.testing.assert_allclose(own.power_mean(-400), [expected[1], 0.2], rtol=1e-12)
    np.testing.assert_allclose(WelfareDraws.of([-900.0, 900.0], [[1, 1]]).kolm_pollak(2.0), -900 + np.log(2) / 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WelfareDraws.of([2.0, 1.0], [[1, 1]]), "ascending"),
        (lambda: WelfareDraws.of([1.0, np.nan], [[1, 1]]), "ascending"),
        (lambda: WelfareDraws.of([2.0, 3.0], [1, 1]), r"shapes \(2,\) and \(2,\)"),
        (lambda: WelfareDraws.of([[1.0], [2.0]], [[1], [1], [1]]), "3 rows for 2"),
        (lambda: WelfareDraws.of([1.0, 2.0], [[1, -1]]), "counts: negative"),
        (lambda: WelfareDraws.of([1.0, 2.0], [[1, np.nan]]), "counts: negative or NaN"),
        (lambda: WelfareDraws.one([1.0, np.inf]), "utility: row 1 is inf"),
        (lambda: WelfareDraws.one([1.0], [-1]), "weights: row 0 is -1"),
        (lambda: ascending([1.0], [1, 2]), r"utility: shapes \(1,\) and \(2,\)"),
        (lambda: ascending(0.5), "utility: shapes"),
        (lambda: WelfareDraws.one([1.0]).cvar(2), "share: 2"),
        (lambda: WelfareDraws.one([1.0]).quantile(-0.1), "q: -0.1"),
        (lambda: WelfareDraws.one([1.0], [0.5]).quantile(0.2), "inverted_cdf"),
        (lambda: WelfareDraws.one([1.0]).power_mean(np.nan), "p: nan"),
        (lambda: WelfareDraws.one([1.0]).atkinson(-1), "epsilon: -1"),
        (lambda: WelfareDraws.one([1.0]).generalised_entropy(np.nan), "alpha: nan"),
        (lambda: WelfareDraws.one([1.0]).kolm_pollak(np.inf), "kappa: inf"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_bootstrap_intervals_cover_the_population():
    """Of 500 people with utilities Beta(4, 2); of 120 the logarithms, which few very low ones move, cover 0.92."""
    grid = (np.arange(400_000) + 0.5) / 400_000
    density = 20 * grid**3 * (1 - grid)
    below = np.cumsum(density) / 400_000
    edge = np.interp(0.2, below, grid)
    mean, root, log = ((value * density).mean() for value in (grid, np.sqrt(grid), np.log(grid)))
    worst = (grid * density)[grid <= edge].sum() / 400_000 / 0.2
    truth = np.array([edge, worst, 1 - root**2 / mean, np.log(mean) - log, np.exp(log)])
    rng, hits, trials = np.random.default_rng(0), np.zeros(5), 300
    for k in range(trials):
        x = np.sort(rng.beta(4, 2, 500))
        drawn, seen = (
            np.stack([c.quantile(0.2), c.cvar(0.2), c.atkinson(0.5), c.generalised_entropy(0), c.power_mean(0)], axis=1)
            for c in (WelfareDraws.of(x, resample_counts(500, 400, seed=k)), WelfareDraws.one(x))
        )
        lo, hi = interval(drawn, n_users=500, estimate=seen[0])
        hits += (lo <= truth) & (truth <= hi)
    np.testing.assert_allclose(hits / trials, 0.95, atol=3 * np.sqrt(0.05 * 0.95 / trials) + 0.01)
