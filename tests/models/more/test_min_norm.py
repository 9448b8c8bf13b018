"""Min-norm weights against closed forms, scipy and the conditions they have to meet."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from plurality.models.more.min_norm import min_norm, normalised, two_weights


def gram_of(k, d, seed, scale=None):
    g = np.random.default_rng(seed).normal(size=(k, d))
    g *= 1 if scale is None else np.asarray(scale)[:, None]
    return torch.as_tensor(g @ g.T)


@settings(max_examples=60, deadline=None)
@given(k=st.integers(2, 7), d=st.integers(1, 9), seed=st.integers(0, 10_000))
def test_no_source_is_descended_less_than_the_common_step(k, d, seed):
    """KKT: ⟨g_i, d⟩ ≥ ‖d‖² for all i, with equality where λ_i > 0."""
    gram = gram_of(k, d, seed)
    weights = min_norm(gram)
    assert weights.sum().item() == pytest.approx(1)
    assert (weights >= 0).all()
    product, size = gram @ weights, float(gram.diagonal().max())
    value = float(weights @ product)
    assert (product >= value - 1e-5 * size).all()
    assert (product[weights > 1e-3] <= value + 1e-2 * size).all()


@pytest.mark.parametrize("seed", range(5))
def test_as_scipy_finds_it(seed):
    gram = gram_of(5, 20, seed, scale=[1, 1, 3, 0.3, 1])
    rows = {"type": "eq", "fun": lambda w: w.sum() - 1}
    found = minimize(
        lambda w: w @ gram.numpy() @ w, np.full(5, 0.2), jac=lambda w: 2 * gram.numpy() @ w,
        bounds=[(0, 1)] * 5, constraints=rows, options={"ftol": 1e-14},
    )  # fmt: skip
    np.testing.assert_allclose(min_norm(gram), found.x, atol=1e-3)


def test_two_by_hand():
    a, b = np.array([3.0, 0.0]), np.array([0.0, 1.0])
    share = two_weights(torch.tensor(9.0), torch.tensor(0.0), torch.tensor(1.0)).item()
    assert share == pytest.approx(((b - a) @ b) / ((a - b) @ (a - b)))
    assert two_weights(torch.tensor(4.0), torch.tensor(2.0), torch.tensor(1.0)).item() == 0  # parallel: the shorter
    np.testing.assert_allclose(min_norm(torch.diag(torch.tensor([9.0, 1.0]))), [0.1, 0.9])


def test_without_normalising_the_smallest_gradient_takes_nearly_all():
    assert min_norm(torch.diag(torch.tensor([1.0, 100.0, 100.0])))[0].item() == pytest.approx(1 / 1.02)


def test_l2_and_two_sources_is_the_plain_mixture():
    gram = gram_of(2, 6, 3, scale=[1, 50])
    even = normalised(gram, torch.ones(2, dtype=torch.float64), "l2")
    np.testing.assert_allclose(min_norm(even), [0.5, 0.5], atol=1e-9)


def test_scalings():
    gram, losses = gram_of(3, 8, 4), torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64)
    length = gram.diagonal().sqrt()
    np.testing.assert_allclose(normalised(gram, losses, "none"), gram)
    np.testing.assert_allclose(normalised(gram, losses, "l2").diagonal(), 1.0)
    np.testing.assert_allclose(normalised(gram, losses, "loss").diagonal(), (length / losses) ** 2)
    np.testing.assert_allclose(normalised(gram, losses, "loss+").diagonal(), losses**-2.0)


def test_gradients_that_cancel_have_no_common_step():
    gram = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    weights = min_norm(gram)
    np.testing.assert_allclose(weights, [0.5, 0.5, 0.0], atol=1e-6)
    assert min_norm(torch.ones(1, 1)).tolist() == [1.0]
