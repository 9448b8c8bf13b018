"""The user-cluster bootstrap against brute-force resampling, Student's t, and coverage of a planted truth."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm, t

from plurality.analyses.inference.bootstrap import (
    cluster_draws,
    count_blocks,
    interval,
    paired_differences,
    per_user_sums,
    ratio_draws,
    resample_counts,
    standard_error,
    two_sided_p,
)
from plurality.errors import InputError


def people(seed=0, users=30):
    """Codes and two values of unequal numbers of rows a user."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(users), rng.integers(1, 9, users))
    return codes, rng.normal(size=(len(codes), 2))


def test_counts_are_multinomial():
    counts = resample_counts(50, 4000, seed=1)
    assert counts.shape == (4000, 50)
    assert counts.dtype == np.float32
    assert (counts.sum(axis=1) == 50).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(50), abs=0.1)
    assert counts.var() == pytest.approx(1 - 1 / 50, abs=0.02)


def test_blocks_do_not_change_the_counts():
    whole = resample_counts(37, 101, seed=3)
    blocks = np.concatenate(list(count_blocks(37, 101, 3, entries=37 * 10)))
    np.testing.assert_array_equal(whole, blocks)
    assert not (whole == resample_counts(37, 101, seed=4)).all()


def test_per_user_sums_are_those_of_a_group_by():
    codes, values = people()
    w = np.random.default_rng(1).random(len(codes))
    sums, weight = per_user_sums(codes, values, w)
    frame = pl.DataFrame({"u": codes, "a": values[:, 0] * w, "b": values[:, 1] * w, "w": w})
    expected = frame.group_by("u").sum().sort("u")
    np.testing.assert_allclose(sums, expected.select("a", "b").to_numpy(), atol=1e-12)
    np.testing.assert_allclose(weight, expected["w"], atol=1e-12)
    assert per_user_sums(codes, values, n_users=40)[0].shape == (40, 2)


def test_draws_are_those_of_repeated_rows():
    codes, values = people()
    counts = resample_counts(30, 5, seed=0)
    sums, weight = per_user_sums(codes, values)
    pooled = ratio_draws(counts, sums, weight)
    macro = ratio_draws(counts, sums / weight[:, None], np.ones(30))
    for draw, count in enumerate(counts.astype(int)):
        rows = np.concatenate([np.tile(np.flatnonzero(codes == u), k) for u, k in enumerate(count)]).astype(int)
        np.testing.assert_allclose(pooled[draw], values[rows].mean(axis=0), atol=1e-12)
        own = [values[codes == u].mean(axis=0) for u in np.repeat(np.arange(30), count)]
        np.testing.assert_allclose(macro[draw], np.mean(own, axis=0), atol=1e-12)


def test_cluster_draws_are_ratio_draws_on_the_same_counts():
    codes, values = people()
    sums, weight = per_user_sums(codes, values)
    expected = ratio_draws(resample_counts(30, 50, 7), sums, weight)
    np.testing.assert_array_equal(cluster_draws(sums, weight, draws=50, seed=7), expected)


def test_a_draw_without_anybody_is_nan_and_left_out():
    counts = np.array([[2, 0], [1, 1], [0, 2], [2, 0]], np.float32)
    draws = ratio_draws(counts, [[1.0], [0.0]], [[1.0], [0.0]])
    assert np.isnan(draws[2, 0])
    lo, hi = interval(draws, 0.5)
    assert (lo[0], hi[0]) == (1, 1)


def test_percentiles_are_those_of_numpy_and_nan_is_left_out():
    draws = np.random.default_rng(0).normal(size=(501, 3))
    draws[::7, 1] = np.nan
    lo, hi = interval(draws, 0.9)
    expected = np.nanquantile(draws, norm.cdf([-1.6448536269514722, 1.6448536269514722]), axis=0)
    np.testing.assert_allclose([lo, hi], expected, atol=1e-12)


@pytest.mark.parametrize("users", [5, 12, 200])
def test_few_users_widen_the_interval_as_student_does(users):
    # draws of a mean have the spread sd·√((n−1)/n)/√n, Student's interval is mean ± t·sd/√n
    shrunk = np.sqrt((users - 1) / users)
    draws = shrunk * norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    lo, hi = interval(draws, 0.95, n_users=users)
    assert hi == pytest.approx(t.ppf(0.975, users - 1), rel=0.02)
    assert lo == pytest.approx(-hi)


def test_median_bias_is_corrected():
    # a statistic whose draws stand .5 above the estimate, which itself stands .5 above the truth, 0
    draws = 1.0 + np.random.default_rng(0).normal(size=20_000)
    lo, hi = interval(draws, 0.95, estimate=0.5)
    assert lo == pytest.approx(-1.96, abs=0.1)
    assert hi == pytest.approx(1.96, abs=0.1)


def test_one_user_or_one_draw_has_no_interval():
    assert np.isnan(interval(np.zeros((50, 1)), n_users=1)[0][0])
    assert np.isnan(interval(np.zeros((1, 1)))[0][0])
    assert np.isnan(standard_error(np.zeros((50, 1)), 1)[0])


def test_standard_error_is_that_of_a_mean():
    x = np.random.default_rng(0).normal(size=25)
    draws = cluster_draws(x, np.ones(25), draws=20_000, seed=1)
    assert standard_error(draws, 25)[0] == pytest.approx(x.std(ddof=1) / 5, rel=0.03)


def test_p_value_is_that_of_a_t_test():
    assert two_sided_p(2.0, 1.0, 11) == pytest.approx(2 * t.sf(2, 10))
    assert np.isnan(two_sided_p(2.0, 0.0, 11))
    assert np.isnan(two_sided_p(2.0, 1.0, 1))


def test_differences_are_paired():
    codes, values = people()
    values[:, 1] = values[:, 0] + 0.3  # the same people, a constant apart
    sums, weight = per_user_sums(codes, values)
    draws = paired_differences(cluster_draws(sums, weight, draws=200, seed=0), reference=0)
    np.testing.assert_allclose(draws, np.tile([0, 0.3], (200, 1)), atol=1e-12)


def test_resampling_users_covers_where_resampling_rows_does_not():
    truth, hits = 0.7, {"users": 0, "rows": 0}
    trials, users, rows = 300, 40, 25
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        codes = np.repeat(np.arange(users), rows)
        y = (rng.random(users * rows) < rng.beta(7, 3, users)[codes]).astype(float)
        sums, weight = per_user_sums(codes, y)
        by_user = interval(cluster_draws(sums, weight, draws=300, seed=seed), n_users=users)
        hits["users"] += bool(by_user[0][0] <= truth <= by_user[1][0])
        # rows as the unit: the bootstrap of a proportion is a binomial
        lo, hi = interval(rng.binomial(users * rows, y.mean(), 300) / (users * rows))
        hits["rows"] += bool(lo <= truth <= hi)
    assert 0.92 <= hits["users"] / trials <= 0.975
    assert hits["rows"] / trials < 0.8


def test_bad_shapes_are_named():
    with pytest.raises(InputError, match="3 users drawn, 2 and 2 summed"):
        ratio_draws(np.ones((1, 3), np.float32), np.ones(2), np.ones(2))
    with pytest.raises(InputError, match="lengths differ: 2 codes, 3 values"):
        per_user_sums([0, 1], [1, 2, 3])
    with pytest.raises(InputError, match=r"level: 95"):
        interval(np.zeros((3, 1)), 95)
    with pytest.raises(InputError, match="0 users"):
        resample_counts(0, 5, 0)
