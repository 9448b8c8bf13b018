"""Whose reward an export holds: a user's, a group's or the population's."""

from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch import Tensor

from plurality.data.readers import columns
from plurality.data.readers.tables import open_frame
from plurality.errors import InputError
from plurality.reward.reward_model import RewardModel


@dataclass(frozen=True)
class RewardOwner:
    """A name and the codes (n, C) whose mean utility is meant: one for a user, several for a group."""

    name: str
    codes: Tensor


def reward_owner(
    reward: RewardModel, user: str | None = None, group: tuple[str, str] | None = None, users: Any = None
) -> RewardOwner:
    """Codes of a user, of a group (column, value) of the users table, or of the population where neither is given.

    A group's reward is the mean utility, in log-odds, of its users that the model knows. Where the column is the
    model's unit the group has a code of its own, and no table is needed. Raises InputError for an unknown user, a
    column or value that is not there, or a group without users that the model knows.
    """
    if user is not None and group is not None:
        raise InputError("an export is of a user or of a group; give one of them")
    if group is None:
        if user is None:
            return RewardOwner("population", reward.prior.mean[None])
        return RewardOwner(f"user {user}", reward.codes([user]))
    column, value = group
    name = f"{column}={value}"
    if column == reward.spec.unit:
        return RewardOwner(name, reward.codes([value]))
    if reward.spec.unit != "user_id":
        raise InputError(f"group {name}: this model has codes of {reward.spec.unit!r}; give one of its values")
    if users is None:
        raise InputError(f"group {name}: its users are in the users table; give it as users= (--users)")
    frame, place = open_frame(users, "users")
    members = _members(frame, place, column, value)
    known = set(reward.user_ids)
    ids = [u for u in members if u in known]
    if not ids:
        raise InputError(f"{place}: the model knows none of the {len(members):,} users with {name}; adapt it to them")
    return RewardOwner(name, reward.codes(ids))


def _members(frame: pl.DataFrame, place: str, column: str, value: str) -> list[str]:
    ids = columns.ids(frame, "user_id", place)
    if column not in frame.columns:
        raise InputError(f"{place}: there is no column {column!r} to group by; it has {', '.join(frame.columns)}")
    values = frame[column].cast(pl.String)
    members: list[str] = ids.filter((values == value).fill_null(False)).unique(maintain_order=True).to_list()
    if not members:
        there = ", ".join(map(repr, values.drop_nulls().unique().sort().head(8).to_list()))
        raise InputError(f"{place}: no user has {column}={value}; there are {there}")
    return members


def mean_utility(reward: RewardModel, items: Any, codes: Tensor, base: Any = None) -> Tensor:
    """What the toolkit says an export has to: mean utility over codes (n, C) of embeddings (M, d), (M,).

    base    (M,) scores of the base reward, for a model that starts from one
    """
    with torch.no_grad():
        return reward.whole_head.population(reward.features(items, None, base), codes.float()).double().mean(0)


def check_no_base(reward: RewardModel, kind: str) -> None:
    """Raise InputError for a reward on top of a base, which this kind of export cannot hold."""
    if reward.base is not None:
        raise InputError(
            f"export: this reward starts from a base reward, which kind {kind} cannot hold; choose baked, where the "
            "base is linear in the same hidden state (base_weights=), or call the reward in Python with base="
        )
