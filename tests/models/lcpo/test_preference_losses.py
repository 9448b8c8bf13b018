"""Policy losses as margins, by their definitions; and what makes smoothing biased and the other unbiased."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from plurality.errors import InputError
from plurality.models.lcpo import preference_losses as losses
from plurality.reward.links import nll, prob

RNG = np.random.default_rng(0)
D = torch.as_tensor(RNG.normal(size=200) * 3)


def softplus(x):
    return torch.nn.functional.softplus(x)


@pytest.mark.parametrize(
    ("margin", "loss"),
    [
        (lambda d: losses.dpo_margin(d, 0.3), lambda d: softplus(-0.3 * d)),
        (lambda d: losses.ipo_margin(d, 0.3), lambda d: (d - 1 / 0.6) ** 2),
        (lambda d: losses.simpo_margin(d, 1.4), lambda d: softplus(-(d - 1.4))),
        (lambda d: losses.cpo_margin(d, 0.3), lambda d: softplus(-0.3 * d) - d / 2),
    ],
    ids=["dpo", "ipo", "simpo", "cpo"],
)
def test_margin_is_the_difference_of_losses_of_both_orders(margin, loss):
    """CPO's −log π(winner) is −d/2 up to what both orders share."""
    np.testing.assert_allclose(margin(D), loss(-D) - loss(D), atol=1e-6)


def test_simpos_target_margin_does_not_shift_the_optimum():
    assert losses.simpo_margin(torch.zeros(1), 1.4).item() == 0
    slope = (losses.simpo_margin(torch.tensor(1e-5), 1.4) / 1e-5).item()
    assert slope == pytest.approx(2 * prob(torch.tensor(1.4)).item(), rel=1e-2)
    p = (1 + np.exp(0.7 + 1.4)) / (2 + np.exp(0.7 + 1.4) + np.exp(1.4 - 0.7))
    assert prob(losses.simpo_margin(torch.tensor(0.7), 1.4)).item() == pytest.approx(p)


def test_smoothing_stops_at_the_log_odds_of_the_rate():
    found = minimize_scalar(lambda s: losses.smoothed_nll(torch.tensor(s), torch.tensor(1.0), 0.2).item())
    assert found.x == pytest.approx(np.log(0.8 / 0.2), abs=1e-3)


def test_unbiased_is_the_clean_loss_on_average_over_flips():
    y = torch.as_tensor(RNG.choice([0.0, 0.5, 1.0], 200))
    mean = 0.8 * losses.unbiased_nll(D, y, 0.2) + 0.2 * losses.unbiased_nll(D, 1 - y, 0.2)
    np.testing.assert_allclose(mean, nll(D, y), atol=1e-6)
    assert losses.unbiased_nll(torch.tensor(50.0), torch.tensor(1.0), 0.2).item() == pytest.approx(-50 / 3, rel=1e-6)


def test_gradients_are_the_published_ones():
    s = D.clone().requires_grad_()
    one = torch.ones(200)
    for loss, wanted in (
        (losses.smoothed_nll, prob(D) - 0.8),
        (losses.unbiased_nll, -(0.8 * prob(-D) + 0.2 * prob(D)) / 0.6),
    ):
        (gradient,) = torch.autograd.grad(loss(s, one, 0.2).sum(), s)
        np.testing.assert_allclose(gradient, wanted, atol=1e-6)


@pytest.mark.parametrize("rate", [-0.1, 0.5, 1.0])
def test_a_rate_from_one_half_on_is_an_error(rate):
    with pytest.raises(InputError, match=r"must lie in \[0, ½\)"):
        losses.smoothed_label(torch.zeros(1), rate)
