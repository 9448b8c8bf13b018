"""Which of a prompt's responses to show together: those on which people disagree."""

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from plurality.arrays import Array, Int
from plurality.errors import InputError
from plurality.reward.reward_model import RewardModel
from plurality.reward.scoring import Unknown

Float = NDArray[np.float64]
MOST_SETS = 50_000  # tried one by one; beyond, greedily and by exchange


def negatively_correlated(
    reward: RewardModel,
    items: Array,
    k: int,
    *,
    users: Sequence[str] | None = None,
    prompts: Array | None = None,
    unknown: Unknown = "error",
) -> Int:
    """Rows of the k of a prompt's M responses (M, d) whose utilities to people are most negatively correlated: (k,).

    People are `users`, or all that the model knows; `negatively_correlated_set` says how responses are chosen. The
    idea, that responses shown together should please different people, is that of Community Alignment, arXiv
    2507.09650, where they are *written* so; choosing them by a model's utilities is ours.
    Raises InputError for k outside 2 to M, or a model to which all users are alike.

    reward     fitted model
    items      (M, d) embeddings of responses
    k          number of responses
    prompts    (M, d) embeddings of their prompts, where the model looks at them
    unknown    what a user that the model does not know gets: "error" raises InputError, "population" the population's
               code
    """
    utilities = reward.utility(items, users, prompts=prompts, unknown=unknown).astype(float)
    return negatively_correlated_set(utilities, k)


def negatively_correlated_set(utilities: Float, k: int, weights: Float | None = None) -> Int:
    """The k responses with the lowest mean correlation over people of pairs of them: (U, M) -> (k,), ascending.

    A person's utilities are known up to a shift a prompt, so each person's mean over the M is taken off before
    responses are correlated, with `weights` (U,) of people; one on which all agree correlates with nothing. The mean
    is at least −1/(k − 1). It is exact for up to 50,000 sets; beyond, each response is joined by others one by one,
    they are exchanged while that helps, and the best of the M ends is taken. Raises InputError as
    `negatively_correlated` does.

    utilities    (U, M) of people and responses
    k            number of responses
    """
    count = utilities.shape[1]
    if not 2 <= k <= count:
        raise InputError(f"{k} responses cannot be chosen from {count}; give k of 2 to {count}")
    correlation = _correlations(utilities, weights)
    if not correlation.any():
        raise InputError("all users rank these responses alike, so none of them are correlated; give other people")
    if comb(count, k) <= MOST_SETS:
        sets = np.array(list(combinations(range(count), k)))
        total = sum((correlation[sets[:, i], sets[:, j]] for i, j in combinations(range(k), 2)), np.zeros(len(sets)))
        return sets[int(total.argmin())]
    return _by_exchange(correlation, k)


def _correlations(utilities: Float, weights: Float | None) -> Float:
    """Correlations over people of each pair of responses, 0 on the diagonal and where a response has no variance."""
    share = np.full(len(utilities), 1 / len(utilities)) if weights is None else weights / weights.sum()
    within = utilities - utilities.mean(1, keepdims=True)
    off = within - share @ within
    covariance = (off * share[:, None]).T @ off
    spread = np.sqrt(covariance.diagonal())
    varies = spread > 1e-9 * max(float(np.abs(within).max()), 1e-30)
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=varies)
    correlation = covariance * scale[:, None] * scale
    np.fill_diagonal(correlation, 0)
    return correlation


def _by_exchange(correlation: Float, k: int) -> Int:
    """The best of M local optima, one from each response."""
    found = [_exchanged(correlation, start, k) for start in range(len(correlation))]
    return found[int(np.argmin([correlation[np.ix_(rows, rows)].sum() for rows in found]))]


def _exchanged(correlation: Float, start: int, k: int) -> Int:
    """From one response, add the one that lowers the sum most until there are k, then exchange while that helps."""
    inside = np.zeros(len(correlation), dtype=bool)
    inside[start] = True
    for _ in range(k - 1):
        inside[np.where(inside, np.inf, correlation @ inside).argmin()] = True
    while True:
        load = correlation @ inside  # of each response with those inside
        out, into = np.flatnonzero(inside), np.flatnonzero(~inside)
        change = load[into] - load[out][:, None] - correlation[np.ix_(out, into)]
        if not change.size or change.min() >= -1e-12:
            return out
        one, other = np.unravel_index(int(change.argmin()), change.shape)
        inside[out[one]], inside[into[other]] = False, True
