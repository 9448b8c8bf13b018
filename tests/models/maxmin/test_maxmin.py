"""MaxMin: planted groups found, EM against direct maximisation, predictions as the exact mixture."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit, logsumexp
from sklearn.metrics import adjusted_rand_score

from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.fitting.optimisers import lbfgs
from plurality.models import BradleyTerry
from plurality.models.maxmin import MaxMin
from plurality.models.maxmin.fit import MixtureEM
from plurality.reward.posterior import Posterior

UNEQUAL = (10 / 11, 1 / 11)


def drawn(each, shares, seed, *, users=80, width=5, scale=4.0):
    seen, new = planted.taste_groups(users, shares=shares, width=width, scale=scale, seed=seed, unseen=40)
    return seen, new, seen.sample(each, seed=10 * seed + 1), seen.sample(100, seed=10 * seed + 2)


def hits(log_odds, data):
    return (log_odds > 0) == (data.label > 0.5)


def clustered(model, population):
    return adjusted_rand_score(population.group, model.posterior.codes.argmax(1))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_a_minority_of_one_in_eleven_is_found_and_served(seed):
    """15 comparisons a user: the planted groups, and accuracy that one reward for everybody denies the minority."""
    seen, _, train, test = drawn(15, UNEQUAL, seed)
    model = MaxMin().fit(train.data)
    assert model.spec.n_groups == 2
    assert clustered(model, seen) >= 0.98
    few = seen.group[test.data.user] == 1
    truth = hits(test.gap, test.data)[few].mean()
    assert hits(model.log_odds(test.data), test.data)[few].mean() > truth - 0.02
    assert hits(BradleyTerry().fit(train.data).log_odds(test.data), test.data)[few].mean() < 0.4
    np.testing.assert_allclose(model.report["shares"], UNEQUAL, atol=0.02)


def test_with_five_comparisons_mixing_weights_keep_the_majority_whole():
    """Hard assignment without shares tears it apart."""
    right = {True: [], False: []}
    for seed in range(4):
        seen, _, train, _ = drawn(5, UNEQUAL, seed, scale=2.0)
        for hard, found in right.items():
            k = MaxMin(n_groups=2, hard=hard, decay=0.6, n_init=1).fit(train.data).posterior.codes.argmax(1).numpy()
            found.append(max(np.mean(k == seen.group), np.mean(k != seen.group)))
    assert np.mean(right[False]) > 0.96
    assert np.mean(right[True]) < np.mean(right[False]) - 0.1


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.5), pytest.param((0.4, 0.3, 0.3), marks=pytest.mark.slow)])
def test_the_number_of_groups_is_found(shares):
    _, _, train, _ = drawn(40, shares, 3, width=8)
    model = MaxMin().fit(train.data)
    assert model.spec.n_groups == len(shares)
    if len(shares) == 1:
        assert "Bradley–Terry" in model.report["verdict"]


@pytest.mark.parametrize("hard", [False, True])
def test_the_bound_never_falls_and_is_that_of_the_penalised_likelihood(hard):
    _, _, train, _ = drawn(10, (0.6, 0.4), 5)
    model = MaxMin(n_groups=2, decay=2.0, hard=hard).fit(train.data)
    bounds = model.report["bounds"]
    assert len(bounds) > 3
    assert (np.diff(bounds) >= 0).all()
    assert max(model.report["bounds_of_starts"]) == bounds[-1]
    data = train.data
    reward = model.features(data.items).double().numpy()
    gap = reward[data.first] - reward[data.second]
    loss = np.logaddexp(0, np.where(data.label[:, None] == 1, -gap, gap))
    likelihood = -np.stack([np.bincount(data.user, loss[:, k]) for k in range(2)], 1)
    log_shares = np.log(model.report["shares"])
    head = model.head.projector
    penalty = 2.0 * float(head.linear.double().square().sum()) / 2
    if hard:
        value = likelihood.max(1).sum() - penalty
    else:
        value = logsumexp(likelihood + log_shares, axis=1).sum() + log_shares.sum() - penalty
    assert value == pytest.approx(bounds[-1], abs=1e-2)


def test_em_is_direct_maximisation_of_the_mixture_likelihood():
    """L-BFGS on the observed-data objective, from where EM ended and from near it, finds nothing better."""
    data = drawn(12, (0.6, 0.4), 6)[2].data.in_key_order()
    spec = MaxMin(n_groups=2, decay=2.0)
    model = spec.fit(data)
    head = spec.head(data.dim, torch.Generator()).double()
    fit = MixtureEM(head, data)
    generator = torch.Generator().manual_seed(0)
    for nudge in (0.0, 0.3):
        with torch.no_grad():
            head.projector.linear.copy_(model.head.projector.linear)
            head.projector.linear.add_(nudge * torch.randn(2, 5, generator=generator))
        free = torch.tensor(model.report["shares"], dtype=torch.float64).log().requires_grad_()
        head.projector.linear.requires_grad_(True)

        def loss(step, free=free):
            log_shares = free.log_softmax(0)
            evidence = (fit.likelihood() + log_shares).logsumexp(1).sum() + log_shares.sum()
            return head.penalty(2.0) - evidence

        bound = -lbfgs(loss, [head.projector.linear, free], steps=500)
        assert bound == pytest.approx(model.report["bounds"][-1], abs=1e-3)
        gap = fit.rows.gap(head, torch.eye(2, dtype=torch.float64)[torch.zeros(80, dtype=torch.int64)])
        rewards = model.features(data.items).double()
        np.testing.assert_allclose(gap.detach(), (rewards[data.first] - rewards[data.second])[:, 0], atol=2e-2)


def test_one_group_is_bradley_terry():
    data = drawn(20, (1.0,), 7)[2].data
    one, pooled = MaxMin(n_groups=1, decay=6.0).fit(data), BradleyTerry(decay=6.0).fit(data)
    np.testing.assert_allclose(one.gap(data), pooled.gap(data), atol=1e-3)
    assert (one.users["group_0"] == 1).all()


def test_predictions_are_the_exact_mixture():
    _, new, train, _ = drawn(15, (0.6, 0.4), 8)
    support, query = new.sample(3, seed=1).data, new.sample(5, seed=2).data
    model = MaxMin(n_groups=2, decay=2.0).fit(train.data).adapt(support)
    reward = model.features(query.items).double().numpy()
    responsibilities = model.codes(query.users).numpy()[query.user]
    np.testing.assert_allclose(responsibilities.sum(1), 1)
    p = (responsibilities * expit(reward[query.first] - reward[query.second])).sum(1)
    np.testing.assert_allclose(model.prefer(query), p, atol=1e-6)
    expected = (responsibilities * (reward[query.first] - reward[query.second])).sum(1)
    np.testing.assert_allclose(model.gap(query), expected, atol=1e-5)
    prior = Posterior.of_prior(model.prior, query.users.height)
    np.testing.assert_allclose(
        model.prefer(query, beliefs=prior),
        expit(reward[query.first] - reward[query.second]) @ np.array(model.report["shares"]),
        atol=1e-6,
    )


def test_responsibilities_are_bayes_rule():
    _, new, train, _ = drawn(15, (0.7, 0.3), 9)
    model = MaxMin(n_groups=2, decay=2.0).fit(train.data)
    support = new.sample(4, seed=3).data
    reward = model.features(support.items).double().numpy()
    gap = reward[support.first] - reward[support.second]
    each = np.log(expit(np.where(support.label[:, None] == 1, gap, -gap)))
    log_post = np.stack([np.bincount(support.user, each[:, k]) for k in range(2)], 1) + np.log(model.prior.mean.numpy())
    wanted = np.exp(log_post - logsumexp(log_post, axis=1, keepdims=True))
    found = model.adapt(support).codes(support.user_ids).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_uncertainty_is_entropy_and_falls():
    _, new, train, _ = drawn(15, (0.6, 0.4), 10)
    model = MaxMin(n_groups=2, decay=2.0).fit(train.data)
    long = new.sample(16, seed=4).data
    row = np.arange(len(long)) % 16
    left = [
        model.adapt(long.take(row < n)).users.filter(pl.col("user_id").str.starts_with("new"))["uncertainty"].mean()
        for n in (1, 4, 16)
    ]
    assert 1 > left[0] > left[1] > left[2] > 0


@pytest.mark.parametrize("init", ["round_robin", "random"])
def test_other_starts_arrive_too(init):
    seen, _, train, _ = drawn(30, (0.5, 0.5), 11)
    model = MaxMin(n_groups=2, decay=2.0, init=init).fit(train.data)
    assert clustered(model, seen) > 0.95


def test_ties_pull_neither_way():
    data = drawn(10, (0.5, 0.5), 12)[2].data
    tied = replace(data, label=np.full(len(data), 0.5))
    model = MaxMin(n_groups=2, decay=2.0).fit(tied)
    np.testing.assert_allclose(model.prefer(data), 0.5, atol=1e-3)


def test_settings_that_cannot_be():
    for text, settings in {
        "init 'best' is unknown; choose one of spectral": {"init": "best"},
        "n_init and n_groups must be 1 or more": {"n_groups": 0},
        "decay 0 is not positive": {"decay": 0},
    }.items():
        with pytest.raises(InputError, match=text):
            MaxMin(**settings)
    data = drawn(5, (1.0,), 0, users=3)[2].data
    with pytest.raises(InputError, match="7 groups of 3 users cannot be told apart"):
        MaxMin(n_groups=7).fit(data)
