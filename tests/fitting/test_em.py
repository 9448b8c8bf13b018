"""EM against closed forms and scipy: a bound that never falls, restarts, and an E-step at the end."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import norm

from plurality.fitting.em import best_of, em

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(-2, 1, 150), RNG.normal(1.5, 1, 50)])


def joint_log(params):
    """log share + log N(x; mean, 1) of a mixture of two normals: (N, 2)."""
    shares, means = params
    return np.log(shares) + norm.logpdf(X[:, None], means, 1)


def e_step(params):
    each = joint_log(params)
    whole = logsumexp(each, 1)
    return np.exp(each - whole[:, None]), float(whole.sum())


def m_step(soft, _):
    mass = soft.sum(0)
    return mass / mass.sum(), (soft * X[:, None]).sum(0) / mass


def start(low, high):
    return np.array([0.5, 0.5]), np.array([low, high])


def test_em_arrives_where_direct_maximisation_does():
    end = em(start(-1.0, 1.0), e_step, m_step, max_iter=1000, tol=1e-13)

    def minus_bound(free):
        share = 1 / (1 + np.exp(-free[0]))
        return -e_step((np.array([share, 1 - share]), free[1:]))[1]

    direct = minimize(minus_bound, [0.0, -1.0, 1.0], tol=1e-12)
    assert end.converged
    assert end.bound == pytest.approx(-direct.fun, abs=1e-6)
    np.testing.assert_allclose(end.params[1], direct.x[1:], atol=1e-4)


def test_the_bound_never_falls_and_the_last_step_is_an_e_step():
    end = em(start(-0.1, 0.1), e_step, m_step)
    assert (np.diff(end.bounds) >= 0).all()
    soft, bound = e_step(end.params)
    np.testing.assert_array_equal(end.responsibilities, soft)
    assert end.bound == bound
    assert end.rejected == 0


def test_a_step_that_loses_is_rejected_and_reported():
    def spoiling(soft, params):
        shares, means = m_step(soft, params)
        return shares, means + (3.0 if len(steps) > 2 else 0.0) * (steps.append(1) is None)

    steps = []
    end = em(start(-1.0, 1.0), e_step, spoiling, tol=1e-13)
    assert not end.converged
    assert end.rejected > 1
    assert (np.diff(end.bounds) >= 0).all()


def test_a_step_into_nan_is_rejected():
    end = em(start(-1.0, 1.0), e_step, lambda soft, params: (params[0] * np.nan, params[1]))
    assert not end.converged
    assert np.isfinite(end.params[0]).all()


def test_the_best_of_several_starts():
    starts = [start(0.2, 0.2), start(-1.0, 1.0), start(3.0, 3.0)]  # equal means never part
    best, bounds = best_of(starts, lambda params: em(params, e_step, m_step))
    assert len(bounds) == 3
    assert best.bound == max(bounds) == bounds[1]
    assert bounds[1] > bounds[0] + 10


def test_no_iterations_is_one_e_step():
    end = em(start(-1.0, 1.0), e_step, m_step, max_iter=0)
    assert not end.converged
    assert len(end.bounds) == 1
