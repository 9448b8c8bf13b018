"""Controls: what personalisation has to beat before it may be called that."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from plurality.comparisons import Comparisons
from plurality.keys import mix
from plurality.reward import RewardModel

ANOTHER = "another user's code"
SHUFFLED = "shuffled users"


def population_codes(model: RewardModel, data: Comparisons) -> Tensor:
    """The population's code for everybody in `data.users`: (U, C). What is lost is what own codes were worth."""
    return model.prior.mean.expand(data.users.height, -1)


def another_users_codes(model: RewardModel, data: Comparisons, seed: int) -> Tensor:
    """The code of some other present user for every user of `data`: (U, C), a random cyclic exchange.

    A code that helps whoever it is given to is no personal taste.
    """
    codes = population_codes(model, data).clone()
    present = data.present
    own = model.codes(data.user_ids, "population")
    order = np.argsort(mix(data.user_keys()[present], seed))
    to = torch.as_tensor(present[order])
    codes[to] = own[torch.as_tensor(np.roll(order, 1))]
    return codes


def shuffled_users(data: Comparisons, seed: int) -> Comparisons:
    """The same comparisons dealt out to users at random, everybody keeping their number of them.

    A model fitted on these has all the capacity and none of the people.
    """
    order = np.random.default_rng(seed).permutation(len(data))
    return replace(data, user=data.user[order])
