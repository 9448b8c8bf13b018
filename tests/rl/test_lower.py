"""Rewards some standard deviations below what is expected: against the closed form, and draws of the code."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from plurality.errors import InputError
from plurality.reward.posterior import Posterior
from plurality.rl.environment import EnvironmentSettings, function_of
from plurality.rl.reward_function import RewardFunction

USERS = ["ann", "bob", "ann", "7", "who?", "bob"]


@pytest.fixture(scope="module")
def unsure(model):
    """Codes of which little is not known, so that the first order is all there is; each user's in its own way."""
    rng = np.random.default_rng(3)
    roots = torch.as_tensor(rng.normal(size=(3, 6, 6))) * 0.02
    return replace(model, posterior=Posterior(model.posterior.codes, roots @ roots.mT))


@pytest.fixture
def said(texts):
    return texts(6, 1)


def test_raw_rewards_are_lowered_by_the_sd_that_score_gives(unsure, lsa, said):
    sure, low = (RewardFunction(unsure, lower=k)(["p"] * 6, said, user_id=USERS) for k in (0.0, 2.0))
    items = lsa.encode([""] * 6, said)
    reward, sd = unsure.score(items, np.arange(6), USERS, unknown="population", return_sd=True)
    np.testing.assert_allclose(sure, reward, atol=1e-5)
    np.testing.assert_allclose(low, reward - 2 * sd, atol=1e-5)
    assert (sd > 0).all()


def test_of_a_scaled_utility_it_is_the_scaled_ones_sd(unsure, lsa, said, texts):
    """Against 4,000 draws of ann's code, for a chance to win, a standard score and a win over the row's own."""
    pool = texts(5, 9)
    covariance = unsure.posterior.covariance[0].numpy()
    draws = np.random.default_rng(0).multivariate_normal(unsure.posterior.codes[0].numpy(), covariance, 4000)
    x, r = (lsa.encode([""] * len(t), t) @ draws.T for t in (said, pool))
    wanted = {
        "win": expit(x[:, None] - r).mean(1),
        "z": (x - r.mean(0)) / r.std(0),
    }
    for how, values in wanted.items():
        at = {
            k: RewardFunction(unsure, normalise=how, reference=([""] * 5, pool), lower=k)(
                ["p"] * 6, said, user_id=["ann"] * 6
            )
            for k in (0.0, 1.0)
        }
        np.testing.assert_allclose(np.subtract(at[0.0], at[1.0]), values.std(1), rtol=0.1, atol=2e-4)
    other = texts(6, 11)
    against = [
        RewardFunction(unsure, normalise="win", reference="other", lower=k)(
            ["p"] * 6, said, user_id=["ann"] * 6, other=other
        )
        for k in (0.0, 1.0)
    ]
    drawn = expit(x - lsa.encode([""] * 6, other) @ draws.T).std(1)
    np.testing.assert_allclose(np.subtract(*against), drawn, rtol=0.1, atol=2e-4)


@pytest.mark.parametrize("how", ["raw", "win", "z"])
def test_under_a_rule_each_person_s_utility_is_lowered_first(unsure, said, texts, how):
    """So the mean over people is the mean of what each has alone."""
    reference = None if how == "raw" else ([""] * 5, texts(5, 9))
    common = {"normalise": how, "reference": reference, "lower": 1.5}
    fair = RewardFunction(unsure, rule="mean", **common)(["p"] * 6, said)
    own = RewardFunction(unsure, **common)
    each = [own(["p"] * 6, said, user_id=user) for user in unsure.user_ids]
    np.testing.assert_allclose(fair, np.mean(each, 0), atol=1e-5)


def test_blocks_of_people_change_nothing(unsure, said, monkeypatch):
    fair = RewardFunction(unsure, rule="mean", lower=1.0)
    whole = fair(["p"] * 6, said)
    monkeypatch.setattr("plurality.rl.scoring.CELLS", 1)
    np.testing.assert_allclose(fair(["p"] * 6, said), whole, atol=1e-6)


def test_where_the_trainer_takes_a_name(folder, model, said):
    named = function_of(EnvironmentSettings(reward=str(folder), lower="1.5"))
    mine = RewardFunction(model, lower=1.5)
    np.testing.assert_allclose(named(["p"] * 6, said, user_id=USERS), mine(["p"] * 6, said, user_id=USERS), atol=1e-6)


@pytest.mark.parametrize("lower", [-1.0, np.nan, np.inf])
def test_what_is_no_lower_bound(model, lower):
    with pytest.raises(InputError, match="is not a number of standard deviations"):
        RewardFunction(model, lower=lower)
