"""Kuiper calibration against brute force, Brownian theory and simulation."""

import numpy as np
import pytest

from plurality.analyses.calibration.calibration import kuiper
from plurality.analyses.calibration.cumulative import brownian_range_tail, knot_index
from plurality.errors import InputError


def calibrated(n, seed):
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(0, 1.5, n)))
    return p, (rng.random(n) < p).astype(float)


def test_statistic_by_brute_force():
    p, y = calibrated(60, 0)
    confidence, outcome = np.maximum(p, 1 - p), np.where(p > 0.5, y, 1 - y)
    sums = [((outcome - confidence) * (confidence <= t)).sum() / 60 for t in [0, *confidence]]
    result = kuiper(p, y)
    assert result.statistic == pytest.approx(max(sums) - min(sums), abs=1e-14)
    assert result.sigma == pytest.approx(np.sqrt((p * (1 - p)).sum()) / 60, abs=1e-15)
    assert result.ratio == pytest.approx(result.statistic / result.sigma)


def test_order_of_ties_and_of_rows_does_not_matter():
    rng = np.random.default_rng(1)
    p, y = rng.choice([0.2, 0.4, 0.6, 0.9], 200), rng.integers(0, 2, 200)
    mix = rng.permutation(200)
    assert kuiper(p, y).statistic == pytest.approx(kuiper(p[mix], y[mix]).statistic, abs=1e-13)


def test_a_weight_is_as_many_rows():
    p, y = calibrated(40, 2)
    times = np.random.default_rng(3).integers(0, 4, 40)
    weighted, rows = kuiper(p, y, weights=times), kuiper(np.repeat(p, times), np.repeat(y, times))
    assert weighted.ratio == pytest.approx(rows.ratio, abs=1e-12)


def test_tail_is_that_of_a_brownian_range():
    x = np.linspace(0, 9, 9001)
    tail = brownian_range_tail(x)
    assert np.trapezoid(tail, x) == pytest.approx(2 * np.sqrt(2 / np.pi), abs=1e-6)  # mean
    assert 2 * np.trapezoid(x * tail, x) == pytest.approx(4 * np.log(2), abs=1e-5)  # second moment, Feller
    assert (np.diff(tail) <= 1e-12).all()


def test_ratio_of_a_calibrated_model_is_a_brownian_range():
    found = [kuiper(*calibrated(1000, seed)) for seed in range(300)]
    ratios, p = np.array([f.ratio for f in found]), np.array([f.p_value for f in found])
    assert ratios.mean() == pytest.approx(1.55, abs=0.12)  # 1.596 in the limit, lower for finite n
    assert np.mean(p < 0.05) < 0.09
    assert 0.4 < p.mean() < 0.65


def test_resampling_users_agrees_with_theory_when_rows_are_independent():
    p, y = calibrated(400, 5)
    alone = kuiper(p, y, users=np.arange(400), draws=2000)
    assert alone.null_mean == pytest.approx(1.55, abs=0.12)
    assert alone.p_value == pytest.approx(kuiper(p, y).p_value, abs=0.12)


def test_resampling_users_allows_for_what_their_rows_share():
    # users lean to one side of the stated .7 by chance, not the model: rows are far from independent
    rejected = {"rows": 0, "users": 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        users = np.repeat(np.arange(40), 25)
        own = rng.beta(2.1, 0.9, 40)[users]  # mean .7
        p, y = np.full(1000, 0.7), (rng.random(1000) < own).astype(float)
        rejected["rows"] += kuiper(p, y).p_value < 0.05
        rejected["users"] += kuiper(p, y, users=users, draws=200, seed=seed).p_value < 0.05
    assert rejected["rows"] > 15
    assert rejected["users"] < 9


def test_an_overconfident_model_is_found():
    rng = np.random.default_rng(0)
    gap = rng.normal(0, 2, 2000)
    p, y = 1 / (1 + np.exp(-gap)), (rng.random(2000) < 1 / (1 + np.exp(-gap / 3))).astype(float)
    result = kuiper(p, y, users=np.arange(2000) // 20)
    assert result.ratio > 4
    assert result.p_value < 0.01


def test_knots_keep_order_and_ties():
    x = np.random.default_rng(0).choice(np.linspace(0.5, 1, 3000), 20_000)
    knot = knot_index(x, np.ones(len(x)), 64)
    order = np.argsort(x, kind="stable")
    assert (np.diff(knot[order]) >= 0).all()
    assert all(len(np.unique(knot[x == value])) == 1 for value in np.unique(x)[:50])
    assert 50 <= len(np.unique(knot)) <= 64


def test_edges():
    assert np.isnan(kuiper([], []).ratio)
    assert np.isnan(kuiper([1.0, 1.0], [1, 0]).ratio)  # nothing is left to chance
    assert np.isnan(kuiper([0.7, 0.8], [1, 0], users=["a", "a"]).p_value)
    with pytest.raises(InputError, match="cancel"):
        kuiper([0.7], [1], orientation="symmetrised")
    with pytest.raises(InputError, match="winner stored first"):
        kuiper([0.7, 0.2], [1, 1], orientation="presented")
    with pytest.raises(InputError, match="users: 1 for 2"):
        kuiper([0.7, 0.2], [1, 0], users=["a"])
