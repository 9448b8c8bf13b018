"""PyMC's model by NUTS, NumPyro's by SVI and empirical Bayes: one model, and they agree on what its posterior is."""

import math

import numpy as np
import pytest
import torch
from numpyro.infer.util import log_density
from scipy.stats import halfnorm, multivariate_normal, norm

from plurality.arviz_draws import dataset_of
from plurality.errors import InputWarning
from plurality.models.hierarchical import pymc_model, svi
from plurality.models.hierarchical.empirical_bayes import fit
from plurality.models.hierarchical.estimates import PopulationEstimate
from tests.models.hierarchical.worlds import world

ROOT = np.linalg.cholesky(np.array([[0.9, 0.2], [0.2, 0.5]]))


@pytest.fixture(scope="module")
def planted():
    return world(4, 60, 20, 2, 3, root=ROOT, ratio=0.5)


@pytest.fixture(scope="module")
def draws(planted):
    return pymc_model.sample(planted.problem, draws=1000, chains=2, seed=0, progress=False)


@pytest.mark.slow
def test_draws_mix_and_carry_their_groups(draws, planted):
    state = pymc_model.diagnostics(draws)
    assert state["rhat_max"] < 1.02
    assert state["ess_min"] > 200
    assert state["divergences"] == 0
    assert all(len(dataset_of(draws, name)) for name in ("posterior", "sample_stats", "observed_data"))
    assert dict(draws["posterior"]["z"].sizes) == {"chain": 2, "draw": 1000, "user": 60, "dimension": 2}
    assert set(draws["posterior"].data_vars) == {"mu", "scale", "correlation", "effects", "ratio", "z"}
    np.testing.assert_array_equal(draws["observed_data"]["label"], planted.problem.rows.label)


@pytest.mark.slow
def test_nuts_agrees_with_empirical_bayes(draws, planted):
    by_nuts, by_bayes = pymc_model.found(draws, planted.problem), PopulationEstimate.of(fit(planted.problem))
    sd = _sd(by_nuts.posterior)
    assert (_codes(by_nuts) - _codes(by_bayes)).square().mean().sqrt() < 0.2 * sd.mean()  # Monte Carlo is half of it
    assert (_sd(by_bayes.posterior) / sd).mean() == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(by_nuts.prior.mean, by_bayes.prior.mean, atol=0.1)


@pytest.mark.slow
def test_svi_agrees_with_nuts(draws, planted):
    by_nuts, by_svi = pymc_model.found(draws, planted.problem), svi.fit(planted.problem, steps=2000, seed=0)
    assert by_svi.report["elbo"] == pytest.approx(by_svi.report["elbo_halfway"], abs=25)
    assert torch.corrcoef(torch.stack([_codes(by_nuts).flatten(), _codes(by_svi).flatten()]))[0, 1] > 0.99
    assert (_sd(by_svi.posterior) / _sd(by_nuts.posterior)).mean() == pytest.approx(1, abs=0.15)
    np.testing.assert_allclose(by_svi.prior.mean, by_nuts.prior.mean, atol=0.3)


@pytest.mark.slow
def test_numpyro_writes_the_model_as_it_is_said(planted):
    """Its joint log-density is the formula's, by scipy, but for a constant. PyMC's agrees with it by its draws."""
    problem = planted.problem
    rng = np.random.default_rng(0)
    off = []
    for _ in range(4):
        scale, rho = rng.uniform(0.3, 1.5, 2), rng.uniform(-0.8, 0.8)
        point = {
            "mu": rng.normal(size=2), "tau": rng.uniform(0.2, 1.5, 1), "effects_raw": rng.normal(size=(3, 2)),
            "scale": scale, "correlation_root": np.array([[1, 0], [rho, math.sqrt(1 - rho**2)]]),

        }  # fmt: skip
        root = scale[:, None] * point["correlation_root"]
        raw = point["tau"] * (point["effects_raw"] @ root.T)
        mean = point["mu"] + problem.design.numpy() @ raw
        point["z"] = mean + rng.normal(size=(60, 2)) @ root.T
        off.append(float(log_density(svi._model(problem), (), {}, point)[0]) - _by_hand(problem, point, mean, root))
    assert np.ptp(off) < 0.05  # single precision


def _by_hand(problem, point, mean, root):
    gap = (problem.rows.difference.numpy() * point["z"][problem.rows.user.numpy()]).sum(1)
    label = problem.rows.label.numpy()
    rho = point["correlation_root"][1, 0]
    return (
        multivariate_normal(np.zeros(2), 4 * np.eye(2)).logpdf(point["mu"])
        + halfnorm(scale=np.sqrt(1.5)).logpdf(point["scale"]).sum()
        + halfnorm().logpdf(point["tau"]).sum()
        + norm.logpdf(point["effects_raw"]).sum()
        + multivariate_normal(np.zeros(2), root @ root.T).logpdf(point["z"] - mean).sum()
        + 1.0 * math.log(1 - rho**2)  # LKJ(2) of a 2 × 2 correlation, in its off-diagonal entry
        - np.logaddexp(0, np.where(label > 0.5, -gap, gap)).sum()
    )


@pytest.mark.slow
def test_draws_that_do_not_mix_are_said_aloud(planted):
    with pytest.warns(InputWarning, match=r"draws are not to be relied on .*effective sample size"):
        pymc_model.sample(planted.problem, draws=20, chains=2, seed=0, progress=False)


def _codes(found):
    return found.posterior.codes


def _sd(posterior):
    return posterior.covariance.diagonal(dim1=1, dim2=2).sqrt()
