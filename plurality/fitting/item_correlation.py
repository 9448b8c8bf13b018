"""How much a user's comparisons of one item say the same thing: chosen on items, and users, held out from a fit.

Codes are inferred as `adapt` infers them and judged on items new to their users, who were fitted to or not, so that
codes which take a person's view of an item for a taste are found out. It takes one more fit, to a part of the data.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from plurality.data.comparisons import Comparisons
from plurality.data.keys import Keys, combine, mix
from plurality.data.splits import folds_apart, held_share
from plurality.errors import InputError, InputWarning
from plurality.fitting.search import walk
from plurality.fitting.tuning import MIN_INNER_ROWS, SPLIT_SEED, FitOptions
from plurality.reward.fitted import Trace
from plurality.reward.links import nll
from plurality.reward.repeated_items import repeats
from plurality.reward.reward_model import RewardModel

CORRELATIONS = (0.0, 0.3, 1.0, 3.0, 10.0, 100.0)  # at the last, codes are all but the population's
FEW_REPEATS = 1.0  # further comparisons of an item, on average, below which there is next to nothing to discount
HELD_ITEMS = 0.25  # share of items held out: once of users fitted to, each share in turn of the others
HELD_USERS = 1 / 3  # share of users held out
SEED = SPLIT_SEED + 100  # of what is held out here: whatever the seed of the fit, and not what settings were chosen on
MAX_ROWS = 40_000  # comparisons of as many users as have them, beyond which others are not asked
ENOUGH_ROWS = 3_000  # comparisons to judge by, at which no more shares of items are held out

Fit = Callable[[Comparisons, FitOptions], RewardModel]


@dataclass(frozen=True)
class _Round:
    """Comparisons that codes are inferred from, and those on other items that they are judged by."""

    known: Comparisons
    test: Comparisons


def choose(fit: Fit, data: Comparisons, run: FitOptions, trace: Trace) -> float:
    """The ρ of `discounted` under which codes predict held-out items best; 0 where items hardly recur.

    fit      fits the family to comparisons
    data     comparisons that the family is fitted to
    run      seed, device and whom held-out items are new to
    trace    gets a row a ρ
    """
    if np.average(repeats(data), weights=data.weight) < FEW_REPEATS:
        return 0.0
    train, rounds = _held_out(data, run)
    if len(train) < MIN_INNER_ROWS or sum(len(r.test) for r in rounds) < MIN_INNER_ROWS:
        trace.add("too few comparisons to hold items and users out: all count in full", math.nan, math.nan)
        return 0.0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # what is to be said is said of the fit on everything
            model = fit(train, replace(run, diagnostics=False, progress=False))
    except InputError as reason:  # the part may have too few users for the family, or all of one kind
        trace.add(f"all comparisons count in full, as a part cannot be fitted: {reason}", math.nan, math.nan)
        return 0.0
    if not model.head.n_codes:
        trace.add("all comparisons count in full, as a part of them gives no codes", math.nan, math.nan)
        return 0.0

    def value_at(correlation: float) -> float:
        value = _held_out_nats(replace(model, item_correlation=correlation), rounds)
        trace.add(f"item correlation {correlation:g}", math.nan, math.nan, value)
        return value

    return walk(value_at, CORRELATIONS[0], [CORRELATIONS[1:]])[0]


def _held_out(data: Comparisons, run: FitOptions) -> tuple[Comparisons, list[_Round]]:
    """What to fit to, without some users and items, and rounds to judge by: the first of all users, then of the new."""
    marks = user_marks(data)
    data = data.take(held_share(marks, min(1.0, MAX_ROWS / len(data)), SEED, 0)[data.user])
    new = held_share(marks, HELD_USERS, SEED + 1, 0)[data.user]
    train, rounds = data.take(~new), list[_Round]()
    for fold in range(round(1 / HELD_ITEMS)):
        rest, held = folds_apart(data, HELD_ITEMS, SEED, fold, new_items_for=run.new_items_for)
        if fold == 0:
            train, who = data.take(rest & ~new), np.ones_like(new)
        else:
            who = new
        if sum(len(r.test) for r in rounds) >= ENOUGH_ROWS:
            break
        if (rest & who).any() and (held & who).any():
            rounds.append(_Round(data.take(rest & who), data.take(held & who)))
    return train, rounds


def user_marks(data: Comparisons) -> Keys:
    """A key of each user made of what they compared and how, so that no name, order or repetition counts: (U,).

    data    comparisons
    """
    pair = combine(data.item_keys[data.first], data.item_keys[data.second])
    said = np.stack([data.user.astype(np.uint64), combine(pair, mix(data.label.view(np.int64)))])
    user, key = np.unique(said, axis=1)
    marks = np.zeros(data.users.height, dtype=np.uint64)
    np.add.at(marks, user.astype(np.int64), key)
    return marks


def _held_out_nats(model: RewardModel, rounds: Sequence[_Round]) -> float:
    """Nats a comparison of all rounds, codes inferred anew as the model's correlation has it."""
    nats, weight = 0.0, 0.0
    for part in rounds:
        odds = model.adapt(part.known, replace=True).log_odds(part.test, unknown="population")
        nats += float(nll(torch.as_tensor(odds), torch.as_tensor(part.test.label)).numpy() @ part.test.weight)
        weight += float(part.test.weight.sum())
    return nats / weight
