"""Survey designs against R's survey 4.1.1 (values frozen from it), and the bootstrap against linearisation."""

import numpy as np
import pytest

from plurality.analyses.inference.raking import kish
from plurality.analyses.inference.survey import (
    Replicates,
    SurveyDesign,
    bootstrap_weights,
    jackknife_weights,
    survey_mean,
    survey_ratio,
)
from plurality.errors import InputError

I = np.arange(48)  # noqa: E741 - as in the R code: i <- 0:47
STRATUM, PSU = I // 12 % 3, I // 3
X, Y = np.round(10 * np.sin(1.7 * I) + I / 3, 2), np.round(5 + np.cos(2.3 * I) * 3, 2)
W, FPC = 1 + (I * 7) % 11 / 4, np.array([9, 15, 30])[I // 12 % 3]
STRATIFIED = SurveyDesign(W, STRATUM, PSU)
SIX = 1e-9  # R printed twelve digits


def se(found):
    return float(found.se[0])


def test_taylor_linearisation_is_that_of_r():
    found = survey_mean(np.stack([X, Y], axis=1), STRATIFIED)
    np.testing.assert_allclose(found.estimate, [7.265810185185, 4.703680555556], rtol=SIX)
    np.testing.assert_allclose(found.se, [1.343401359584, 0.106602009595], rtol=SIX)
    assert found.df == 13
    assert found.deff[0] == pytest.approx(1.15656968502, rel=SIX)
    assert [found.lo[0], found.hi[0]] == pytest.approx([4.36356799489, 10.1680523755], rel=SIX)
    assert se(survey_mean(X, SurveyDesign(W, STRATUM, PSU, FPC))) == pytest.approx(0.719441711468, rel=SIX)
    plain = survey_mean(X, SurveyDesign(W))
    assert se(plain) == pytest.approx(1.35601708102, rel=SIX)
    assert plain.deff[0] == pytest.approx(1.17839409639, rel=SIX)


def test_domains_keep_the_design_and_ratios_are_linearised():
    found = survey_mean(X, STRATIFIED, domain=I % 5 != 0)
    assert float(found.estimate[0]) == pytest.approx(7.06323699422, rel=SIX)
    assert se(found) == pytest.approx(1.33447149178, rel=SIX)
    ratio = survey_ratio(X, Y, STRATIFIED)
    assert float(ratio.estimate[0]) == pytest.approx(1.54470740506, rel=SIX)
    assert se(ratio) == pytest.approx(0.30693329164, rel=SIX)


@pytest.mark.parametrize(
    ("design", "expected"),
    [(STRATIFIED, 1.34760889330), (SurveyDesign(W, STRATUM, PSU, FPC), 0.720745449385),
     (SurveyDesign(W, psu=PSU), 1.31370370801)],
)  # fmt: skip
def test_the_jackknife_is_that_of_r(design, expected):
    """JKn, JKn with a finite population, and JK1."""
    again = SurveyDesign(W, replicates=jackknife_weights(design))
    assert se(survey_mean(X, again)) == pytest.approx(expected, rel=SIX)
    if design is STRATIFIED:
        assert se(survey_ratio(X, Y, again)) == pytest.approx(0.30841992753, rel=SIX)


@pytest.mark.parametrize(("lonely", "expected"), [("adjust", 1.29978208855), ("remove", 1.17091174868)])
def test_strata_of_one_cluster(lonely, expected):
    strata = np.where(PSU == 15, 9, STRATUM)
    assert se(survey_mean(X, SurveyDesign(W, strata, PSU, lonely=lonely))) == pytest.approx(expected, rel=SIX)
    with pytest.raises(InputError, match="one cluster"):
        survey_mean(X, SurveyDesign(W, strata, PSU))
    with pytest.raises(InputError, match="left out"):
        jackknife_weights(SurveyDesign(W, strata, PSU))


@pytest.mark.parametrize(("mse", "expected"), [(False, 0.0636880122299), (True, 0.0875380786377)])
def test_replicate_weights_that_came_with_the_data(mse, expected):
    weights = W[:, None] * (1 + (I[:, None] * np.arange(1, 7)) % 3)
    given = Replicates(weights, 0.2, [1, 2, 1, 1, 0.5, 1], mse=mse)
    assert se(survey_mean(X, SurveyDesign(W, replicates=given))) == pytest.approx(expected, rel=SIX)


def test_the_bootstrap_gives_the_variance_of_linearisation():
    drawn = bootstrap_weights(STRATIFIED, 4000, seed=1)
    expected = se(survey_mean(X, STRATIFIED))
    assert se(survey_mean(X, SurveyDesign(W, replicates=drawn))) == pytest.approx(expected, rel=0.06)


def test_equal_samples_are_the_textbook_and_units_do_not_matter():
    found = survey_mean(X, SurveyDesign(np.full(48, 3.0)))
    assert se(found) == pytest.approx(X.std(ddof=1) / np.sqrt(48), rel=1e-12)
    assert found.deff[0] == pytest.approx(1, rel=1e-12)
    assert se(survey_mean(10 * X, SurveyDesign(W * 7, STRATUM, PSU))) == pytest.approx(
        10 * se(survey_mean(X, STRATIFIED))
    )
    assert 48 / kish(W) == pytest.approx(1 + W.var() / W.mean() ** 2)  # Kish's design effect of weights alone


@pytest.mark.parametrize(
    ("design", "words"),
    [({"weights": [-1.0, 1]}, "above 0"), ({"weights": [1.0, 1], "fpc": [1.5, 1.5]}, "were drawn"),
     ({"weights": [1.0, 1], "fpc": [3, 4]}, "differs within"), ({"weights": [1.0, 1], "lonely": "x"}, "lonely"),
     ({"weights": [1.0, 1], "replicates": Replicates([[1.0]], 1.0)}, "replicates")],
)  # fmt: skip
def test_designs_that_do_not_fit(design, words):
    with pytest.raises(InputError, match=words):
        survey_mean([1.0, 2.0], SurveyDesign(**design))
