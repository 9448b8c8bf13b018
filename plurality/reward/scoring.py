"""Rewards of items: what is believed of users' codes, features of embeddings, and the utilities that both give."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args, overload

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurality.arrays import Array
from plurality.errors import InputError
from plurality.reward.base import OnBase
from plurality.reward.fitted import Parts
from plurality.reward.heads import Head
from plurality.reward.item_features import item_features
from plurality.reward.links import win
from plurality.reward.posterior import Posterior
from plurality.reward.spread import utility_sd
from plurality.reward.tensors import to_tensor

Unknown = Literal["error", "population"]


class Scoring(Parts):
    """What a `RewardModel` says of embeddings, whoever compared them; its arguments are those of all its methods."""

    def codes(self, users: Sequence[str] | pl.DataFrame, unknown: Unknown = "error") -> Tensor:
        """Codes of these users (n, C), the mode or mean of `beliefs`."""
        return self.beliefs(users, unknown).codes

    def beliefs(self, users: Sequence[str] | pl.DataFrame, unknown: Unknown = "error") -> Posterior:
        """What is believed of these users' codes; for users it does not know the population's prior, if asked.

        Give a frame with `user_id` and demographics, and a model that uses them has its prior from them.
        Raises InputError that names the first unknown user and the remedy, unless all have one reward (no codes).
        """
        if unknown not in get_args(Unknown):
            raise InputError(f"unknown={unknown!r} is not a valid option; give one of {', '.join(get_args(Unknown))}")
        frame = (
            users if isinstance(users, pl.DataFrame) else pl.DataFrame({"user_id": pl.Series(users, dtype=pl.String)})
        )
        ids = frame["user_id"].to_list()
        index = {u: i for i, u in enumerate(self.user_ids)}
        rows = torch.as_tensor([index.get(u, -1) for u in ids], dtype=torch.int64)
        unknown_rows = rows < 0
        if unknown_rows.any() and unknown == "error" and self.head.n_codes:
            new = [u for u, i in zip(ids, rows.tolist(), strict=True) if i < 0]
            raise InputError(
                f"{len(set(new))} users are not known to this model, first "
                f"{new[0]!r}; call adapt with some of their comparisons, "
                "or score them with unknown='population' (--unknown population)"
            )
        known = self.posterior.of(rows[~unknown_rows])
        prior = self.head.prior_of(self.prior, frame.filter(pl.Series(unknown_rows.numpy(), dtype=pl.Boolean)))
        both = known.concat(Posterior.of_prior(prior, int(unknown_rows.sum())))
        place = torch.where(unknown_rows, unknown_rows.cumsum(0) + len(known.codes), (~unknown_rows).cumsum(0)) - 1
        return both.of(place)

    @property
    def whole_head(self) -> Head:
        """What turns `features` and codes into utilities: the head, on top of the base reward where there is one."""
        return self.head if self.base is None else OnBase(self.head)

    def features(self, items: Array, prompts: Array | None = None, base: Array | None = None) -> Tensor:
        """φ of embeddings (M, d), with their prompts' (M, d) where the head looks at them: (M, F).

        base    (M,) scores of the base reward, where the model starts from one: the last of the features
        """
        return item_features(self, items, prompts, base)

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the K rewards that a model of several objectives has, such as `MORE(multi_head=True)`; else none."""
        return self.head.objectives

    def by_objective(self, items: Array, *, prompts: Array | None = None) -> NDArray[np.float64]:
        """Reward of items by each of `objectives`, up to a shift each: (M, d) -> (M, K), in units of its own spread.

        Raises InputError for a model without objectives.
        """
        if not self.objectives:
            raise InputError("this model has no objectives; fit MORE(multi_head=True) to comparisons of several")
        features = item_features(replace(self, base=None), items, prompts, None)  # objectives are beside the base
        with torch.no_grad():
            return self.head.by_objective(features).double().numpy()

    def centre(self, prompts: Array | None = None) -> Tensor:
        """φ of the mean item of the fit, to which a standard deviation is a gap: (1, F), or under each prompt (M, F).

        Its base reward, where there is one, is 0: the base is taken as known.

        Raises InputError for a head that keeps no mean item.
        """
        like = next(self.head.parameters())
        with torch.no_grad():
            used = prompts if self.head.uses_prompts else None
            found = self.whole_head.centre(None if used is None else to_tensor(used, like))
        if found is None:
            raise InputError(
                f"{type(self.head).__name__} keeps no mean item, so no utility has a standard deviation; write its "
                "method centre, or take the sd of a gap of two items by gap_sd"
            )
        return found

    @overload
    def utility(
        self,
        items: Array,
        users: Sequence[str] | None = None,
        *,
        prompts: Array | None = None,
        base: Array | None = None,
        unknown: Unknown = "error",
        return_sd: Literal[False] = False,
    ) -> NDArray[np.float32]: ...

    @overload
    def utility(
        self,
        items: Array,
        users: Sequence[str] | None = None,
        *,
        prompts: Array | None = None,
        base: Array | None = None,
        unknown: Unknown = "error",
        return_sd: Literal[True],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

    def utility(
        self,
        items: Array,
        users: Sequence[str] | None = None,
        *,
        prompts: Array | None = None,
        base: Array | None = None,
        unknown: Unknown = "error",
        return_sd: bool = False,
    ) -> NDArray[np.float32] | tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Utility of every item to every user, in log-odds up to a shift per user: (M, d) -> (U, M).

        One matrix product for bilinear heads. Without `users`, all the model knows, in the order of `.users`.

        return_sd    also the standard deviation (U, M) of the gap u(x, z) − u(x₀, z) to the mean item x₀ of the fit,
                     under the prompt of x for heads that look at it: the shift that is not known is in neither. Of the
                     code alone, shared weights as they are; of an `Ensemble` of these too. Raises InputError where all
                     users have one reward, which is then taken as known
        """
        features = self.features(items, prompts, base)
        beliefs = self.posterior if users is None else self.beliefs(users, unknown)
        with torch.no_grad():
            utility = self.whole_head.population(features, beliefs.codes.float()).numpy()
        if not return_sd:
            return utility
        sd = utility_sd(self.whole_head, features, self.centre(prompts), beliefs.codes, beliefs.covariance)
        return utility, sd.float().numpy()

    @overload
    def score(
        self,
        items: Array,
        rows: Array,
        user_ids: Sequence[str],
        *,
        prompts: Array | None = None,
        base: Array | None = None,
        unknown: Unknown = "error",
        return_sd: Literal[False] = False,
    ) -> NDArray[np.float64]: ...

    @overload
    def score(
        self,
        items: Array,
        rows: Array,
        user_ids: Sequence[str],
        *,
        prompts: Array | None = None,
        base: Array | None = None,
        unknown: Unknown = "error",
        return_sd: Literal[True],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

    def score(
        self,
        items: Array,
        rows: Array,
        user_ids: Sequence[str],
        *,
        prompts: Array | None = None,
        base: Array | None = None,
        unknown: Unknown = "error",
        return_sd: bool = False,
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Reward of items[rows[i]] to user_ids[i], in log-odds up to a shift per user and prompt: (n,).

        Features are computed once an item, whoever it is scored for.

        return_sd    also the standard deviation (n,) of each reward, as in `utility`
        """
        place = torch.as_tensor(_places(rows, len(items)))
        features, beliefs = self.features(items, prompts, base)[place], self.beliefs(user_ids, unknown)
        with torch.no_grad():
            reward = self.whole_head.utility(features, beliefs.codes.to(features.dtype)).double().numpy()
        if not return_sd:
            return reward
        centre = self.centre(prompts)
        centre = centre[None] if len(centre) == 1 and not self.head.uses_prompts else centre[place][:, None]
        sd = utility_sd(self.whole_head, features[:, None], centre, beliefs.codes, beliefs.covariance)
        return reward, sd[:, 0].numpy()

    def win_probability(
        self,
        items: Array,
        reference: Array,
        users: Sequence[str] | None = None,
        *,
        prompts: Array | None = None,
        reference_prompts: Array | None = None,
        base: Array | None = None,
        reference_base: Array | None = None,
        unknown: Unknown = "error",
    ) -> NDArray[np.float32]:
        """Mean probability that an item beats a reference item, E_r σ(u(x, z) − u(r, z)): (M, d), (R, d) -> (U, M).

        A reward in [0, 1] that means the same to all users, whatever the scale of their utility. Source: VPL-SPO,
        arXiv 2408.10075, §4.3. Raises InputError where there is no reference.
        """
        if not len(reference):
            raise InputError("win_probability: there is no reference item to win against; give some embeddings")
        u = torch.as_tensor(self.utility(items, users, prompts=prompts, base=base, unknown=unknown))
        against = self.utility(reference, users, prompts=reference_prompts, base=reference_base, unknown=unknown)
        return win(u, torch.as_tensor(against)).numpy()


def _places(rows: Array, count: int) -> NDArray[np.int64]:
    """Places of items, as int64. Raises InputError for what is no whole number from 0, or none below `count`."""
    place = np.asarray(rows)
    if place.dtype.kind not in "iu" and place.size:
        raise InputError(f"rows are of type {place.dtype}; give whole numbers, each the place of an item")
    if place.size and not (place.min() >= 0 and place.max() < count):
        raise InputError(
            f"rows must be from 0 to {count - 1}, the places of {count} items; there are others among them"
        )
    return place.astype(np.int64)
