"""Ensembles: bootstraps of people, the law of total variance, one reward at every door, coverage where one has none."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.models.bradley_terry import BradleyTerry
from plurality.models.ensemble import Ensemble
from plurality.models.ensemble.bootstrap import resampled, times
from plurality.models.ensemble.head import EnsembleHead
from plurality.models.low_rank import LowRank
from plurality.models.maxmin.head import Mixture
from plurality.reward.links import prob
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.reward_model import load
from plurality.reward.spread import utility_sd

POPULATION, NEW = planted.low_rank(24, rank=2, width=5, scale=2.0, seed=0, unseen=5)
DATA = POPULATION.sample(12, seed=1).data
PERSONAL = BradleyTerry(temperature=True, decay=5.0)


@pytest.fixture(scope="module")
def model():
    return Ensemble(PERSONAL, n=5).fit(DATA, seed=3)


def test_people_are_drawn_whole_a_poisson_number_of_times():
    many = np.concatenate([times(DATA, seed) for seed in range(200)])
    assert many.mean() == pytest.approx(1, abs=0.06)
    assert many.var() == pytest.approx(1, abs=0.1)
    drawn = times(DATA, 4)
    data = resampled(DATA, drawn)
    assert data.users.height == drawn.sum() == len(set(data.user_ids))
    assert np.bincount(data.user).tolist() == [12] * drawn.sum()
    twice = int(np.flatnonzero(drawn > 1)[0])
    rows = DATA.user == twice
    copies = [np.flatnonzero((data.first[data.user == u][:, None] == DATA.first[rows]).all()) for u in data.present]
    assert len(copies) == drawn.sum()
    labels = [tuple(data.label[data.user == u]) for u in data.present]
    assert sorted(labels) == sorted(tuple(DATA.label[DATA.user == u]) for u, k in enumerate(drawn) for _ in range(k))


def test_the_draw_knows_neither_order_nor_names():
    order = np.random.default_rng(0).permutation(24)
    moved = replace(DATA, users=DATA.users[order], user=np.argsort(order)[DATA.user]).swapped()
    np.testing.assert_array_equal(times(moved, 7), times(DATA, 7)[order])


def test_utility_is_the_mean_of_members_and_its_sd_that_of_both_kinds(model):
    """Members' own posteriors, taken apart by hand: between them with K − 1 degrees of freedom, and within."""
    head, k = model.head, 5
    features, own = model.features(DATA.items[:30]), head.posteriors(model.posterior)
    each = np.stack([model_k(head, features, own, i).numpy() for i in range(k)])
    u, sd = model.utility(DATA.items[:30], return_sd=True)
    np.testing.assert_allclose(u, each.mean(0), atol=1e-4)
    centre = model.centre()
    gap = each - np.stack([model_k(head, centre, own, i).numpy() for i in range(k)])
    between = gap.var(0, ddof=1) * (k - 1) / (k - 3) * (1 + 1 / k)
    within = []
    for i, (f, c) in enumerate(zip(features.split(head.sizes, -1), centre.split(head.sizes, -1), strict=True)):
        within.append(utility_sd(head.members[i], f, c, own[i].codes, own[i].covariance).square().numpy())
    np.testing.assert_allclose(sd, np.sqrt(between + np.mean(within, 0)), rtol=1e-3)
    np.testing.assert_allclose(
        head.by_member(features[:1], model.posterior.codes[:1].float())[:, 0], each[:, 0, 0], atol=1e-4
    )


def model_k(head, features, own, i):
    return head.members[i].population(features.split(head.sizes, -1)[i], own[i].codes.float())


@pytest.mark.parametrize("groups", [None, (2, 3)])
def test_predictions_average_members_probabilities(groups):
    """Members with as many points each, and mixtures of two and of three groups, whose points differ in number."""
    made = torch.Generator().manual_seed(0)
    if groups is None:
        heads = [PERSONAL.head(5, made) for _ in range(4)]
    else:
        heads = [Mixture(5, groups=groups[i % 2], hard=False, generator=made) for i in range(4)]
    own = []
    for i, member in enumerate(heads):
        member.projector.linear.data.normal_(generator=made)
        z = torch.randn(3, member.n_codes, generator=made).double().softmax(-1)
        own.append(Posterior(z, 0.1 * torch.eye(member.n_codes).double().expand(3, -1, -1) * (i + 1)))
    head = EnsembleHead(heads).requires_grad_(False)
    joined = head.joined(own)
    for mine, back in zip(own, head.posteriors(joined), strict=True):
        torch.testing.assert_close(mine.covariance, back.covariance)
    a, b = (head.features(torch.randn(3, 5, generator=made), None) for _ in range(2))
    points, log_weight = head.points(joined)
    odds = head.log_odds(a[:, None], b[:, None], points.float()).double()
    found = (prob(odds) * log_weight.exp()).sum(-1)
    wanted = []
    for member, mine, f, g in zip(heads, own, a.split(head.sizes, -1), b.split(head.sizes, -1), strict=True):
        z, w = member.points(mine)
        wanted.append((prob(member.log_odds(f[:, None], g[:, None], z.float())).double() * w.exp()).sum(-1))
    np.testing.assert_allclose(found, torch.stack(wanted).mean(0), atol=1e-5)


