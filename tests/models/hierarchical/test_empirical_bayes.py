"""The Gaussian posterior against quadrature, empirical Bayes against planted populations, and its intervals."""

import numpy as np
import pytest
import torch
from scipy.special import log_expit

from plurality.models.hierarchical.empirical_bayes import fit
from plurality.models.hierarchical.estimates import PopulationEstimate
from plurality.models.hierarchical.gaussian import DifferenceRows, infer
from plurality.reward.posterior import Prior
from tests.models.hierarchical.worlds import world

NORMAL_90 = 1.6449


@pytest.mark.parametrize("n", [0, 1, 4, 30])
def test_one_dimension_against_quadrature(n):
    """Mean and sd of one user's code after n comparisons, by summing the exact posterior over a grid."""
    rng = np.random.default_rng(n)
    difference, label = rng.normal(size=(n, 1)), rng.integers(2, size=n).astype(float)
    rows = DifferenceRows(
        *(torch.as_tensor(a) for a in (difference, np.zeros(n, dtype=np.int64), label, np.ones(n), np.zeros(n))), 1
    )
    prior = Prior(torch.tensor([0.5], dtype=torch.float64), torch.tensor([[0.7]], dtype=torch.float64))
    found = infer(rows, prior)
    z = np.linspace(-12, 12, 24_001)
    gap = difference * z
    log_p = -0.35 * (z - 0.5) ** 2 + (label[:, None] * log_expit(gap) + (1 - label[:, None]) * log_expit(-gap)).sum(0)
    p = np.exp(log_p - log_p.max())
    mean = (p * z).sum() / p.sum()
    sd = np.sqrt((p * (z - mean) ** 2).sum() / p.sum())
    # the best Gaussian in this sense has nearly, not exactly, the moments of the posterior
    assert float(found.codes[0, 0]) == pytest.approx(mean, abs=0.03 * sd)
    assert float(found.covariance[0, 0, 0].sqrt()) == pytest.approx(sd, rel=0.03)


def test_more_comparisons_leave_less_unknown():
    told = [world(0, 50, each, 3, 3, root=np.eye(3), ratio=0.2) for each in (2, 10, 50)]
    spread = [float(fit(w.problem).posterior.covariance.diagonal(dim1=1, dim2=2).mean()) for w in told]
    assert spread[0] > spread[1] > spread[2]


def test_the_bound_never_falls_and_em_ends():
    found = fit(world(1, 80, 20, 3, 4).problem)
    assert found.converged
    assert np.diff(found.bounds).min() > -1e-6 * abs(found.bounds[-1])


def test_finds_the_planted_population():
    """400 users × 60 comparisons: standard errors of Σ's entries are about √(2/400) of the variances."""
    root = np.linalg.cholesky(np.array([[1.0, 0.4, 0.0], [0.4, 0.6, 0.0], [0.0, 0.0, 0.3]]))
    planted = world(2, 400, 60, 3, 4, root=root, ratio=0.5)
    found = fit(planted.problem)
    np.testing.assert_allclose(found.covariance, root @ root.T, atol=0.2)
    means = (planted.problem.full_design @ found.joint.coefficients).numpy()
    assert np.abs(means - planted.means).max() < 0.35
    assert np.corrcoef(found.joint.codes.flatten(), planted.z.flatten())[0, 1] > 0.93


def test_ratios_tell_factors_that_matter_from_those_that_do_not():
    nothing = fit(world(1, 200, 40, 2, 4, root=np.eye(2), ratio=0.0).problem)
    much = fit(world(1, 200, 40, 2, 4, root=np.eye(2), ratio=1.0).problem)
    assert float(nothing.ratio[0]) < 0.1 < 0.3 < float(much.ratio[0])


@pytest.mark.slow
def test_intervals_cover_over_200_simulated_data_sets():
    """Simulation-based: hyperparameters are drawn from the prior, then users, then labels.

    A standard error of a share over 200 sets is .004 (codes) to .016 (μ), since sets differ more than their entries.
    """
    covered = {"codes": [], "means by group": [], "effects": [], "population mean": []}

    def inside(name, estimate, truth, variance):
        covered[name].append((np.abs(estimate - truth) < NORMAL_90 * np.sqrt(variance)).mean())

    for seed in range(200):
        planted = world(seed, 60, 20, 2, 3)
        problem, fitted = planted.problem, fit(planted.problem)
        found, joint = PopulationEstimate.of(fitted), fitted.joint
        inside("codes", found.posterior.codes.numpy(), planted.z, _diagonal(found.posterior.covariance))
        means = (problem.full_design @ joint.coefficients).numpy()
        inside("means by group", means, planted.means, _diagonal(joint.mean_covariance(problem.full_design)))
        contrast = np.eye(3) - (problem.design > 0).double().mean(0).numpy()
        variance = np.einsum("lp,pcqc,lq->lc", contrast, found.effects_covariance.numpy(), contrast)
        inside("effects", contrast @ found.effects.numpy(), contrast @ planted.effects, variance)
        inside("population mean", fitted.mean.numpy(), planted.mu, joint.root[0, :, 0].diagonal().numpy())
    for name, shares in covered.items():
        assert np.mean(shares) == pytest.approx(0.9, abs=0.03), name


def test_without_users_told_apart_there_is_one_population():
    planted = world(5, 60, 20, 2, 3)
    found = fit(planted.problem.without_demographics())
    assert found.effects.shape == (0, 2)
    assert np.isfinite(found.bounds[-1])


def _diagonal(covariance):
    return covariance.diagonal(dim1=-2, dim2=-1).numpy()
