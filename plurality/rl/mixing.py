"""Rewards of a user beside other rewards, and cut where they run away, so that users stay comparable.

A clip of rewards at one height, or a scale of each user's own, moves some users' rewards more than others'. Both
helpers here move a completion's reward within its user's completions of a call and leave each user's mean as it is.
"""

from collections.abc import Callable, Sequence
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np

from plurality.arrays import Float
from plurality.errors import InputError
from plurality.rl.reference import column
from plurality.rl.reward_function import RewardFunction

__all__ = ["MixedReward", "clip_within", "mix_within"]

Rewards = Sequence[float | None] | Float


def clip_within(rewards: Rewards, users: Sequence[Any], bound: float) -> Float:
    """m_u + d − mean_u(d) with d = min(max(r − m_u, −bound), bound) and m_u the mean of user u: (n,), NaN for None.

    No two rewards of a user lie further apart than 2 · bound, their order stays, and so does every user's mean.

    rewards    (n,) of completions; None has no part in it
    users      (n,) whose each is
    bound      in units of the reward, above 0

    Raises InputError for other numbers.
    """
    if not (isinstance(bound, Real) and bound > 0):
        raise InputError(f"bound={bound!r:.40} is not above 0; give how far a reward may be from its user's mean")
    values, code = _coded(rewards, users)
    mean = _means(values, code)[code]
    gap = np.clip(values - mean, -bound, bound)
    return mean + gap - _means(gap, code)[code]


def mix_within(rewards: Rewards, others: Sequence[tuple[float, Rewards]], users: Sequence[Any]) -> Float:
    """r + Σ_k w_k (o_k − mean_u(o_k)), with mean_u over the completions of user u that have a reward: (n,).

    A weight says how many units of the reward one unit of the other is worth, for every user the same, so that users'
    means and what sets them apart stay as they are. What another reward has no number for, it adds nothing to.

    rewards    (n,) of completions
    others     (w_k, (n,)) weight and values of each other reward
    users      (n,) whose each is

    Raises InputError for weights that are no finite numbers.
    """
    values, code = _coded(rewards, users)
    out = values.copy()
    for weight, given in others:
        _check_weight(weight)
        other, _ = _coded(given, users)
        other = np.where(np.isfinite(values), other, np.nan)
        out += weight * np.nan_to_num(other - _means(other, code)[code])
    return out


class MixedReward:
    """A `RewardFunction` with other rewards beside it and a bound on both, as TRL calls a reward.

    m_u + clip(r + Σ_k w_k (o_k − mean_u(o_k)) − m_u, ±bound), centred again: users' means are the reward's alone. See
    `mix_within` and `clip_within`; users are those of the rows, or all one under a rule for all.

    reward    a RewardFunction
    others    functions as TRL calls them, by the weight of each
    bound     how far a reward may be from its user's mean; None: as far as it is
    name      what metrics are called by; the reward's and "_mixed" unless given
    """

    def __init__(
        self,
        reward: RewardFunction,
        others: Sequence[tuple[float, Callable[..., Any]]] = (),
        *,
        bound: float | None = None,
        name: str | None = None,
    ) -> None:
        for weight, function in others:
            _check_weight(weight)
            if not callable(function):
                raise InputError(f"{function!r:.60} is no function; give others as pairs of a weight and a function")
        if bound is not None:
            clip_within([], [], bound)
        self.reward, self.others, self.bound = reward, tuple(others), bound
        self.__name__ = name or f"{reward.__name__}_mixed"

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Rewards (n,); None where the reward has none.

        prompts        (n,) prompts
        completions    (n,) completions
        columns        the data set's, and what else the trainer hands over
        """
        own = self.reward(prompts, completions, **columns)
        n, passed = len(own), {k: v for k, v in columns.items() if k != "log_metric"}
        users = column(columns, self.reward.user_column, n) if self.reward.needs_user else [""] * n
        given = [(weight, f(prompts=prompts, completions=completions, **passed)) for weight, f in self.others]
        mixed = mix_within(own, given, users)
        if self.bound is not None:
            mixed = clip_within(mixed, users, self.bound)
        return [float(value) if np.isfinite(value) else None for value in mixed]


def _check_weight(weight: Any) -> None:
    if not (isinstance(weight, Real) and isfinite(weight)):
        raise InputError(f"weight {weight!r:.40} is not a finite number; give what one unit of that reward is worth")


def _coded(rewards: Rewards, users: Sequence[Any]) -> tuple[Float, np.ndarray]:
    values = np.array([np.nan if r is None else r for r in rewards], dtype=np.float64)
    if len(values) != len(users):
        raise InputError(f"{len(values)} rewards for {len(users)} users; give one a completion")
    _, code = np.unique(np.array([str(user) for user in users], dtype=object), return_inverse=True)
    return values, code


def _means(values: Float, code: np.ndarray) -> Float:
    """Mean of every user over the completions that have a value: (U,), 0 where there is none."""
    seen = np.isfinite(values)
    n = int(code.max()) + 1 if len(code) else 0
    total = np.bincount(code[seen], values[seen], n)
    mean: Float = total / np.maximum(np.bincount(code[seen], minlength=n), 1)
    return mean
