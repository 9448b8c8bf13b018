"""Links against scipy, finite differences and the algebra of the logistic."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, log_expit

from plurality.reward.links import log_prob, nll, prob, win

GAPS = torch.tensor([-745.0, -40.0, -3.2, -1e-9, 0.0, 1e-9, 0.7, 36.0, 745.0], dtype=torch.float64)


def test_values_against_scipy():
    np.testing.assert_allclose(prob(GAPS), expit(GAPS.numpy()), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(log_prob(GAPS), log_expit(GAPS.numpy()), rtol=1e-13, atol=1e-300)


@given(st.floats(-1e3, 1e3), st.floats(0, 1))
def test_nll_is_the_cross_entropy_and_exchanging_sides_changes_nothing(gap, label):
    g, y = torch.tensor(gap, dtype=torch.float64), torch.tensor(label, dtype=torch.float64)
    expected = -(label * log_expit(gap) + (1 - label) * log_expit(-gap))
    np.testing.assert_allclose(nll(g, y), expected, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(nll(-g, 1 - y), expected, rtol=1e-9, atol=1e-12)
    assert abs(float(prob(g) + prob(-g)) - 1) < 1e-14


@given(st.integers(1, 3), st.integers(0, 6), st.integers(1, 6))
def test_win_is_the_mean_over_a_person_s_own_references(people, items, references):
    rng = np.random.default_rng(people + 10 * items + 100 * references)
    u, against = rng.normal(size=(people, items)), rng.normal(size=(people, references))
    expected = expit(u[:, :, None] - against[:, None, :]).mean(2)
    np.testing.assert_allclose(win(torch.as_tensor(u), torch.as_tensor(against)), expected, rtol=1e-12)


def test_nll_of_a_tie_is_least_at_no_gap():
    gaps = torch.linspace(-3, 3, 61, dtype=torch.float64)
    loss = nll(gaps, torch.full_like(gaps, 0.5))
    assert int(loss.argmin()) == 30
    np.testing.assert_allclose(loss[30], np.log(2), rtol=1e-15)


def test_gradient_and_curvature_of_nll():
    gap = GAPS[1:-1].clone().requires_grad_()
    label = torch.linspace(0, 1, len(gap), dtype=torch.float64)
    (slope,) = torch.autograd.grad(nll(gap, label).sum(), gap, create_graph=True)
    (curve,) = torch.autograd.grad(slope.sum(), gap)
    p = expit(gap.detach().numpy())
    np.testing.assert_allclose(slope.detach(), p - label.numpy(), atol=1e-15)
    np.testing.assert_allclose(curve, p * expit(-gap.detach().numpy()), rtol=1e-9, atol=1e-15)


def test_single_precision_stays_finite_where_it_saturates():
    gap = torch.tensor([-1e6, -200.0, 200.0, 1e6], requires_grad=True)
    loss = nll(gap, torch.tensor([1.0, 1.0, 0.0, 0.5]))
    loss.sum().backward()
    np.testing.assert_allclose(loss.detach(), [1e6, 200, 200, 5e5], rtol=1e-6)
    np.testing.assert_allclose(gap.grad, [-1, -1, 1, 0.5], rtol=1e-6)
