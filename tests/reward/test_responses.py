"""Exact likelihoods of answers: statsmodels, choix, sums over all orders, and the pair that each is of two things."""

from itertools import permutations

import choix
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from statsmodels.discrete.conditional_models import ConditionalLogit
from statsmodels.miscmodels.ordinal_model import OrderedModel

from plurality.fitting.optimisers import lbfgs
from plurality.reward.links import nll
from plurality.reward.responses import cumulative_logit, multinomial_logit, plackett_luce

GAP = torch.linspace(-5, 5, 21, dtype=torch.float64)


def test_of_two_things_all_are_the_pair():
    u = torch.stack([GAP, 0 * GAP], 1)
    pair = nll(GAP, torch.ones_like(GAP))
    infinite = torch.tensor([torch.inf], dtype=torch.float64)
    for found in (
        multinomial_logit(u, torch.zeros(21, dtype=torch.int64)),
        plackett_luce(u, torch.tensor([[1.0, 0.0]]).expand(21, 2)),
        cumulative_logit(GAP, torch.zeros(1, dtype=torch.float64), infinite),
    ):
        np.testing.assert_allclose(found, pair, atol=1e-9)


def test_multinomial_logit_is_the_conditional_logit_of_statsmodels():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 4, 2))
    chosen = (x @ [1.0, -0.5] + generator.gumbel(size=(80, 4))).argmax(1)
    label = (np.arange(4) == chosen[:, None]).ravel()
    theirs = ConditionalLogit(label.astype(float), x.reshape(-1, 2), groups=np.repeat(np.arange(80), 4))
    for beta in ([0.0, 0.0], [0.7, -1.2]):
        ours = multinomial_logit(torch.as_tensor(x @ beta), torch.as_tensor(chosen)).sum()
        assert -float(ours) == pytest.approx(theirs.loglike(np.array(beta)), rel=1e-9)


def test_plackett_luce_has_the_optimum_of_choix():
    generator = np.random.default_rng(1)
    truth = np.array([0.0, 0.8, -0.5, 1.2, 0.3])
    orders = [generator.permutation(5)[:4] for _ in range(10)]
    orders = [o[np.argsort(-(truth[o] + generator.gumbel(size=4)))] for o in orders]
    theirs = choix.opt_rankings(5, [tuple(o) for o in orders], alpha=0.1, method="BFGS", tol=1e-9)
    beta = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    level = torch.tensor([[4.0, 3.0, 2.0, 1.0]]).expand(10, 4)
    u = torch.as_tensor(np.array(orders))
    lbfgs(lambda _: plackett_luce(beta[u], level).sum() + 0.1 * beta.square().sum(), [beta], steps=100)
    np.testing.assert_allclose(beta.detach() - beta.detach().mean(), theirs - theirs.mean(), atol=1e-5)


def test_rankings_in_any_order_padded_tied_or_of_the_first_few():
    u = torch.tensor([[0.3, -1.0, 0.9, 2.0]], dtype=torch.float64)
    whole = {p: float(plackett_luce(u[:, list(p)], torch.tensor([[4.0, 3, 2, 1]]))[0]) for p in permutations(range(4))}
    assert np.exp(-np.array(list(whole.values()))).sum() == pytest.approx(1)
    shuffled = plackett_luce(u[:, [2, 0, 3, 1]], torch.tensor([[2.0, 4, 1, 3]]))
    assert float(shuffled) == pytest.approx(whole[(0, 1, 2, 3)])
    padded = torch.cat([u, torch.full((1, 2), -torch.inf)], 1)
    level = torch.tensor([[4.0, 3, 2, 1, -torch.inf, -torch.inf]])
    assert float(plackett_luce(padded, level)) == pytest.approx(whole[(0, 1, 2, 3)])
    first_two = [value for p, value in whole.items() if p[:2] == (3, 0)]
    said = plackett_luce(u, torch.tensor([[2.0, 1, 1, 3]]))
    assert float(said) == pytest.approx(-logsumexp(-np.array(first_two)))  # of the last level nothing is said
    w = np.exp([0.3, -1.0, 0.9, 2.0])
    efron = (w[0] / w.sum()) * (w[1] / (w.sum() - (w[0] + w[1]) / 2))
    assert float(plackett_luce(u, torch.tensor([[2.0, 2, 1, 1]]))) == pytest.approx(-np.log(efron))


def test_cumulative_logit_is_the_ordered_model_of_statsmodels():
    generator = np.random.default_rng(2)
    x = generator.normal(size=(150, 1))
    cuts = np.array([-1.0, 0.4, 1.5])
    y = ((1.3 * x + generator.logistic(size=(150, 1))) > cuts).sum(1)
    model = OrderedModel(pd.Series(y), x, distr="logit")
    theirs = model.loglike(np.r_[0.9, cuts[0], np.log(np.diff(cuts))])
    bounds = torch.as_tensor(np.r_[-np.inf, cuts, np.inf])
    u = torch.as_tensor(0.9 * x[:, 0]).requires_grad_()
    ours = cumulative_logit(u, bounds[y], bounds[y + 1]).sum()
    ours.backward()
    assert -ours.item() == pytest.approx(theirs, rel=1e-9)
    assert torch.isfinite(u.grad).all()
