"""Controls: what personalisation has to beat before it may be called that."""

from dataclasses import replace

import numpy as np
import torch

from plurality.analyses.audit.labels import CONTROLS
from plurality.arrays import Int
from plurality.data.comparisons import Comparisons
from plurality.data.keys import mix
from plurality.reward.posterior import Posterior
from plurality.reward.reward_model import RewardModel

__all__ = ["another_users_beliefs", "exchanged_users", "population_beliefs", "shuffled_users"]

POPULATION, ANOTHER, SHUFFLED = CONTROLS


def population_beliefs(model: RewardModel, data: Comparisons) -> Posterior:
    """The population's prior for all users in `data.users`, whose loss is what own codes were worth.

    Rows are those of the users table regrouped by the model's unit; demographics are not looked at.

    model    fitted model
    """
    return Posterior.of_prior(model.prior, data.by_unit(model.spec.unit).users.height)


def another_users_beliefs(model: RewardModel, data: Comparisons, seed: int) -> Posterior:
    """What is believed of some other present user, for every user of `data`: a random cyclic exchange.

    A code that helps whoever it is given to is no personal taste.

    model    fitted model
    seed     of who gets whose
    """
    data = data.by_unit(model.spec.unit)
    present = data.present
    own = model.beliefs(data.users[present], "population")
    order, other = _exchange(data, seed)
    to, taken = torch.as_tensor(present[order]), torch.as_tensor(other)
    prior_beliefs = population_beliefs(model, data)
    return Posterior(
        prior_beliefs.codes.index_copy(0, to, own.codes[taken]),
        prior_beliefs.covariance.index_copy(0, to, own.covariance[taken]),
    )


def exchanged_users(data: Comparisons, seed: int) -> Comparisons:
    """The same comparisons, those of each present user under another's name: the exchange of `another_users_beliefs`.

    data    comparisons
    seed    of who gets whose
    """
    order, other = _exchange(data, seed)
    name = np.arange(data.users.height)
    name[data.present[order]] = data.present[other]
    return replace(data, user=name[data.user])


def _exchange(data: Comparisons, seed: int) -> tuple[Int, Int]:
    """Places among the present users, in a random circle, and the place of each one's neighbour."""
    order = np.argsort(mix(data.user_keys()[data.present], seed))
    return order, np.roll(order, 1)


def shuffled_users(data: Comparisons, seed: int) -> Comparisons:
    """The same comparisons dealt out to users at random, each user keeping their number of them.

    A model fitted on these has all the capacity and none of the people.

    data    comparisons
    seed    of the permutation
    """
    order = np.random.default_rng(seed).permutation(len(data))
    return replace(data, user=data.user[order])
