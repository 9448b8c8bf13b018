"""Coverage and risk: against the definition, closed forms, and a world whose doubt is known."""

import numpy as np
import pytest
from scipy.special import expit

from plurality.analyses.calibration import coverage_risk
from plurality.errors import InputError


def test_it_is_the_definition():
    rng = np.random.default_rng(0)
    p, y, w = rng.random(60), rng.integers(0, 2, 60), rng.integers(0, 4, 60)
    unsure = rng.integers(0, 8, 60).astype(float)
    found = coverage_risk(p, y, unsure, weights=w)
    for coverage, risk, level in zip(found.coverage, found.risk, found.unsure, strict=True):
        kept = unsure <= level
        assert coverage == pytest.approx(w[kept].sum() / w.sum())
        assert risk == pytest.approx(np.average((p[kept] > 0.5) != y[kept], weights=w[kept]))
    repeated = coverage_risk(*(np.repeat(v, w) for v in (p, y, unsure)))
    np.testing.assert_allclose(repeated.risk, found.risk)
    assert repeated.area == pytest.approx(found.area)
    order = rng.permutation(60)
    np.testing.assert_allclose(coverage_risk(p[order], y[order], unsure[order], weights=w[order]).risk, found.risk)
    np.testing.assert_allclose(coverage_risk(1 - p, 1 - y, unsure * 7, weights=w).risk, found.risk)


def test_the_surest_half_of_a_known_world():
    """Gaps uniform on [0, 4]: of those above t the risk is the mean of σ(−g) over [t, 4]; doubt at random is flat."""
    rng = np.random.default_rng(1)
    gap = rng.uniform(0, 4, 40_000) * rng.choice([-1, 1], 40_000)
    y = rng.random(40_000) < expit(gap)
    by_size = coverage_risk(expit(gap), y, -np.abs(gap))
    fall = np.log1p(np.exp(-2.0)) - np.log1p(np.exp(-4.0))
    assert by_size.at(0.5) == pytest.approx(fall / 2, abs=0.006)
    at_random = coverage_risk(expit(gap), y, rng.random(40_000))
    assert at_random.at(0.5) == pytest.approx(at_random.risk[-1], abs=0.01)
    assert by_size.area < at_random.area - 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coverage_risk([0.5], [1], [np.nan]), "give a number for each of 1 rows"),
        (lambda: coverage_risk([0.5], [1], [1, 2]), "shape"),
        (lambda: coverage_risk([0.5], [1], [1], weights=[0]), "no row has weight"),
        (lambda: coverage_risk([], [], []), "no row has weight"),
        (lambda: coverage_risk([0.5], [1], [1]).at(0), "is not a share"),
    ],
)
def test_what_has_no_curve(call, message):
    with pytest.raises(InputError, match=message):
        call()