def test_priors_come_back():
    made = torch.Generator().manual_seed(0)
    head = EnsembleHead([PERSONAL.head(5, made) for _ in range(4)])
    priors = [Prior.isotropic(1, 0.5 + i) for i in range(4)]
    joined = head.joined_prior(priors)
    for mine, back in zip(priors, head.priors(joined), strict=True):
        torch.testing.assert_close(mine.precision, back.precision)
    unseen = Posterior.of_prior(joined, 2)
    torch.testing.assert_close(unseen.covariance, head.joined([Posterior.of_prior(p, 2) for p in priors]).covariance)


def test_it_is_saved_adapted_and_asked_like_any_reward(model, tmp_path):
    again = load(model.save_pretrained(tmp_path / "reward"))
    assert again.spec == model.spec
    assert len(again.spec.members) == 5
    np.testing.assert_array_equal(again.prefer(DATA), model.prefer(DATA))
    support = NEW.sample(10, seed=5).data
    known = again.adapt(support)
    ids = support.user_ids
    before = again.utility(DATA.items[:20], ids, unknown="population", return_sd=True)[1]
    assert known.utility(DATA.items[:20], ids, return_sd=True)[1].mean() < before.mean()
    assert known.users["uncertainty"].max() < 1


def test_it_starts_from_a_base_as_its_members_do():
    """A base that is the population's own reward is found to be worth what it is, and is in no standard deviation."""
    world, _ = planted.taste_groups(24, shares=(1.0,), width=5, seed=2)
    data = world.sample(12, seed=3).data
    data = replace(data, base=world.utility(data.items, world.theta[:1]) / 3)
    model = Ensemble(BradleyTerry(decay=50.0), n=4).fit(data, seed=0)
    assert model.base == pytest.approx(3, rel=0.35)
    items, ids = data.items[:10], ["user-0"]
    near, far = (model.utility(items, ids, base=b, return_sd=True) for b in (data.base[:10], data.base[:10] + 2))
    np.testing.assert_allclose(far[0] - near[0], 2 * model.base, rtol=1e-4)
    np.testing.assert_array_equal(far[1], near[1])


def test_settings_of_members_are_text():
    spec = Ensemble(LowRank(rank=2, weights="signed", unit="country"), n=4)
    assert spec.spec == 'low_rank {"rank": 2, "weights": "signed"}'
    assert spec.unit == "country"
    assert Ensemble(spec.spec, n=4, unit="country") == spec
    assert json.loads(json.dumps(spec.spec)) == spec.spec


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ensemble(n=3), "give 4 or more"),
        (lambda: Ensemble(Ensemble()), "its members are ensembles"),
        (lambda: Ensemble("low_rank {rank"), "is not a family with settings"),
        (lambda: Ensemble('low_rank {"ranks": 2}'), "is not a family with settings"),
        (lambda: Ensemble("lowrank"), "model 'lowrank' is unknown"),
        (lambda: Ensemble(LowRank(unit="age"), unit="country"), "the unit is 'country', its members' 'age'"),
    ],
)
def test_what_is_no_ensemble(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.slow
def test_one_reward_for_all_has_an_sd_that_covers():
    """Bradley–Terry of 600 answers, whose codes know nothing: 90 % intervals over twelve worlds, and no sd before."""
    inside = []
    for seed in range(12):
        world, _ = planted.taste_groups(60, shares=(1.0,), width=16, seed=seed)
        fitted = Ensemble(BradleyTerry(), n=8).fit(world.sample(10, seed=10 + seed).data, seed=0)
        items = np.random.default_rng(seed).standard_normal((50, 16), dtype=np.float32)
        centre = np.mean([m.projector.mean.numpy() for m in fitted.head.members], 0)[None]
        u, sd = fitted.utility(items, ["user-0"], return_sd=True)
        truth = world.utility(items, world.theta[:1]) - world.utility(centre, world.theta[:1])
        inside.append(np.mean(np.abs(u - fitted.utility(centre, ["user-0"]) - truth) < 1.645 * sd))
    assert 0.87 <= np.mean(inside) <= 0.93


def test_a_bootstrap_of_few_people_has_somebody_in_it():
    population, _ = planted.taste_groups(2, shares=(1.0,), width=3)
    data = population.sample(10, seed=0).data
    assert all(times(data.take(data.user == 0), seed).sum() > 0 for seed in range(100))
