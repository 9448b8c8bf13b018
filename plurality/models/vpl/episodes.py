"""Comparisons dealt into contexts and queries: what an encoder is trained on, step by step.

Nothing is drawn at random: what a step deals where is decided by hashing keys of items with the step, so that it
depends neither on the order of rows nor on users' names, and a weight of 3 is the row three times.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.data.keys import Keys, combine, mix, uniform
from plurality.reward.tensors import to_tensor

Int = NDArray[np.int64]
NO_CONTEXT_SHARE = 0.12  # share of users who come without context in a step


@dataclass(frozen=True)
class EpisodeBatch:
    """Rows of contexts (n,) with their users, and of queries (B, Q) of the B users at hand, weight 0 where padded.

    user of a context row is its place among the B. Query weights are scaled to a user's whole weight.
    """

    context: Tensor
    user: Tensor
    queries: Tensor
    weight: Tensor


def merged(data: Comparisons) -> Comparisons:
    """The same comparisons with repeated rows made one, their weights added."""
    columns = (data.user, data.first, data.second, data.label.view(np.int64))
    _, where, which = np.unique(np.stack(columns, 1), axis=0, return_index=True, return_inverse=True)
    weight = np.bincount(which.ravel(), data.weight).astype(np.float64)
    order = np.argsort(where)
    return replace(data.take(where[order]), weight=weight[order])


@dataclass(frozen=True)
class UserSortedRows:
    """Comparisons sorted by user: items (M, d) and (N,) columns on a device.

    base        (N,) gap of the base reward, in log-odds
    key         (N,) of the pair of items, the same for all who compared it
    owner       (N,) user of each row, on the host
    starts      (U + 1,) where each user's rows begin
    present     users with comparisons, in an order that does not depend on their names
    user_key    (U,) from what each has compared
    """

    items: Tensor
    first: Tensor
    second: Tensor
    user: Tensor
    label: Tensor
    weight: Tensor
    base: Tensor
    key: Keys
    owner: Int
    starts: Int
    present: Int
    user_key: Keys

    @staticmethod
    def of(data: Comparisons, like: Tensor) -> "UserSortedRows":
        """Rows on `like`'s device and in its precision."""
        order = np.argsort(data.user, kind="stable")
        user, first, second = data.user[order], data.first[order], data.second[order]
        key, user_key = (
            combine(data.item_keys[first], data.item_keys[second]),
            np.zeros(data.users.height, dtype=np.uint64),
        )
        np.add.at(user_key, user, mix(key))
        present = np.unique(user)

        def column(values: NDArray[np.generic], dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values)).to(device=like.device, dtype=dtype)

        return UserSortedRows(
            items=to_tensor(data.items, like),
            first=column(first, torch.int64),
            second=column(second, torch.int64),
            user=column(user, torch.int64),
            label=column(data.label[order], like.dtype),
            weight=column(data.weight[order], like.dtype),
            base=column(data.base_gap[order], like.dtype),
            key=key,
            owner=user,
            starts=np.searchsorted(user, np.arange(data.users.height + 1)),
            present=present[np.argsort(user_key[present])],
            user_key=user_key,
        )

    @property
    def n_users(self) -> int:
        return len(self.starts) - 1

    def some(self, size: int | None) -> Int:
        """Rows of at most `size` pairs of items of every user, always the same ones; all without a size."""
        if size is None:
            return np.arange(len(self.owner))
        return np.flatnonzero(_dense_rank(self.owner, uniform(self.key, 0)) < size)

    def of_users(self, users: Int) -> tuple[Int, Int]:
        """Rows of these users, user by user, and each row's place among the users."""
        count = self.starts[users + 1] - self.starts[users]
        place = np.repeat(np.arange(len(users)), count)
        before = np.cumsum(count) - count
        return np.arange(len(place)) - before[place] + self.starts[users][place], place


@dataclass(frozen=True)
class EpisodeSampler:
    """Deals rows into episodes.

    most        context rows a user has at most
    queries     query rows of a user at most
    at_once     users in a step at most
    """

    rows: UserSortedRows
    seed: int
    most: int
    queries: int = 64
    at_once: int = 512

    def sample(self, step: int) -> EpisodeBatch:
        """Context and query rows of a step; they share no pair of items of the same user.

        Sizes of contexts are 0 in some cases, otherwise anything from 1 to half of what a user has, small ones more
        often (uniform in log size); what is not context is query.
        """
        salt = 2 * (self.seed * 1_000_003 + step)
        users = self._users(salt)
        index, place = self.rows.of_users(users)
        rank = _dense_rank(place, uniform(self.rows.key[index], salt))
        size = self._sizes(np.bincount(place, minlength=len(users)), users, salt + 1)
        context = rank < size[place]
        query = ~context & (rank < size[place] + self.queries)
        return self._episode(index, place, context, query, len(users))

    def _users(self, salt: int) -> Int:
        """The users of a step: all, or those with the smallest hash."""
        users = self.rows.present
        if len(users) <= self.at_once:
            return users
        drawn = np.argsort(uniform(self.rows.user_key[users], salt))[: self.at_once]
        return users[drawn]

    def _sizes(self, count: Int, users: Int, salt: int) -> Int:
        u = uniform(self.rows.user_key[users], salt)
        most = np.minimum(self.most, count - np.maximum(count // 2, 1))
        log_size = np.clip((u - NO_CONTEXT_SHARE) / (1 - NO_CONTEXT_SHARE), 0, 1) * np.log(most + 1)
        size = np.exp(log_size).astype(np.int64)
        return np.where(u < NO_CONTEXT_SHARE, 0, np.minimum(size, most))

    def _episode(
        self, index: Int, place: Int, context: NDArray[np.bool_], query: NDArray[np.bool_], n: int
    ) -> EpisodeBatch:
        weight = self.rows.weight
        whole = np.bincount(place, minlength=n)
        asked, owner = index[query], place[query]
        count = np.bincount(owner, minlength=n)
        padded = np.zeros((n, max(1, int(count.max(initial=0)))), dtype=np.int64)
        there = np.arange(padded.shape[1]) < count[:, None]
        padded[there] = asked
        device = weight.device
        queries, mask = torch.as_tensor(padded, device=device), torch.as_tensor(there, device=device)
        share = torch.as_tensor(whole / np.maximum(count, 1), device=device).to(weight)
        rows = torch.as_tensor(index[context], device=device)
        return EpisodeBatch(
            rows, torch.as_tensor(place[context], device=device), queries, weight[queries] * mask * share[:, None]
        )


def _dense_rank(owner: Int, value: NDArray[np.float64]) -> Int:
    """Rank of each value among those of its owner, from 0, equal values alike; owners are sorted."""
    order = np.lexsort((value, owner))
    new_owner = np.diff(owner[order], prepend=-1) != 0
    step = (np.diff(value[order], prepend=np.nan) != 0) | new_owner
    rank = np.cumsum(step)
    first = np.maximum.accumulate(np.where(new_owner, rank, 0))
    out = np.empty(len(owner), dtype=np.int64)
    out[order] = rank - first
    return out
