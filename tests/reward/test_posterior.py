"""Laplace posteriors against scipy, scikit-learn and closed forms, one user at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, log_expit
from sklearn.linear_model import LogisticRegression

from plurality.reward.posterior import Bilinear, Evidence, Posterior, Prior, _derivatives, _objective, laplace


def linear(features, codes):
    """u = φ · z."""
    return (features * codes).sum(-1)


def simplex(features, codes):
    """u = φ · softmax(z), as PAL's."""
    return (features * torch.softmax(codes, -1)).sum(-1)


def scaled(features, codes):
    """u = e^z φ, as a temperature's."""
    return codes[..., 0].exp() * features[..., 0]


def gap_of(utility):
    """The log-odds of a utility: its gap."""
    return lambda first, second, codes, base: utility(first, codes) - utility(second, codes) + base


UTILITIES = {"linear": linear, "simplex": simplex, "scaled": scaled}
WIDTHS = {"linear": 3, "simplex": 3, "scaled": 1}


def drawn(name, n_users, seed, *, each=(0, 15), soft=True, size=1.0):
    """Evidence of users with unequal numbers of comparisons, the third with none, and a prior that is not round."""
    rng = np.random.default_rng(seed)
    width = WIDTHS[name]
    count = rng.integers(each[0], each[1] + 1, n_users)
    count[min(2, n_users - 1)] = 0
    user = rng.permutation(np.repeat(np.arange(n_users), count))
    first, second = size * rng.normal(size=(2, len(user), width))
    label = rng.choice([0, 0.5, 1, 0.3], len(user)) if soft else rng.integers(0, 2, len(user)).astype(float)
    weight = rng.uniform(0.2, 3, len(user)) if soft else np.ones(len(user))
    root = rng.normal(size=(width, width)) + 2 * np.eye(width)
    prior = Prior(torch.as_tensor(0.3 * rng.normal(size=width)), torch.as_tensor(root @ root.T / 3))
    evidence = Evidence(*(torch.as_tensor(a) for a in (first, second, user, label, weight, 0 * weight)))
    return evidence, prior


def objective_of_one(name, evidence, prior, user):
    """The same objective in numpy, from its definition."""
    mine = (evidence.user == user).numpy()
    a, b, y, w = (t.numpy()[mine] for t in (evidence.first, evidence.second, evidence.label, evidence.weight))
    mean, precision = prior.mean.numpy(), prior.precision.numpy()

    def value(z):
        if name == "linear":
            gap = (a - b) @ z
        elif name == "simplex":
            e = np.exp(z - z.max())
            gap = (a - b) @ (e / e.sum())
        else:
            gap = np.exp(z[0]) * (a - b)[:, 0]
        data = -(w * (y * log_expit(gap) + (1 - y) * log_expit(-gap))).sum()
        return data + 0.5 * (z - mean) @ precision @ (z - mean)

    return value


def numeric_hessian(f, z, h=1e-4):
    eye = h * np.eye(len(z))
    return np.array(
        [[(f(z + i + j) - f(z + i - j) - f(z - i + j) + f(z - i - j)) / (4 * h * h) for j in eye] for i in eye]
    )


@pytest.mark.parametrize("name", UTILITIES)
def test_mode_is_where_scipy_finds_it(name):
    evidence, prior = drawn(name, 12, seed=3)
    found = laplace(gap_of(UTILITIES[name]), evidence, prior, 12, tol=1e-9)
    for user in range(12):
        f = objective_of_one(name, evidence, prior, user)
        best = minimize(f, prior.mean.numpy(), method="BFGS", options={"gtol": 1e-9})
        np.testing.assert_allclose(found.codes[user], best.x, atol=2e-5)
        assert f(found.codes[user].numpy()) <= best.fun + 1e-9


COEFFICIENTS = {"linear": lambda z: z, "simplex": lambda z: torch.softmax(z, -1), "scaled": torch.exp}


