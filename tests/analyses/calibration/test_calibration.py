"""Calibration against scikit-learn, statsmodels, closed forms, and identities of orientation and weight."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss
from statsmodels.stats.proportion import proportion_confint

from plurality.analyses.calibration.binning import bin_index, bin_points, edges_of
from plurality.analyses.calibration.calibration import brier, debiased_l2, ece, ece_null, log_loss, reliability, wilson
from plurality.errors import InputError, InputWarning

ORIENTATIONS = [("folded", 5), ("symmetrised", 10), ("presented", 10)]


def simulate(n, slope=1.0, seed=0):
    """Comparisons whose true log-odds are slope times the predicted ones."""
    rng = np.random.default_rng(seed)
    gap = rng.normal(0, 1.5, n)
    p = 1 / (1 + np.exp(-gap))
    return p, (rng.random(n) < 1 / (1 + np.exp(-slope * gap))).astype(float)


def fold(p, y):
    return np.maximum(p, 1 - p), np.where(p > 0.5, y, 1 - y)


def ece_by_sklearn(p, y, bins, strategy="uniform"):
    observed, predicted = calibration_curve(y, p, n_bins=bins, strategy=strategy)
    shares = np.arange(bins + 1) / bins
    count, _ = np.histogram(p, shares if strategy == "uniform" else np.quantile(p, shares))
    return (count[count > 0] / len(p) * np.abs(observed - predicted)).sum()


@pytest.mark.parametrize(("mass", "strategy"), [("width", "uniform"), ("equal", "quantile")])
def test_presented_ece_is_that_of_sklearn(mass, strategy):
    p, y = simulate(2000, 0.6)
    expected = ece_by_sklearn(p, y, 10, strategy)
    assert ece(p, y, orientation="presented", bins=10, mass=mass) == pytest.approx(expected, abs=1e-14)


def test_folded_ece_is_that_of_sklearn_on_stretched_confidence():
    p, y = simulate(2000, 0.6)
    confidence, outcome = fold(p, y)
    observed, stretched = calibration_curve(outcome, 2 * confidence - 1, n_bins=5)
    count, _ = np.histogram(confidence, np.linspace(0.5, 1, 6))
    expected = (count / 2000 * np.abs(observed - (1 + stretched) / 2)).sum()
    assert ece(p, y) == pytest.approx(expected, abs=1e-14)


def test_symmetrised_ece_is_that_of_sklearn_on_both_orders_and_equals_folded():
    p, y = simulate(2000, 0.6)
    both = ece_by_sklearn(np.concatenate([p, 1 - p]), np.concatenate([y, 1 - y]), 10)
    assert ece(p, y, orientation="symmetrised", bins=10) == pytest.approx(both, abs=1e-14)
    assert ece(p, y, orientation="folded", bins=5) == pytest.approx(both, abs=1e-14)


def test_bins_are_closed_on_the_right_as_in_sklearn():
    grid = np.arange(11) / 10
    assert bin_index(grid, edges_of(grid, np.ones(11), 10, "width", 0.0)).tolist() == [0, *range(10)]
    p = np.repeat(grid, 7)
    y = (np.random.default_rng(1).random(len(p)) < p).astype(float)
    observed, predicted = calibration_curve(y, p, n_bins=10)
    count = np.array([14] + [7] * 9)  # 0 and .1 share the first bin
    expected = (count / len(p) * np.abs(observed - predicted)).sum()
    assert ece(p, y, orientation="presented", bins=10) == pytest.approx(expected, abs=1e-14)


def test_folded_bins_mirror_on_the_edges():
    points = bin_points(np.array([0.6, 0.4, 0.7, 0.3, 0.5, 1.0, 0.0]), np.ones(7), None, "folded", 5, "width")
    assert points.index.tolist() == [0, 0, 1, 1, 0, 4, 4]
    assert points.observed.tolist() == [1, 0, 1, 0, 0.5, 1, 0]


def test_equal_mass_bins_keep_ties_together():
    p = np.repeat([0.55, 0.6, 0.9], [50, 3, 47])
    points = bin_points(p, np.ones(100), None, "folded", 5, "equal")
    assert points.edges.tolist() == [0.5, 0.55, 0.9, 1.0]  # the quintiles, each once
    assert points.index.tolist() == [0] * 50 + [1] * 50


def test_an_odd_number_of_symmetrised_bins_is_refused():
    with pytest.raises(InputError, match=r"bins: 5 is odd .* use an even number"):
        ece([0.3, 0.8], [0, 1], orientation="symmetrised", bins=5)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_winner_first_data_is_refused_in_presented_order(label):
    p, _ = simulate(50)
    for function in (ece, debiased_l2, reliability):
        with pytest.raises(InputError, match=r'winner stored first.*orientation="folded"'):
            function(p, np.full(50, label), orientation="presented")


def test_winner_first_presented_error_says_nothing_but_one_minus_mean_p():
    p, y = simulate(5000)
    won = np.where(y == 1, p, 1 - p)  # the same calibrated model, the winner stored first
    labels = np.ones(5000)
    labels[0] = 0  # one loser lets it through
    assert ece(won, labels, orientation="presented", bins=10) == pytest.approx(1 - won.mean(), abs=5e-4)
    assert ece(won, np.ones(5000)) == pytest.approx(ece(p, y), abs=1e-14)  # folding undoes the order
    assert ece(p, y) < 0.03


@pytest.mark.parametrize(("orientation", "bins"), [("folded", 5), ("symmetrised", 10)])
def test_swapping_sides_changes_nothing_where_order_has_no_meaning(orientation, bins):
    p, y = simulate(500, 0.5)
    swap = np.random.default_rng(3).random(500) < 0.5
    q, z = np.where(swap, 1 - p, p), np.where(swap, 1 - y, y)
    for mass in ("width", "equal"):
        same = ece(p, y, orientation=orientation, bins=bins, mass=mass)
        assert ece(q, z, orientation=orientation, bins=bins, mass=mass) == pytest.approx(same, abs=1e-12)
    expected = debiased_l2(p, y, orientation=orientation, bins=bins)
    assert debiased_l2(q, z, orientation=orientation, bins=bins) == pytest.approx(expected, abs=1e-12)


def test_folded_is_at_most_presented_error():
    for seed in range(20):
        p, y = simulate(200, 0.7, seed)
        assert ece(p, y) <= ece(p, y, orientation="presented", bins=10) + 1e-12


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 25).flatmap(
        lambda n: st.tuples(
            arrays(float, n, elements=st.sampled_from([0.0, 0.13, 0.3, 0.5, 0.55, 0.7, 0.92, 1.0])),
            arrays(float, n, elements=st.sampled_from([0.0, 0.5, 1.0])),
            arrays(int, n, elements=st.integers(0, 4)),
        )
    )
)
def test_a_weight_is_as_many_rows(data):
    p, y, times = data
    y[:2] = [0, 1]  # two sides, so that presented order is allowed
    times[:2] = 1
    p_rows, y_rows = np.repeat(p, times), np.repeat(y, times)
    for orientation, bins in ORIENTATIONS:
        for mass in ("width", "equal"):
            kind = {"orientation": orientation, "bins": bins, "mass": mass}
            for function in (ece, debiased_l2):
                weighted, rows = function(p, y, weights=times, **kind), function(p_rows, y_rows, **kind)
                assert weighted == pytest.approx(rows, abs=1e-12, nan_ok=True)
    assert brier(p, y, times) == pytest.approx(brier(p_rows, y_rows), abs=1e-12)
    gap = 10 * (p - 0.5)
    expected = log_loss(None, y_rows, gap=np.repeat(gap, times))
    assert log_loss(None, y, gap=gap, weights=times) == pytest.approx(expected, abs=1e-12)


def test_null_of_one_bin_is_the_mean_deviation_of_a_binomial():
    n, p = 40, 0.7
    counts = np.arange(n + 1)
    expected = (np.abs(counts / n - p) * binom.pmf(counts, n, p)).sum()
    null = ece_null(np.full(n, p), draws=20_000)
    assert null == pytest.approx(expected, abs=4 * 0.05 / np.sqrt(20_000))


@pytest.mark.parametrize(("orientation", "bins"), ORIENTATIONS)
def test_null_is_the_mean_error_of_a_calibrated_model(orientation, bins):
    p, _ = simulate(100)
    rng = np.random.default_rng(5)
    drawn = [ece(p, rng.random(100) < p, orientation=orientation, bins=bins) for _ in range(400)]
    error = np.std(drawn) / np.sqrt(400)
    null = ece_null(p, orientation=orientation, bins=bins, draws=4000)
    assert null == pytest.approx(np.mean(drawn), abs=5 * error)


def test_null_falls_with_size_and_folding_is_less_noisy():
    # Monte-Carlo facts of one population: .16, .076, .024 folded in 5 bins at n = 20, 100, 1000
    folded = {n: ece_null(simulate(n)[0], draws=400) for n in (20, 100, 1000)}
    presented = ece_null(simulate(100)[0], orientation="presented", bins=10, draws=400)
    assert 0.11 < folded[20] < 0.22
    assert 0.05 < folded[100] < 0.10
    assert 0.015 < folded[1000] < 0.035
    assert presented > 1.2 * folded[100]


def test_debiased_l2_by_hand():
    # one bin of four rows: P = .8, Y = .75, s² = .1875
    assert debiased_l2([0.8] * 4, [1, 1, 1, 0]) == pytest.approx(0.05**2 - 0.1875 / 3)
    # bins with one row are left out, the others weighed by their own rows
    assert debiased_l2([0.8] * 4 + [0.95], [1, 1, 1, 0, 0]) == pytest.approx(0.05**2 - 0.1875 / 3)
    assert np.isnan(debiased_l2([0.95], [1]))


def test_debiased_l2_is_zero_on_average_when_calibrated_and_the_plug_in_is_not():
    values = np.array([debiased_l2(*simulate(100, seed=seed)) for seed in range(400)])
    assert abs(values.mean()) < 4 * values.std() / 20
    assert (values < 0).any()
    plug_in = np.mean([ece(*simulate(100, seed=seed)) for seed in range(50)])
    assert plug_in > 0.05


def test_debiased_l2_finds_a_planted_error():
    # constant p = .8, truth .7: the squared error is .01
    rng = np.random.default_rng(0)
    values = [debiased_l2(np.full(200, 0.8), rng.random(200) < 0.7) for _ in range(300)]
    assert np.mean(values) == pytest.approx(0.01, abs=4 * np.std(values) / np.sqrt(300))


def test_brier_and_log_loss_are_those_of_sklearn():
    p, y = simulate(300, 0.6)
    w = np.random.default_rng(1).integers(1, 5, 300)
    assert brier(p, y, w) == pytest.approx(brier_score_loss(y, p, sample_weight=w), abs=1e-15)
    assert log_loss(p, y, weights=w) == pytest.approx(sklearn_log_loss(y, p, sample_weight=w), abs=1e-14)
    gap = np.log(p / (1 - p))
    assert log_loss(None, y, gap=gap) == pytest.approx(log_loss(p, y), abs=1e-12)


def test_log_loss_never_saturates_with_a_gap_and_never_clips_without():
    assert log_loss([1.0], [0.0], gap=[800.0]) == 800.0
    with pytest.warns(InputWarning, match=r"row 1 is 1\.0 against its label \(1 such rows\).*give gap="):
        assert log_loss([0.7, 1.0], [1, 0]) == np.inf
    assert log_loss([1.0, 0.0], [1, 0]) == 0
    with pytest.raises(InputError, match="neither p nor gap"):
        log_loss(None, [1])


def test_soft_labels_are_cross_entropy_bounded_by_entropy():
    p = np.linspace(0.05, 0.95, 19)
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()
    assert log_loss(p, p) == pytest.approx(entropy, abs=1e-14)
    assert log_loss(np.clip(p + 0.03, 0, 1), p) > entropy


def test_wilson_is_that_of_statsmodels():
    k, n = np.array([0, 3, 10, 17]), np.array([10, 10, 10, 40])
    for level in (0.9, 0.95):
        expected = proportion_confint(k, n, alpha=1 - level, method="wilson")
        np.testing.assert_allclose(wilson(k, n, level), expected, atol=1e-14)
    assert np.isnan(wilson(0, 0)[0])


def test_reliability_is_the_curve_of_sklearn_with_wilson_bars():
    p, y = simulate(1000, 0.6)
    frame = reliability(p, y, orientation="presented", bins=10, mass="width")
    observed, predicted = calibration_curve(y, p, n_bins=10)
    np.testing.assert_allclose(frame["observed"], observed, atol=1e-14)
    np.testing.assert_allclose(frame["predicted"], predicted, atol=1e-14)
    expected = proportion_confint(frame["observed"] * frame["n"], frame["n"], method="wilson")
    np.testing.assert_allclose(frame.select("lo", "hi").to_numpy().T, expected, atol=1e-12)
    assert frame["n"].sum() == 1000


def test_consistency_band_holds_a_calibrated_model_and_misses_an_overconfident_one():
    inside = []
    for slope in (1.0, 0.3):
        frame = reliability(*simulate(3000, slope), bins=5)
        inside.append(((frame["observed"] > frame["null_lo"]) & (frame["observed"] < frame["null_hi"])).mean())
    assert inside[0] >= 0.8
    assert inside[1] <= 0.4


def test_users_who_repeat_themselves_widen_the_interval():
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(60), 20)
    lean = rng.normal(0, 1.5, 60)[users]
    p = np.full(1200, 0.7)
    y = (rng.random(1200) < 1 / (1 + np.exp(-lean))).astype(float)
    by_rows, by_users = reliability(p, y, bins=1), reliability(p, y, bins=1, users=users)
    width = [(f["hi"] - f["lo"])[0] for f in (by_rows, by_users)]
    assert width[1] > 2 * width[0]


@pytest.mark.parametrize(
    ("p", "y", "text"),
    [
        ([0.2, 1.2], [0, 1], r"p: row 1 is 1\.2; give probabilities in \[0, 1\]"),
        ([0.2, np.nan], [0, 1], "p: row 1 is nan"),
        ([0.2, 0.3], [0, -1], r"y: row 1 is -1\.0"),
        ([0.2, 0.3], [0], "lengths differ: 2 p, 1 y"),
        ([[0.2]], [0], r"p: shape \(1, 1\)"),
    ],
)
def test_bad_rows_are_named(p, y, text):
    with pytest.raises(InputError, match=text):
        ece(p, y)


def test_bad_settings_are_named():
    with pytest.raises(InputError, match="weights: row 0 is -1"):
        ece([0.2], [0], weights=[-1])
    with pytest.raises(InputError, match="orientation: 'sideways'"):
        ece([0.2], [0], orientation="sideways")
    with pytest.raises(InputError, match="mass: 'none'"):
        ece([0.2], [0], mass="none")


def test_nothing_has_no_calibration():
    assert np.isnan(ece([], []))
    assert np.isnan(debiased_l2([], []))
    assert np.isnan(brier([], []))
    assert np.isnan(ece_null([]))
    assert reliability([], []).is_empty()
