"""Calibration slopes against statsmodels and scipy, their intervals by simulation, recalibration by folds."""

import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression

from plurality.analyses.calibration.calibration import log_loss
from plurality.analyses.calibration.recalibration import (
    position_bias,
    recalibrated,
    shrunk_log_temperature,
    slope,
    slopes_by_group,
)
from plurality.analyses.welfare.welfare import shrink
from plurality.errors import InputError


def simulate(users=60, rows=20, b=0.6, seed=0, own=0.0, bias=0.0):
    """Gaps, labels and users, whose true log-odds are b times the gap, with a slope of their own around b and
    a liking for the first place.
    """
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(users), rows)
    gap = rng.normal(0, 1.5, users * rows)
    steep = b + own * rng.normal(size=users)[code]
    y = (rng.random(users * rows) < 1 / (1 + np.exp(-steep * gap - bias))).astype(float)
    return gap, y, code


def glm(design, y, users, weights=None):
    """statsmodels' logistic regression with errors clustered by user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sm.GLM(y, design, family=sm.families.Binomial(), freq_weights=weights)
        return model.fit(tol=1e-12, cov_type="cluster", cov_kwds={"groups": users})


def test_slope_and_error_are_those_of_statsmodels():
    gap, y, users = simulate(own=0.4)
    found, oracle = slope(gap, y, users=users), glm(gap[:, None], y, users)
    assert found.slope == pytest.approx(oracle.params[0], abs=1e-9)
    assert found.se == pytest.approx(oracle.bse[0], rel=1e-6)
    assert found.temperature == pytest.approx(1 / oracle.params[0], rel=1e-8)
    assert (found.n_users, found.flag) == (60, "")
    assert found.temperature_interval == pytest.approx((1 / found.hi, 1 / found.lo))


def test_slope_is_the_temperature_that_scipy_finds():
    gap, y, _ = simulate()
    y[:50] = 0.5
    best = minimize_scalar(lambda t: log_loss(None, y, gap=gap / t), bounds=(0.2, 10), options={"xatol": 1e-10})
    assert slope(gap, y).temperature == pytest.approx(best.x, rel=1e-6)


def test_position_bias_is_that_of_statsmodels():
    gap, y, users = simulate(own=0.4, bias=-0.3)
    gap += 0.7
    found = position_bias(gap, y, users=users)
    oracle = glm(sm.add_constant(gap), y, users)
    assert found.intercept == pytest.approx(oracle.params[0], abs=1e-9)
    assert found.slope == pytest.approx(oracle.params[1], abs=1e-9)
    assert found.se == pytest.approx(oracle.bse[0], rel=1e-6)
    assert found.lo < found.intercept < found.hi


def test_symmetrised_data_have_no_intercept_and_the_slope_without_one():
    gap, y, _ = simulate(bias=0.5)
    both = position_bias(np.r_[gap, -gap], np.r_[y, 1 - y])
    assert both.intercept == pytest.approx(0, abs=1e-12)
    assert both.slope == pytest.approx(slope(gap, y).slope, abs=1e-12)


def test_all_groups_at_once_are_each_alone():
    gap, y, users = simulate(users=80, own=0.3)
    gap *= np.array([1.0, 1000.0, 1e-4, 3.0])[users % 4]
    w = np.random.default_rng(2).integers(0, 4, len(y))
    frame = slopes_by_group(gap, y, np.array(list("dbca"))[users % 4], users=users, weights=w)
    assert frame["group"].to_list() == list("abcd")
    for row, k in zip(frame.iter_rows(named=True), (3, 1, 2, 0), strict=True):
        own = users % 4 == k
        alone = slope(gap[own], y[own], users=users[own], weights=w[own])
        assert row["slope"] == pytest.approx(alone.slope, rel=1e-10)
        assert row["se"] == pytest.approx(alone.se, rel=1e-8)
        assert row["n_users"] == alone.n_users
        assert (row["temperature_lo"], row["temperature_hi"]) == pytest.approx(alone.temperature_interval)


def test_a_user_of_two_groups_is_a_cluster_in_each():
    gap, y, users = simulate(own=0.5)
    side = np.random.default_rng(0).integers(0, 2, len(y))
    frame = slopes_by_group(gap, y, side, users=users)
    for k in (0, 1):
        oracle = glm(gap[side == k][:, None], y[side == k], users[side == k])
        assert frame["se"][k] == pytest.approx(oracle.bse[0], rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(3, 20).flatmap(
        lambda n: st.tuples(
            arrays(float, n, elements=st.floats(-4, 4).map(lambda x: round(x, 3))),
            arrays(float, n, elements=st.sampled_from([0.0, 0.5, 1.0])),
            arrays(int, n, elements=st.integers(0, 3)),
            arrays(bool, n),
            st.sampled_from([1e-3, 1.0, 50.0]),
        )
    )
)
def test_weights_sides_order_and_scale(data):
    gap, y, times, swap, scale = data
    users = np.arange(len(y)) % 4
    found = slope(gap, y, users=users, weights=times)
    rows = slope(np.repeat(gap, times), np.repeat(y, times), users=np.repeat(users, times))
    other = slope(
        np.where(swap, -gap, gap)[::-1] * scale,
        np.where(swap, 1 - y, y)[::-1],
        users=np.array(list("zyxw"))[users][::-1],
        weights=times[::-1],
    )
    assert found.n_users == rows.n_users == other.n_users
    assert found.flag == rows.flag == other.flag
    for name in ("slope", "se", "lo", "hi"):
        value = getattr(found, name)
        near = {"rel": 1e-6, "abs": 1e-7, "nan_ok": True}
        assert getattr(rows, name) == pytest.approx(value, **near)
        assert getattr(other, name) * scale == pytest.approx(value, **near)


def test_steep_and_heavy_tailed_data_are_solved():
    # a far outlier throws an unguarded Newton step out of the region where it converges
    gap, y = np.array([300.0, 0.01, 0.02, -0.01, 0.03] * 3), np.array([1.0, 1, 1, 0, 1] * 3)
    gap[5], y[5] = -0.02, 1
    b = slope(gap, y).slope
    score = gap @ (y - 1 / (1 + np.exp(-np.clip(b * gap, -700, 700))))
    assert b > 0
    assert abs(score) < 1e-9
    # nine of ten agree at a gap of 1: log 9
    assert slope(np.ones(10), [1] * 9 + [0]).slope == pytest.approx(np.log(9), abs=1e-12)


@pytest.mark.parametrize(
    ("gap", "y", "flag"),
    [
        ([1.0, -2.0, 0.5], [1, 0, 1], "separable"),
        ([1.0, -2.0, 0.5], [0, 1, 0], "separable"),
        ([1.0, -2.0, 0.0], [1, 0, 0], "separable"),  # a gap of 0 says nothing
        ([0.0, 0.0], [1, 0], "no spread"),
        ([], [], "no data"),
    ],
)
def test_what_has_no_slope_is_flagged(gap, y, flag):
    found = slope(gap, y, users=np.arange(len(y)))
    assert found.flag == flag
    assert np.isnan([found.slope, found.se, found.lo, found.hi, found.temperature]).all()
    assert np.isnan(found.temperature_interval).all()


def test_what_has_no_interval_or_temperature_is_flagged():
    gap, y, users = simulate()
    alone = slope(gap, y, users=np.zeros(len(y)))
    assert alone.flag == "one user"
    assert alone.slope == pytest.approx(slope(gap, y).slope)
    assert np.isnan([alone.se, alone.lo]).all()
    assert np.isnan(slope(gap, y).lo)
    reversed_ = slope(gap, 1 - y, users=users)
    assert reversed_.slope == pytest.approx(-slope(gap, y).slope, abs=1e-10)
    assert reversed_.flag == "slope <= 0"
    assert np.isnan(reversed_.temperature)
    assert np.isnan(reversed_.temperature_interval).all()
    unsure = slope(gap, np.where(np.arange(len(y)) % 2, y, 1 - y), users=users)
    assert unsure.lo < 0 < unsure.hi
    assert unsure.temperature_interval[1] == np.inf
    assert slope(gap, y, weights=np.zeros(len(y))).flag == "no data"
    assert slopes_by_group([], [], []).is_empty()


def test_no_position_bias_without_overlap_or_order():
    gap, y, users = simulate()
    assert position_bias(np.ones(4), [1, 0, 1, 0]).flag == "no spread"
    assert position_bias([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1]).flag == "separable"
    assert position_bias([1.0, 2.0, 2.0, 4.0], [0, 0, 1, 1]).flag == "separable"
    assert position_bias([1.0, 2.0, 3.0, 4.0], [1, 1, 0, 0]).flag == "separable"
    assert position_bias([1.0, 3.0, 2.0, 4.0], [0, 0, 1, 1]).flag == ""
    assert position_bias([], []).flag == "no data"
    assert position_bias(gap, y, users=np.zeros(len(y))).flag == "one user"
    assert np.isnan(position_bias(gap, y).lo)
    with pytest.raises(InputError, match="winner stored first"):
        position_bias(gap, np.ones(len(y)), users=users)


def test_position_bias_weights_are_rows():
    gap, y, users = simulate(bias=0.4)
    times = np.random.default_rng(0).integers(0, 4, len(y))
    found = position_bias(gap, y, users=users, weights=times)
    rows = position_bias(np.repeat(gap, times), np.repeat(y, times), users=np.repeat(users, times))
    assert (found.intercept, found.se, found.lo) == pytest.approx((rows.intercept, rows.se, rows.lo), abs=1e-10)


def naive_interval(gap, y, found):
    """Wald interval of independent rows around the same slope."""
    fitted = 1 / (1 + np.exp(-found.slope * gap))
    half = 1.96 / np.sqrt((gap**2 * fitted * (1 - fitted)).sum())
    return found.slope - half, found.slope + half


@pytest.mark.slow
def test_interval_covers_where_that_of_rows_does_not():
    # users differ in decisiveness, so their rows share more than the gap
    big = simulate(users=20_000, rows=50, own=0.6, seed=999)
    truth = slope(big[0], big[1]).slope
    trials, hits = 500, {"users": 0, "rows": 0, "robust rows": 0}
    for seed in range(trials):
        gap, y, users = simulate(users=50, rows=30, own=0.6, seed=seed)
        found = slope(gap, y, users=users)
        low, high = found.temperature_interval
        hits["users"] += low <= 1 / truth <= high
        lo, hi = naive_interval(gap, y, found)
        hits["rows"] += lo <= truth <= hi
        by_rows = slope(gap, y, users=np.arange(len(y)))
        hits["robust rows"] += by_rows.lo <= truth <= by_rows.hi
    assert 0.92 <= hits["users"] / trials <= 0.97
    assert hits["rows"] / trials < 0.8
    assert hits["robust rows"] / trials < 0.88


def test_position_interval_covers():
    trials, hits = 300, 0
    for seed in range(trials):
        gap, y, users = simulate(users=40, rows=15, b=1.0, bias=0.25, seed=seed)
        found = position_bias(gap, y, users=users)
        hits += found.lo <= 0.25 <= found.hi
    assert 0.92 <= hits / trials <= 0.98


def test_shrinkage_is_on_the_log_of_temperature():
    gap, y, users = simulate(users=200, own=0.2)
    frame = slopes_by_group(gap, y, users % 10, users=users)
    expected = shrink(np.log(frame["temperature"]), frame["se"] / frame["slope"])
    np.testing.assert_allclose(frame["temperature_shrunk"], np.exp(expected.value), rtol=1e-12)
    assert frame["temperature_shrunk"].log().std() < frame["temperature"].log().std()
    found = shrunk_log_temperature([1.0, 0.5, -0.2, np.nan], [0.1, 0.1, 0.1, 0.1])
    assert np.isnan(found.value).tolist() == [False, False, True, True]


def test_recalibration_is_by_the_temperature_of_other_users():
    gap, y, users = simulate()
    group = users % 3
    found = recalibrated(gap, y, users, group, folds=60, n_bootstrap=50)  # leave one user out
    for u in (0, 7, 31):
        held = users == u
        fit = (group == u % 3) & ~held
        b = slope(gap[fit], y[fit]).slope
        np.testing.assert_allclose(found.p[held], 1 / (1 + np.exp(-b * gap[held])), atol=1e-10)
    expected = log_loss(None, y, gap=gap) - log_loss(found.p, y)
    assert found.gain == pytest.approx(expected, abs=1e-10)
    assert found.by_group["gain"].mean() == pytest.approx(found.gain, abs=1e-12)  # groups of equal size
    assert not found.pooled.any()


def test_isotonic_recalibration_is_that_of_sklearn_on_other_users():
    gap, y, users = simulate(users=40, rows=60, b=0.4)
    found = recalibrated(gap, y, users, kind="isotonic", folds=40, n_bootstrap=50)
    p = 1 / (1 + np.exp(-gap))
    held = users == 5
    fit = IsotonicRegression(out_of_bounds="clip").fit(np.r_[p[~held], 1 - p[~held]], np.r_[y[~held], 1 - y[~held]])
    bound = 1 / ((~held).sum() + 2)
    np.testing.assert_allclose(found.p[held], np.clip(fit.predict(p[held]), bound, 1 - bound), atol=1e-9)
    assert found.gain == pytest.approx(log_loss(p, y) - log_loss(found.p, y), abs=1e-10)
    assert found.lo > 0  # an overconfident model gains


def test_recalibration_finds_that_groups_differ_and_does_not_gain_from_nothing():
    code = np.repeat(np.arange(300), 30)
    gaps, labels = [], []
    for k, b in enumerate((0.3, 1.0, 2.0)):
        gap, y, _ = simulate(users=100, rows=30, b=b, seed=k)
        gaps.append(gap)
        labels.append(y)
    gap, y, group = np.concatenate(gaps), np.concatenate(labels), code // 100
    for kind in ("temperature", "isotonic"):
        found = recalibrated(gap, y, code, group, kind=kind, n_bootstrap=200)
        gains = dict(zip(found.by_group["group"], found.by_group["gain"], strict=True))
        assert gains[0] > 0.05
        assert gains[2] > 0.01
        assert abs(gains[1]) < 0.015
        assert recalibrated(gap, y, code, kind=kind, n_bootstrap=200).gain < found.gain
    calibrated = recalibrated(gap[group == 1], y[group == 1], code[group == 1], n_bootstrap=200)
    assert calibrated.lo <= 0.001
    assert calibrated.gain < 0.002


@pytest.mark.slow
def test_interval_of_the_gain_covers():
    # the expected gain of the true slope, which 200 users' fit comes close to
    big_gap, big_y, _ = simulate(users=20_000, rows=20, b=0.5, own=0.5, seed=77)
    b = slope(big_gap, big_y).slope
    truth = log_loss(None, big_y, gap=big_gap) - log_loss(None, big_y, gap=b * big_gap)
    hits, trials = 0, 150
    for seed in range(trials):
        gap, y, users = simulate(users=200, rows=20, b=0.5, own=0.5, seed=seed)
        found = recalibrated(gap, y, users, n_bootstrap=200, seed=seed)
        hits += found.lo <= truth <= found.hi
    assert 0.89 <= hits / trials <= 0.99


def test_a_group_that_cannot_be_fitted_takes_the_map_of_all():
    gap, y, users = simulate()
    group = np.where(users < 2, "few", "many")
    y[users == 0], y[users == 1] = (gap[users == 0] > 0), (gap[users == 1] > 0)  # separable
    found = recalibrated(gap, y, users, group, n_bootstrap=20)
    assert found.pooled.tolist() == (users < 2).tolist()
    assert np.isfinite(found.p).all()
    assert recalibrated(gap, y, users, group, kind="isotonic", n_bootstrap=20).pooled.all()  # below a thousand rows
    alone = recalibrated([1.0, -2.0], [1, 0], ["a", "b"], folds=2, n_bootstrap=20)
    np.testing.assert_allclose(alone.p, 1 / (1 + np.exp([-1.0, 2.0])))  # not even all: as it was
    assert alone.gain == 0
    backwards = recalibrated(gap, 1 - y, users, n_bootstrap=20)
    assert (backwards.p == 0.5).all()  # a temperature cannot turn a model round


def test_weights_of_recalibration_are_rows():
    gap, y, users = simulate()
    times = np.random.default_rng(0).integers(1, 4, len(y))
    found = recalibrated(gap, y, users, users % 2, weights=times, n_bootstrap=50)
    r = np.repeat(np.arange(len(y)), times)
    rows = recalibrated(gap[r], y[r], users[r], users[r] % 2, n_bootstrap=50)
    np.testing.assert_allclose(found.p[r], rows.p, atol=1e-10)
    assert (found.gain, found.lo, found.hi) == pytest.approx((rows.gain, rows.lo, rows.hi), abs=1e-10)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="gap: row 1 is nan"):
        slope([1.0, np.nan], [0, 1])
    with pytest.raises(InputError, match="y: row 0 is 3"):
        slope([1.0], [3])
    with pytest.raises(InputError, match="users: 1 for 2"):
        slope([1.0, 2.0], [0, 1], users=[1])
    with pytest.raises(InputError, match="groups: 1 for 2"):
        slopes_by_group([1.0, 2.0], [0, 1], [1])
    with pytest.raises(InputError, match="level: 95"):
        slope([1.0, 2.0], [0, 1], level=95)
    with pytest.raises(InputError, match="folds: 5 for 2 users"):
        recalibrated([1.0, 2.0], [0, 1], [0, 1])
    with pytest.raises(InputError, match="kind: 'spline'"):
        recalibrated([1.0, 2.0], [0, 1], [0, 1], kind="spline", folds=2)
    with pytest.raises(InputError, match="groups: 1 for 2"):
        recalibrated([1.0, 2.0], [0, 1], [0, 1], [0], folds=2)