@pytest.mark.parametrize("name", COEFFICIENTS)
@pytest.mark.parametrize("differences", [False, True])
def test_bilinear_log_odds_are_solved_a_user_at_a_time_to_the_same_end(name, differences):
    evidence, prior = drawn(name, 12, seed=3)
    whole = laplace(gap_of(UTILITIES[name]), evidence, prior, 12, tol=1e-9)
    if differences:
        evidence = replace(evidence, first=evidence.first - evidence.second, second=evidence.second[:, :0])
    found = laplace(Bilinear(COEFFICIENTS[name]), evidence, prior, 12, tol=1e-9)
    np.testing.assert_allclose(found.codes, whole.codes, atol=1e-9)
    np.testing.assert_allclose(found.covariance, whole.covariance, atol=1e-9)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_derivatives_by_user_are_those_by_row(name):
    """Also far from the mode, where the curvature of coefficients counts."""
    evidence, prior = drawn(name, 7, seed=9)
    prior = Prior(prior.mean.expand(7, -1), prior.precision.expand(7, -1, -1))
    codes = torch.as_tensor(np.random.default_rng(1).normal(size=(7, WIDTHS[name])))
    by_row = _derivatives(gap_of(UTILITIES[name]), evidence, prior, codes)
    by_user = _derivatives(Bilinear(COEFFICIENTS[name]), evidence, prior, codes)
    for expected, found in zip(by_row, by_user, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_covariance_is_the_inverse_hessian_where_codes_are_linear():
    evidence, prior = drawn("linear", 8, seed=4)
    found = laplace(gap_of(linear), evidence, prior, 8)
    for user in range(8):
        hessian = numeric_hessian(objective_of_one("linear", evidence, prior, user), found.codes[user].numpy())
        np.testing.assert_allclose(found.covariance[user], np.linalg.inv(hessian), rtol=1e-4, atol=1e-6)


def test_covariance_is_the_inverse_fisher_information_where_they_are_not():
    evidence, prior = drawn("simplex", 5, seed=5)
    found = laplace(gap_of(simplex), evidence, prior, 5)
    for user in range(5):
        z = found.codes[user].numpy()
        mine = (evidence.user == user).numpy()
        delta = (evidence.first - evidence.second).numpy()[mine]
        w = np.exp(z) / np.exp(z).sum()
        jacobian = delta @ (np.diag(w) - np.outer(w, w))
        p = expit(delta @ w)
        fisher = (jacobian * (evidence.weight.numpy()[mine] * p * (1 - p))[:, None]).T @ jacobian
        expected = np.linalg.inv(fisher + prior.precision.numpy())
        np.testing.assert_allclose(found.covariance[user], expected, rtol=1e-8)


def test_linear_codes_are_penalised_logistic_regressions():
    evidence, _ = drawn("linear", 6, seed=6, each=(20, 40), soft=False)
    sd = 0.8
    found = laplace(gap_of(linear), evidence, Prior.isotropic(3, sd), 6)
    for user in (0, 1, 3, 4, 5):
        mine = (evidence.user == user).numpy()
        x, y = (evidence.first - evidence.second).numpy()[mine], evidence.label.numpy()[mine]
        reference = LogisticRegression(C=sd**2, fit_intercept=False, solver="newton-cholesky", tol=1e-7).fit(x, y)
        np.testing.assert_allclose(found.codes[user], reference.coef_[0], atol=1e-5)


@pytest.mark.parametrize("name", UTILITIES)
def test_a_user_without_comparisons_keeps_the_prior(name):
    evidence, prior = drawn(name, 5, seed=7)
    found = laplace(gap_of(UTILITIES[name]), evidence, prior, 5)
    np.testing.assert_array_equal(found.codes[2], prior.mean)
    np.testing.assert_allclose(found.covariance[2], torch.linalg.inv(prior.precision), rtol=1e-10)
    uncertainty = found.uncertainty(prior)
    np.testing.assert_allclose(uncertainty[2], 1, rtol=1e-10)
    assert (uncertainty[[0, 1, 3, 4]] < 1).all()


def test_no_codes_no_uncertainty():
    nobody = Evidence(*(torch.zeros(3, 2, dtype=torch.float64),) * 2, torch.tensor([0, 1, 1]), *(torch.ones(3),) * 3)
    found = laplace(gap_of(lambda f, z: f[:, 0]), nobody, Prior.isotropic(0, 1.0), 4)
    assert found.codes.shape == (4, 0)
    assert found.covariance.shape == (4, 0, 0)
    np.testing.assert_array_equal(found.uncertainty(Prior.isotropic(0, 1.0)), np.zeros(4))


@pytest.mark.parametrize("name", UTILITIES)
def test_two_thousand_users_at_once_are_each_alone(name):
    evidence, prior = drawn(name, 2000, seed=8, size=3.0)
    together = laplace(gap_of(UTILITIES[name]), evidence, prior, 2000, tol=1e-9)
    for user in (0, 1, 2, 777, 1999):
        one = torch.zeros(2000, dtype=torch.bool)
        one[user] = True
        alone = laplace(gap_of(UTILITIES[name]), evidence.of_users(one), prior, 1, tol=1e-9)
        np.testing.assert_allclose(together.codes[user], alone.codes[0], atol=1e-6)
        np.testing.assert_allclose(together.covariance[user], alone.covariance[0], atol=1e-6)


@pytest.mark.parametrize("name", UTILITIES)
def test_no_step_raises_any_users_objective(name):
    evidence, prior = drawn(name, 50, seed=9, size=5.0)
    before = _objective(gap_of(UTILITIES[name]), evidence, prior, prior.mean.expand(50, -1))
    for steps in (1, 2, 3, 5, 8, 13, 40):
        codes = laplace(gap_of(UTILITIES[name]), evidence, prior, 50, max_iter=steps).codes
        now = _objective(gap_of(UTILITIES[name]), evidence, prior, codes)
        assert (now <= before + 1e-12).all()
        before = now


def test_a_far_start_reaches_the_same_mode():
    evidence, prior = drawn("linear", 20, seed=10)
    far = 30 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at_prior, from_far = (laplace(gap_of(linear), evidence, prior, 20, start=start, tol=1e-9) for start in (None, far))
    np.testing.assert_allclose(at_prior.codes, from_far.codes, atol=1e-7)


@pytest.mark.parametrize("name", UTILITIES)
@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_a_user_who_always_prefers_first_stays_finite(name, size):
    width = WIDTHS[name]
    a = size * torch.rand(200, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ones, nobody = torch.ones(200, dtype=torch.float64), torch.zeros(200, dtype=torch.int64)
    prior = Prior.isotropic(width, 1.0)
    found = laplace(gap_of(UTILITIES[name]), Evidence(a + size, -a, nobody, ones, ones, 0 * ones), prior, 1)
    assert torch.isfinite(found.codes).all()
    assert torch.isfinite(found.covariance).all()
    assert (torch.linalg.eigvalsh(found.covariance) > 0).all()
    assert found.uncertainty(prior) <= 1 + 1e-12


def test_a_weight_is_so_many_repetitions():
    evidence, prior = drawn("simplex", 6, seed=11)
    times = torch.as_tensor(np.random.default_rng(0).integers(1, 4, len(evidence.user)))
    weighted = Evidence(evidence.first, evidence.second, evidence.user, evidence.label, times.double(), evidence.base)
    rows = torch.repeat_interleave(torch.arange(len(times)), times)
    repeated = Evidence(*(t[rows] for t in (evidence.first, evidence.second, evidence.user, evidence.label)),
                        torch.ones(len(rows), dtype=torch.float64), evidence.base[rows])  # fmt: skip
    a, b = laplace(gap_of(simplex), weighted, prior, 6), laplace(gap_of(simplex), repeated, prior, 6)
    # within √eps ≈ 1.5e-8 of its mode an objective is flat to rounding, and which step is the last is chance
    np.testing.assert_allclose(a.codes, b.codes, atol=1e-7)
    np.testing.assert_allclose(a.covariance, b.covariance, atol=1e-7)


def test_a_soft_label_is_that_share_of_either_answer():
    evidence, prior = drawn("linear", 6, seed=12)
    both = Evidence(
        *(torch.cat([t, t]) for t in (evidence.first, evidence.second, evidence.user)),
        torch.cat([torch.ones_like(evidence.label), torch.zeros_like(evidence.label)]),
        torch.cat([evidence.weight * evidence.label, evidence.weight * (1 - evidence.label)]),
        torch.cat([evidence.base, evidence.base]),
    )
    np.testing.assert_allclose(
        laplace(gap_of(linear), evidence, prior, 6).codes, laplace(gap_of(linear), both, prior, 6).codes, atol=1e-7
    )


def test_uncertainty_is_the_geometric_mean_of_sd_ratios():
    prior = Prior(torch.zeros(2, dtype=torch.float64), torch.diag(torch.tensor([1.0, 0.25], dtype=torch.float64)))
    covariance = torch.diag(torch.tensor([0.25, 1.0], dtype=torch.float64))[None]  # sd ratios 1/2 and 1/2
    posterior = Posterior(torch.zeros(1, 2, dtype=torch.float64), covariance)
    np.testing.assert_allclose(posterior.uncertainty(prior), [0.5], rtol=1e-12)


def test_empirical_bayes_finds_the_population():
    """4,000 users whose codes are known exactly: the update is their covariance around the mean, nearly."""
    rng = np.random.default_rng(13)
    true = np.array([[0.5, 0.2], [0.2, 0.3]])
    codes = torch.as_tensor(rng.multivariate_normal([1, -1], true, 4000))
    updated = Prior.isotropic(2, 5.0).updated(codes, torch.zeros(4000, 2, 2, dtype=torch.float64), codes.mean(0))
    np.testing.assert_allclose(torch.linalg.inv(updated.precision), true, atol=0.06)
    spread = torch.full((4000, 2, 2), 0.0, dtype=torch.float64) + 0.1 * torch.eye(2, dtype=torch.float64)
    wider = Prior.isotropic(2, 5.0).updated(codes, spread, codes.mean(0))
    added = torch.linalg.inv(wider.precision) - torch.linalg.inv(updated.precision)
    np.testing.assert_allclose(added, 0.1 * 4000 / 4004 * np.eye(2), atol=1e-9)


def test_empirical_bayes_of_nobody_or_one_stays_proper():
    prior = Prior.isotropic(3, 1.0)
    empty = torch.zeros(0, 3, dtype=torch.float64)
    assert prior.updated(empty, torch.zeros(0, 3, 3, dtype=torch.float64), prior.mean) is prior
    one = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64)
    updated = prior.updated(one, torch.zeros(1, 3, 3, dtype=torch.float64), one[0])
    np.testing.assert_allclose(torch.linalg.inv(updated.precision), 5 / 6 * np.eye(3), rtol=1e-12)


def test_draws_of_a_user_do_not_know_who_else_is_there():
    alone = Posterior(torch.zeros(1, 2).double(), torch.tensor([[[2.0, 0.9], [0.9, 1.0]]]).double())
    nobody = Posterior(torch.zeros(1, 2).double(), torch.zeros(1, 2, 2).double())  # as rows of absent users are
    together = alone.concat(nobody).normal_points()
    torch.testing.assert_close(together[:1], alone.normal_points(), rtol=0, atol=0)
    assert not together[1].any()
