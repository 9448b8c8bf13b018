"""Whose reward: users by id with the codes a model has of them, and populations with weights and groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from warnings import warn

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor

from plurality.data.readers import columns
from plurality.data.readers.tables import open_frame
from plurality.errors import InputError, InputWarning
from plurality.reward.reward_model import RewardModel

Unknown = Literal["population", "error", "none"]
NEW_USER = ""  # no user has a blank id


@dataclass(frozen=True, eq=False)
class KnownUsers:
    """The users a model knows, looked up without work that grows with their number.

    place        row in codes by user id
    codes        (U + 1, C) float32, the last row the population's code
    covariance   (U + 1, C, C) of what is believed of each
    """

    place: dict[str, int]
    codes: Tensor
    covariance: Tensor

    @staticmethod
    def of(reward: RewardModel) -> "KnownUsers":
        """All users that `reward` knows, and one it does not."""
        beliefs = reward.beliefs([*reward.user_ids, NEW_USER], "population")
        place = {user: row for row, user in enumerate(reward.user_ids)}
        return KnownUsers(place, beliefs.codes.float(), beliefs.covariance)

    def rows(self, ids: Sequence[Any], unknown: Unknown) -> NDArray[np.int64]:
        """Row in codes of each id (n,); of a user the model does not know the population's, or −1 for "none".

        Raises InputError for unknown users under "error", and for ids that are neither text nor whole numbers.
        """
        unknown_row = -1 if unknown == "none" else len(self.place)
        rows = [self.place.get(u if isinstance(u, str) else _id(u, i), unknown_row) for i, u in enumerate(ids)]
        if unknown == "error" and self.codes.shape[1] and unknown_row in rows:  # without codes all have one reward
            missing = [str(u) for u, row in zip(ids, rows, strict=True) if row == unknown_row]
            raise InputError(
                f"{len(set(missing))} users are not known to this model, first {missing[0]!r}; call adapt with some of "
                'their comparisons, or choose unknown="population" or unknown="none"'
            )
        return np.array(rows, dtype=np.int64)


def _id(value: Any, row: int) -> str:
    if value is None:
        return NEW_USER
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"user id {value!r} of completion {row} (from 0) is not an id; give text or whole numbers")


@dataclass(frozen=True, eq=False)
class UserPopulation:
    """Whom a rule serves: codes (P, C) float32 and their covariance, weights (P,), groups (P,) and their names (G)."""

    codes: Tensor
    covariance: Tensor
    weights: NDArray[np.float64]
    groups: NDArray[np.int64]
    names: tuple[str, ...]

    @staticmethod
    def of(reward: RewardModel, source: Any, *, unknown: Unknown) -> "UserPopulation":
        """The people of a table with `user_id`, optionally `weight` and `group`, and the demographics a model uses.

        Without a table all the model knows, of equal weight in one group. Users the model does not know have the
        population's code, with an InputWarning that counts them, or raise InputError unless unknown="population".
        Raises InputError for users twice in the table, and for weights that are negative or all 0.
        """
        if source is None:
            known = reward.posterior
            n = len(known.codes)
            return UserPopulation(
                known.codes.float(), known.covariance, np.ones(n), np.zeros(n, dtype=np.int64), ("everybody",)
            )
        frame, place = open_frame(source, "users")
        place = place if isinstance(source, str | Path) else "population"
        ids = columns.ids(frame, "user_id", place)
        twice = ~ids.is_first_distinct()
        if twice.any():
            columns.raise_where(twice, place, f"user_id {ids.filter(twice)[0]!r} appears twice", "keep one row a user")
        unknown_users = ~ids.is_in(list(reward.user_ids))
        if unknown_users.any():
            count = f"{int(unknown_users.sum()):,} of {frame.height:,} users"
            if unknown != "population" and reward.head.n_codes:
                first = ids.filter(unknown_users)[0]
                raise InputError(
                    f"{place}: {count} are not known to this model, first {first!r}; call adapt with some of their "
                    'comparisons, drop their rows, or choose unknown="population"'
                )
            if reward.head.n_codes:
                warn(InputWarning(f"{place}: {count} are not known to this model: scored as its prior"), stacklevel=4)
        weights = _weights(frame, place)
        groups = columns.ids(frame, "group", place) if columns.given(frame, "group") else None
        names = ["everybody"] if groups is None else sorted(groups.unique())
        number = {name: code for code, name in enumerate(names)}
        member = [0] * frame.height if groups is None else [number[g] for g in groups]
        beliefs = reward.beliefs(frame.with_columns(ids), "population")
        groups_of = np.array(member, dtype=np.int64)
        return UserPopulation(beliefs.codes.float(), beliefs.covariance, weights, groups_of, tuple(names))


def _weights(frame: pl.DataFrame, place: str) -> NDArray[np.float64]:
    if not columns.given(frame, "weight"):
        return np.ones(frame.height)
    weights = columns.numbers(frame, "weight", place)
    columns.raise_where(weights < 0, place, "weight is negative", "give population weights of 0 or more")
    if not weights.sum() > 0:
        raise InputError(f"{place}: all weights are 0; give the people who count more than that")
    return weights.to_numpy(writable=True)
