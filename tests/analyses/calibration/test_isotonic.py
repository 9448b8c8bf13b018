"""CORP against model-diagnostics, scikit-learn's isotonic regression, symmetry and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from model_diagnostics.scoring import LogLoss, SquaredError, decompose
from sklearn.isotonic import IsotonicRegression

from plurality.analyses.calibration.calibration import brier, log_loss
from plurality.analyses.calibration.isotonic_regression import corp, corp_curve, isotonic
from plurality.errors import InputError

SCORES = {"brier": SquaredError(), "log_loss": LogLoss()}


def simulate(n, slope=1.0, seed=0):
    """Comparisons whose true log-odds are slope times the predicted ones."""
    rng = np.random.default_rng(seed)
    gap = rng.normal(0, 1.5, n)
    return 1 / (1 + np.exp(-gap)), (rng.random(n) < 1 / (1 + np.exp(-slope * gap))).astype(float)


def both(p, y):
    return np.concatenate([p, 1 - p]), np.concatenate([y, 1 - y])


def parts(found):
    return [found.miscalibration, found.discrimination, found.uncertainty, found.score]


@pytest.mark.parametrize("score", ["brier", "log_loss"])
@pytest.mark.parametrize("n", [30, 2000])
def test_decomposition_is_that_of_model_diagnostics(score, n):
    p, y = simulate(n, 0.5)
    w = np.random.default_rng(1).integers(1, 4, n)
    stated, label = both(p, y)
    expected = decompose(label, stated, np.tile(w, 2), scoring_function=SCORES[score])
    found = corp(p, y, score=score, weights=w, draws=0)
    columns = ["miscalibration", "discrimination", "uncertainty", "score"]
    np.testing.assert_allclose(parts(found), expected.select(columns).row(0), atol=1e-12)


def test_fit_is_that_of_sklearn_on_both_orders_also_between_its_points():
    p, y = simulate(500, 0.5)
    w = np.random.default_rng(1).integers(1, 4, 500)
    stated, label = both(p, y)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(stated, label, sample_weight=np.tile(w, 2))
    fit = isotonic(p, y, w)
    np.testing.assert_allclose(fit.at(p), oracle.predict(p), atol=1e-12)
    grid = np.linspace(0, 1, 501)
    np.testing.assert_allclose(fit.at(grid), oracle.predict(grid), atol=1e-9)


def test_fit_is_symmetric_monotone_and_a_fixed_point():
    p, y = simulate(400, 0.5)
    fit = isotonic(p, y)
    grid = np.arange(0, 1025) / 1024
    np.testing.assert_array_equal(fit.at(1 - grid), 1 - fit.at(grid))
    assert (np.diff(fit.at(grid)) >= 0).all()
    assert fit.at(0.5) == 0.5
    np.testing.assert_allclose(isotonic(fit.at(p), y).at(fit.at(p)), fit.at(p), atol=1e-12)


@pytest.mark.parametrize("score", ["brier", "log_loss"])
def test_parts_add_up_and_have_their_signs(score):
    for seed in range(20):
        p, y = simulate(60, 0.5, seed)
        y[:10] = 0.5
        p[10:15] = 0.5
        found = corp(p, y, score=score, draws=0)
        assert found.miscalibration - found.discrimination + found.uncertainty == pytest.approx(found.score, abs=1e-12)
        assert found.miscalibration >= 0
        assert found.discrimination >= 0
        assert found.score == pytest.approx(brier(p, y) if score == "brier" else log_loss(p, y), abs=1e-14)
    assert found.uncertainty == pytest.approx(0.25 * 50 / 60 if score == "brier" else np.log(2), abs=1e-14)


def test_a_monotone_change_of_p_moves_miscalibration_alone():
    p, y = simulate(800, 0.5)
    sharper = p**2 / (p**2 + (1 - p) ** 2)  # twice the log-odds
    found, other = corp(p, y, draws=0), corp(sharper, y, draws=0)
    assert other.discrimination == pytest.approx(found.discrimination, abs=1e-12)
    assert other.miscalibration > found.miscalibration


def test_log_loss_from_the_gap_stays_finite():
    gap, y = np.array([60.0, 2.0, -1.0, 3.0]), np.array([0.0, 1, 0, 1])
    p = 1 / (1 + np.exp(-gap))
    assert corp(p, y, score="log_loss", draws=5).score == np.inf
    assert corp(p, y, score="log_loss", draws=5).miscalibration == np.inf
    found = corp(p, y, score="log_loss", gap=gap, draws=5)
    assert found.score == pytest.approx(log_loss(None, y, gap=gap), abs=1e-14)
    assert np.isfinite(parts(found)).all()


@pytest.mark.parametrize("score", ["brier", "log_loss"])
def test_null_is_the_miscalibration_of_a_calibrated_model(score):
    p, _ = simulate(150)
    rng = np.random.default_rng(3)
    found = [corp(p, (rng.random(150) < p).astype(float), score=score, draws=0).miscalibration for _ in range(300)]
    null = corp(p, np.round(p), score=score, draws=300).null_miscalibration
    assert null == pytest.approx(np.mean(found), abs=5 * np.std(found) * np.sqrt(2 / 300))


def test_p_value_is_uniform_under_calibration_and_small_without():
    calibrated = [corp(*simulate(120, 1.0, seed), draws=99, seed=seed).p_value for seed in range(150)]
    assert np.mean(calibrated) == pytest.approx(0.5, abs=4 * 0.29 / np.sqrt(150))
    assert np.mean(np.array(calibrated) <= 0.1) == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 150))
    assert corp(*simulate(1000, 0.4), draws=99).p_value == 0.01


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 25).flatmap(
        lambda n: st.tuples(
            arrays(float, n, elements=st.sampled_from([0.0, 0.13, 0.3, 0.5, 0.55, 0.7, 0.92, 1.0])),
            arrays(float, n, elements=st.sampled_from([0.0, 0.5, 1.0])),
            arrays(int, n, elements=st.integers(0, 4)),
            arrays(bool, n),
        )
    )
)
def test_weights_are_rows_and_sides_and_order_do_not_matter(data):
    p, y, times, swap = data
    times[0] = 1
    expected = parts(corp(p, y, weights=times, draws=0))
    rows = parts(corp(np.repeat(p, times), np.repeat(y, times), draws=0))
    np.testing.assert_allclose(rows, expected, atol=1e-12)
    q, z = np.where(swap, 1 - p, p)[::-1], np.where(swap, 1 - y, y)[::-1]
    np.testing.assert_allclose(parts(corp(q, z, weights=times[::-1], draws=0)), expected, atol=1e-12)
    grid = np.linspace(0, 1, 33)
    np.testing.assert_allclose(isotonic(q, z, times[::-1]).at(grid), isotonic(p, y, times).at(grid), atol=1e-12)


def test_curve_has_the_fit_at_both_ends_of_each_block():
    p, y = simulate(600, 0.5)
    frame = corp_curve(p, y, draws=20)
    fit = isotonic(p, y)
    np.testing.assert_allclose(frame["calibrated"], fit.at(frame["confidence"]), atol=1e-12)
    grid = np.linspace(fit.confidence[0], fit.confidence[-1], 300)
    drawn = np.interp(grid, frame["confidence"], frame["calibrated"])
    np.testing.assert_allclose(drawn, fit.at(grid), atol=1e-12)
    assert frame["weight"][::2].sum() == 600
    assert frame["lo"].is_nan().all()  # no users, no confidence band


def test_consistency_band_holds_a_calibrated_model_and_misses_an_overconfident_one():
    inside = {}
    for slope in (1.0, 0.3):
        found = []
        for seed in range(30):
            frame = corp_curve(*simulate(800, slope, seed), draws=100, seed=seed)
            found.append(((frame["calibrated"] >= frame["null_lo"]) & (frame["calibrated"] <= frame["null_hi"])).mean())
        inside[slope] = np.mean(found)
    assert inside[1.0] > 0.85
    assert inside[0.3] < 0.4


def test_users_who_repeat_themselves_widen_the_band():
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(60), 20)
    own = rng.normal(0, 1.5, 60)[users]
    p = rng.choice([0.6, 0.75, 0.9], 1200)
    y = (rng.random(1200) < 1 / (1 + np.exp(-own - np.log(p / (1 - p))))).astype(float)
    width = {}
    for name, ids in (("users", users), ("rows", np.arange(1200))):
        frame = corp_curve(p, y, users=ids, draws=200)
        width[name] = (frame["hi"] - frame["lo"]).mean()
    assert width["users"] > 1.5 * width["rows"]


@pytest.mark.slow
def test_confidence_band_covers_steps():
    # three stated probabilities far apart: no pooling, so the band is that of three frequencies
    levels, truth = np.array([0.6, 0.75, 0.95]), np.array([0.6, 0.72, 0.85])
    hits = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        kind, users = rng.integers(0, 3, 900), np.repeat(np.arange(60), 15)
        own = rng.normal(0, 0.3, 60)[users]
        chance = 1 / (1 + np.exp(-(np.log(truth / (1 - truth))[kind] * np.sqrt(1 + np.pi * 0.09 / 8) + own)))
        frame = corp_curve(levels[kind], rng.random(900) < chance, users=users, draws=150, seed=seed)
        lo, hi = frame["lo"].to_numpy()[::2], frame["hi"].to_numpy()[::2]
        if len(lo) == 3:
            hits.append((lo <= truth) & (truth <= hi))
    assert len(hits) > 140
    assert 0.90 <= np.mean(hits) <= 0.99


def test_edges():
    assert np.isnan(parts(corp([], []))).all()
    assert np.isnan(corp([0.4], [1], weights=[0]).p_value)
    assert corp_curve([], [], users=[]).is_empty()
    assert corp_curve([0.4], [1], weights=[0]).is_empty()
    assert np.isnan(corp([0.4, 0.6], [1, 0], draws=0).null_miscalibration)
    assert corp([0.5, 0.5], [1, 0], draws=10).miscalibration == 0
    assert corp([0.5, 0.5], [1, 0], draws=10).p_value == 1
    assert corp_curve([0.7, 0.8], [1, 0], users=["a", "a"])["lo"].is_nan().all()
    with pytest.raises(InputError, match="isotonic: no row has a positive weight"):
        isotonic([], [])
    with pytest.raises(InputError, match="users: 1 for 2"):
        corp_curve([0.7, 0.8], [1, 0], users=["a"])
    with pytest.raises(InputError, match="score: 'crps'"):
        corp([0.7], [1], score="crps")
    with pytest.raises(InputError, match="gap: give one finite number"):
        corp([0.7], [1], score="log_loss", gap=[np.inf])
    with pytest.raises(InputError, match=r"p: row 0 is 1\.5"):
        corp_curve([1.5], [1])
