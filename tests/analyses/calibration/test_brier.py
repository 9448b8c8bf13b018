"""The decomposition of the Brier score against hand computation, scikit-learn, identities and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import brier_score_loss

from plurality.analyses.calibration.brier_decomposition import brier_parts
from plurality.analyses.calibration.calibration import debiased_l2
from plurality.errors import InputError

ORIENTATIONS = [("folded", 5), ("symmetrised", 10), ("presented", 10)]


def simulate(n, slope=1.0, seed=0):
    """Comparisons whose true log-odds are slope times the predicted ones."""
    rng = np.random.default_rng(seed)
    gap = rng.normal(0, 1.5, n)
    return 1 / (1 + np.exp(-gap)), (rng.random(n) < 1 / (1 + np.exp(-slope * gap))).astype(float)


def total(parts):
    return parts.reliability - parts.resolution + parts.uncertainty + parts.within


def values(parts):
    return [parts.score, parts.reliability, parts.resolution, parts.uncertainty, parts.within]


@pytest.mark.parametrize(("orientation", "bins"), ORIENTATIONS)
@pytest.mark.parametrize("mass", ["width", "equal"])
@pytest.mark.parametrize("corrected", [False, True])
def test_parts_add_up_to_the_score_of_sklearn(orientation, bins, mass, corrected):
    p, y = simulate(400, 0.6)
    p[:30] = 0.5  # ties of the model keep their labels
    w = np.random.default_rng(1).integers(1, 5, 400)
    parts = brier_parts(p, y, orientation=orientation, bins=bins, mass=mass, weights=w, corrected=corrected)
    assert total(parts) == pytest.approx(parts.score, abs=1e-12)
    assert parts.score == pytest.approx(brier_score_loss(y, p, sample_weight=w), abs=1e-14)


def test_parts_by_hand():
    # presented, bins (0, .5] and (.5, 1]: P = .2, .8 and Y = 1/2, 3/4 in bins of two and four rows
    p, y = [0.1, 0.3, 0.8, 0.8, 0.7, 0.9], [0, 1, 1, 1, 1, 0]
    parts = brier_parts(p, y, orientation="presented", bins=2)
    assert parts.reliability == pytest.approx(1 / 3 * 0.3**2 + 2 / 3 * 0.05**2)
    assert parts.resolution == pytest.approx(1 / 3 * (1 / 2 - 2 / 3) ** 2 + 2 / 3 * (3 / 4 - 2 / 3) ** 2)
    assert parts.uncertainty == pytest.approx(2 / 9)
    # variances of p .01 and .005, covariances .05 and −.025
    assert parts.within == pytest.approx((0.01 - 0.1) / 3 + (0.005 + 0.05) * 2 / 3)
    assert parts.score == pytest.approx((0.01 + 0.49 + 0.04 + 0.04 + 0.09 + 0.81) / 6)
    fixed = brier_parts(p, y, orientation="presented", bins=2, corrected=True)
    excess = 1 / 3 * 0.25 / 1 + 2 / 3 * 0.1875 / 3
    assert fixed.reliability == pytest.approx(parts.reliability - excess)
    assert fixed.resolution == pytest.approx(parts.resolution - excess + 2 / 9 / 5)
    assert fixed.uncertainty == pytest.approx(2 / 9 * 6 / 5)
    assert fixed.within == pytest.approx(parts.within)


def test_the_three_terms_alone_do_not_add_up_and_do_where_p_is_constant_in_bins():
    p, y = simulate(2000, 0.6)
    assert abs(brier_parts(p, y).within) > 1e-4
    p = np.random.default_rng(0).choice([0.1, 0.35, 0.72, 0.9], 500)
    y = (np.random.default_rng(1).random(500) < p).astype(float)
    assert brier_parts(p, y, orientation="presented").within == pytest.approx(0, abs=1e-15)


def test_orientations_share_reliability_but_not_the_rest():
    p, y = simulate(3000, 0.6)
    folded, symmetrised = brier_parts(p, y, orientation="folded", bins=5), brier_parts(p, y)
    accuracy = np.mean((p > 0.5) == y)
    assert symmetrised.uncertainty == pytest.approx(0.25, abs=1e-15)
    assert folded.uncertainty == pytest.approx(accuracy * (1 - accuracy), abs=1e-12)
    assert folded.reliability == pytest.approx(symmetrised.reliability, abs=1e-14)
    assert folded.within == pytest.approx(symmetrised.within, abs=1e-14)
    assert symmetrised.resolution > 2 * folded.resolution
    assert symmetrised.skill == pytest.approx(1 - 4 * np.mean((p - y) ** 2), abs=1e-13)


def test_symmetrised_is_presented_on_both_orders():
    p, y = simulate(300, 0.5)  # no p on an edge
    both = brier_parts(np.r_[p, 1 - p], np.r_[y, 1 - y], orientation="presented")
    np.testing.assert_allclose(values(brier_parts(p, y)), values(both), atol=1e-14)


def test_corrected_reliability_is_the_debiased_squared_error():
    p, y = simulate(1000, 0.6)
    for orientation, bins in ORIENTATIONS:
        parts = brier_parts(p, y, orientation=orientation, bins=bins, corrected=True)
        assert parts.reliability == pytest.approx(debiased_l2(p, y, orientation=orientation, bins=bins), abs=1e-14)


@pytest.mark.parametrize(("orientation", "bins"), ORIENTATIONS)
def test_correction_removes_the_bias_of_few_rows(orientation, bins):
    levels = np.array([0.15, 0.35, 0.65, 0.85])
    p = np.tile(levels, 12)  # 12 rows a bin, truth shrunk towards .5
    truth = 0.5 + 0.7 * (p - 0.5)
    rng = np.random.default_rng(0)
    found, plain = [], []
    for _ in range(1500):
        y = (rng.random(len(p)) < truth).astype(float)
        kind = {"orientation": orientation, "bins": bins}
        found.append(values(brier_parts(p, y, corrected=True, **kind))[1:4])
        plain.append(values(brier_parts(p, y, **kind))[1:4])
    if orientation == "folded":
        agree = np.where(p > 0.5, truth, 1 - truth)
        resolution, uncertainty = agree.var(), agree.mean() * (1 - agree.mean())
    else:
        resolution, uncertainty = truth.var(), 0.25
    expected = [((p - truth) ** 2).mean(), resolution, uncertainty]
    error = np.std(found, axis=0) / np.sqrt(1500)
    assert (np.abs(np.mean(found, axis=0) - expected) <= 4 * error + 1e-12).all()
    assert abs(np.mean(plain, axis=0)[0] - expected[0]) > 20 * error[0]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 25).flatmap(
        lambda n: st.tuples(
            arrays(float, n, elements=st.sampled_from([0.0, 0.13, 0.3, 0.5, 0.55, 0.7, 0.92, 1.0])),
            arrays(float, n, elements=st.sampled_from([0.0, 0.3, 0.5, 1.0])),
            arrays(int, n, elements=st.integers(0, 4)),
            arrays(bool, n),
        )
    )
)
def test_a_weight_is_as_many_rows_and_sides_do_not_matter(data):
    p, y, times, swap = data
    y[:2] = [0, 1]
    times[:2] = 1
    for orientation, bins in ORIENTATIONS:
        for corrected in (False, True):
            kind = {"orientation": orientation, "bins": bins, "corrected": corrected}
            weighted = brier_parts(p, y, weights=times, **kind)
            rows = brier_parts(np.repeat(p, times), np.repeat(y, times), **kind)
            np.testing.assert_allclose(values(weighted), values(rows), atol=1e-12)
            assert total(weighted) == pytest.approx(weighted.score, abs=1e-12)
            if orientation != "presented":
                q, z = np.where(swap, 1 - p, p), np.where(swap, 1 - y, y)
                np.testing.assert_allclose(
                    values(brier_parts(q, z, weights=times, **kind)), values(weighted), atol=1e-12
                )


def test_edges():
    assert np.isnan(values(brier_parts([], []))).all()
    assert np.isnan(values(brier_parts([0.4], [1], weights=[0]))).all()
    single = brier_parts([0.9], [1], corrected=True)
    assert single.score == pytest.approx(0.01)
    assert np.isnan(single.resolution)
    assert np.isnan(brier_parts([0.9], [1], orientation="folded", corrected=True).reliability)
    assert brier_parts([0.5, 0.5], [1, 0]).score == pytest.approx(0.25)
    assert brier_parts([0.5, 0.5], [1, 0]).resolution == 0
    assert np.isnan(brier_parts([0.9, 0.8], [1, 1], orientation="folded").skill)  # nothing uncertain
    with pytest.raises(InputError, match="winner stored first"):
        brier_parts([0.4, 0.6], [1, 1], orientation="presented")
    with pytest.raises(InputError, match="bins: 5 is odd"):
        brier_parts([0.4], [1], bins=5)
    with pytest.raises(InputError, match="y: row 1 is 2"):
        brier_parts([0.4, 0.2], [1, 2])
