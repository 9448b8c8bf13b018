"""An ensemble as a reward: rules over its members, each completion's by its own user, and how far they differ."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from plurality.errors import InputError
from plurality.models.ensemble import Ensemble
from plurality.models.ensemble.head import EnsembleHead
from plurality.models.low_rank import LowRank
from plurality.reward.posterior import Posterior, Prior
from plurality.rl.best_of_n import best_of_n
from plurality.rl.reward_function import RewardFunction
from plurality.rl.rules.registry import BRME

WIDTH, K = 6, 4
USERS = ["ann", "bob", "ann", "7", "who?", "bob", "7", "ann"]


@pytest.fixture(scope="module")
def tastes():
    """(K, U + 1, d): u_k(x, user) = ⟨x, taste⟩, the last those of a user nothing is known of."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(1, 4, WIDTH)) + 0.5 * rng.normal(size=(K, 4, WIDTH))


@pytest.fixture(scope="module")
def several(model, tastes):
    member = LowRank(rank=WIDTH, weights="signed")
    spec = Ensemble(member, n=K)
    spec = replace(spec, members=(str(spec.spec),) * K)
    head = spec.head(WIDTH, torch.Generator()).requires_grad_(False).eval()
    assert isinstance(head, EnsembleHead)
    for one in head.members:
        one.projector.linear.copy_(torch.eye(WIDTH) * WIDTH**0.5)
    eye = 0.01 * torch.eye(WIDTH, dtype=torch.float64)
    z = torch.as_tensor(tastes)
    posterior = head.joined([Posterior(z[k, :3], eye.expand(3, -1, -1)) for k in range(K)])
    prior = head.joined_prior([Prior(z[k, 3], torch.linalg.inv(eye)) for k in range(K)])
    return replace(model, spec=spec, head=head, posterior=posterior, prior=prior)


@pytest.fixture
def said(texts):
    return texts(8, 3)


@pytest.fixture
def each(several, lsa, said, tastes):
    """(K, n) by member; a gap to the mean item, which is 0 here."""
    who = [{"ann": 0, "bob": 1, "7": 2}.get(user, 3) for user in USERS]
    return np.einsum("nd,knd->kn", lsa.encode([""] * 8, said), tastes[:, who])


def test_brme_mixes_the_worst_member_of_the_batch_with_the_mean(several, said, each):
    found = RewardFunction(several, rule="brme:0.3")(["p"] * 8, said, user_id=USERS)
    np.testing.assert_allclose(found, 0.3 * each.mean(0) + 0.7 * each[each.mean(1).argmin()], atol=1e-4)
    nominal = RewardFunction(several, rule=BRME(1.0, nominal=2))(["p"] * 8, said, user_id=USERS)
    np.testing.assert_allclose(nominal, each[2], atol=1e-4)


def test_without_a_rule_it_is_the_mean_less_what_members_differ_by(several, lsa, said, each):
    plain, low = (RewardFunction(several, lower=k)(["p"] * 8, said, user_id=USERS) for k in (0.0, 1.0))
    np.testing.assert_allclose(plain, each.mean(0), atol=1e-4)
    x = lsa.encode([""] * 8, said)
    wanted = np.sqrt(each.var(0) * K * (1 + 1 / K) / (K - 3) + 0.01 * (x**2).sum(1))
    np.testing.assert_allclose(np.subtract(plain, low), wanted, rtol=1e-3)


def test_members_are_scaled_each_by_itself(several, lsa, said, each, tastes, texts):
    pool = texts(5, 8)
    found = RewardFunction(several, rule="brme:0", normalise="win", reference=([""] * 5, pool))
    who = [{"ann": 0, "bob": 1, "7": 2}.get(user, 3) for user in USERS]
    against = np.einsum("rd,knd->knr", lsa.encode([""] * 5, pool), tastes[:, who])
    wins = expit(each[..., None] - against).mean(-1)
    np.testing.assert_allclose(found(["p"] * 8, said, user_id=USERS), wins[wins.mean(1).argmin()], atol=1e-4)
    by_column = RewardFunction(several, rule="brme:0", normalise="win", reference="other")
    other = texts(8, 12)
    theirs = np.einsum("nd,knd->kn", lsa.encode([""] * 8, other), tastes[:, who])
    wins = expit(each - theirs)
    rewards = by_column(["p"] * 8, said, user_id=USERS, other=other)
    np.testing.assert_allclose(rewards, wins[wins.mean(1).argmin()], atol=1e-4)


def test_the_best_of_n_by_the_worst_member(several, said, each, lsa, tastes):
    best = best_of_n(several, ["p", "q"], [said[:4], said[4:]], ["ann", "bob"], rule="brme:0")
    for i, user in enumerate((0, 1)):
        part = lsa.encode([""] * 4, said[4 * i : 4 * i + 4]) @ tastes[:, user].T
        worst = part[:, part.mean(0).argmin()]
        np.testing.assert_allclose(best.reward[i], worst, atol=1e-4)
        assert best.index[i] == worst.argmax()
    with pytest.raises(InputError, match="whose preference is it"):
        best_of_n(several, ["p"], [said[:4]], None, rule="brme:0")


def test_who_it_is_of_must_be_known(several, said):
    with pytest.raises(InputError, match="column user_id does not reach"):
        RewardFunction(several, rule="brme")(["p"] * 8, said)
    with pytest.raises(InputError, match="population is for a rule of people"):
        RewardFunction(several, rule="brme", population={"user_id": ["ann"]})
    with pytest.raises(InputError, match="of members, which have no standard deviation"):
        RewardFunction(several, rule="brme", lower=1.0)
