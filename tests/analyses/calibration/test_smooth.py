"""Smooth calibration error against a brute-force integral, relplot, closed forms and symmetries."""

import numpy as np
import pytest
import relplot
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq

from plurality.analyses.calibration.smooth import smooth_ece, smooth_ece_at, smooth_ece_null
from plurality.errors import InputError


def simulate(n, slope=1.0, seed=0):
    """Comparisons whose true log-odds are slope times the predicted ones."""
    rng = np.random.default_rng(seed)
    gap = rng.normal(0, 1.5, n)
    return 1 / (1 + np.exp(-gap)), (rng.random(n) < 1 / (1 + np.exp(-slope * gap))).astype(float)


def both(p, y):
    return np.concatenate([p, 1 - p]), np.concatenate([y, 1 - y])


def by_integral(p, y, width, cells=4000):
    """∫|r_s| by the midpoint rule, with the images of every row beyond 0 and 1 summed one by one."""
    t = (np.arange(cells) + 0.5) / cells
    kernel = np.zeros((cells, len(p)))
    for k in range(-4, 5):
        for image in (2 * k + p, 2 * k - p):
            kernel += np.exp(-((t[:, None] - image) ** 2) / (2 * width**2))
    residual = kernel @ (y - p) / (len(p) * width * np.sqrt(2 * np.pi))
    return np.abs(residual).mean()


@pytest.fixture
def fine_relplot(monkeypatch):
    """relplot on a mesh finer than its own 200 points."""
    monkeypatch.setattr(relplot.config, "smECE_mesh_pts", 8001)
    return relplot


@pytest.mark.parametrize("width", [0.01, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("orientation", ["symmetrised", "presented", "folded"])
def test_error_at_a_width_is_the_integral(width, orientation):
    p, y = simulate(200, 0.5)
    rows = {
        "symmetrised": both(p, y),
        "presented": (p, y),
        "folded": (np.maximum(p, 1 - p), np.where(p > 0.5, y, 1 - y)),
    }[orientation]
    assert smooth_ece_at(p, y, width, orientation=orientation) == pytest.approx(by_integral(*rows, width), abs=2e-6)


@pytest.mark.parametrize("n", [50, pytest.param(400, marks=pytest.mark.slow)])
def test_error_is_the_fixed_point_of_the_integral(n):
    p, y = simulate(n, 0.5)
    expected = brentq(lambda s: by_integral(*both(p, y), s, 2000) - s, 0.02, 0.5)
    assert smooth_ece(p, y) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("n", "slope"), [(300, 0.5), (3000, 0.5), (3000, 1.0), (30_000, 1.0)])
def test_relplot_agrees_at_a_width_and_at_its_fixed_point(fine_relplot, n, slope):
    p, y = simulate(n, slope)
    for width in (0.02, 0.08):
        assert smooth_ece_at(p, y, width) == pytest.approx(fine_relplot.smECE_sigma(*both(p, y), width), abs=5e-5)
    fixed = brentq(lambda s: fine_relplot.smECE_sigma(*both(p, y), s) - s, 0.004, 0.3, xtol=1e-6)
    assert smooth_ece(p, y) == pytest.approx(fixed, abs=1e-4)


def test_relplots_own_search_stops_within_its_step(fine_relplot):
    p, y = simulate(3000, 0.5)
    value, width = fine_relplot.smECE(*both(p, y), return_width=True)
    assert smooth_ece(p, y) == pytest.approx(width, abs=2 / 1024)  # its bisection has ten steps
    assert smooth_ece(p, y) == pytest.approx(value, abs=3e-4)


def test_closed_forms():
    # residuals of one sign stay what they are under any blur: the total mass is kept
    p, y = np.full(40, 0.3), np.full(40, 0.7)
    y[0] = 0.4
    assert smooth_ece_at(p, y, 0.2, orientation="folded") == pytest.approx(abs((y - p).mean()), abs=1e-10)
    assert smooth_ece(p, y, orientation="folded") == pytest.approx(abs((y - p).mean()), abs=1e-10)
    # without blur it is the mean absolute residual of distinct probabilities on the grid
    p, y = np.array([0.25, 0.5, 0.875]), np.array([1.0, 0.0, 0.0])
    assert smooth_ece_at(p, y, 0, orientation="presented") == pytest.approx((0.75 + 0.5 + 0.875) / 3, abs=1e-12)
    assert smooth_ece([0.2, 0.8], [0.2, 0.8]) == 0


def test_error_falls_with_width_and_the_fixed_point_is_one():
    p, y = simulate(500, 0.6)
    values = [smooth_ece_at(p, y, s) for s in np.linspace(0, 1, 21)]
    assert (np.diff(values) <= 1e-12).all()
    fixed = smooth_ece(p, y)
    assert smooth_ece_at(p, y, fixed) == pytest.approx(fixed, abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 15).flatmap(
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
    expected = smooth_ece(p, y, weights=times)
    assert smooth_ece(np.repeat(p, times), np.repeat(y, times)) == pytest.approx(expected, abs=1e-9)
    swapped = smooth_ece(np.where(swap, 1 - p, p), np.where(swap, 1 - y, y), weights=times)
    assert swapped == pytest.approx(expected, abs=1e-9)
    assert smooth_ece(p[::-1], y[::-1], weights=times[::-1]) == pytest.approx(expected, abs=1e-9)
    assert 0 <= expected <= 1


@pytest.mark.parametrize("orientation", ["symmetrised", "folded", "presented"])
def test_null_is_the_mean_error_of_a_calibrated_model(orientation):
    p, _ = simulate(150)
    rng = np.random.default_rng(5)
    found = [smooth_ece(p, (rng.random(150) < p).astype(float), orientation=orientation) for _ in range(60)]
    null = smooth_ece_null(p, orientation=orientation, draws=90)
    assert null == pytest.approx(np.mean(found), abs=5 * np.std(found) * np.sqrt(1 / 60 + 1 / 90))


def test_an_overconfident_model_stands_above_its_null_and_a_calibrated_one_does_not():
    p, y = simulate(3000, 0.5)
    assert smooth_ece(p, y) > 4 * smooth_ece_null(p, draws=20)
    p, y = simulate(3000, 1.0)
    assert smooth_ece(p, y) < 2 * smooth_ece_null(p, draws=20)


def test_edges():
    assert np.isnan(smooth_ece([], []))
    assert np.isnan(smooth_ece([0.4], [1], weights=[0]))
    assert np.isnan(smooth_ece_null([]))
    assert smooth_ece([0.5], [1]) == 0  # no pick, no error
    assert 0 < smooth_ece([0.9], [0]) <= 0.9
    assert smooth_ece([0.0, 1.0], [1, 0]) == pytest.approx(smooth_ece([1.0], [0]))
    with pytest.raises(InputError, match="winner stored first"):
        smooth_ece([0.7, 0.2], [1, 1], orientation="presented")
    with pytest.raises(InputError, match="width: -1"):
        smooth_ece_at([0.7], [1], -1)
    with pytest.raises(InputError, match="p: row 0 is nan"):
        smooth_ece([np.nan], [1])
    with pytest.raises(InputError, match="orientation: 'sideways'"):
        smooth_ece([0.7], [1], orientation="sideways")
    with pytest.raises(InputError, match="draws: 0"):
        smooth_ece_null([0.7], draws=0)
