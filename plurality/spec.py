"""`Spec`: what a family is to the rest of the package, a frozen set of settings that can be fitted."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from plurality.comparisons import Comparisons
from plurality.embeddings import check_finite
from plurality.errors import InputError
from plurality.fitters import Fitted
from plurality.heads import Head
from plurality.reward import RewardModel
from plurality.selection import NewTo, Run


@dataclass(frozen=True, kw_only=True)
class Spec(ABC):
    """Settings of a family.

    unit        column of the users table whose values have a code of their own: users, or any grouping of them
    """

    unit: str = "user_id"

    name: ClassVar[str]

    def fit(
        self,
        data: Comparisons,
        *,
        seed: int = 0,
        new_to: NewTo = "anybody",
        device: str = "cpu",
        progress: bool = False,
    ) -> RewardModel:
        """Fit to comparisons; returns a new RewardModel. See `selection.Run` for the arguments.

        Raises InputError for data that cannot be used at all, or not by this family, before any fitting.
        """
        ready = self.ready(data)
        return RewardModel.of(self, self.learn(ready, Run(seed, new_to, device, progress)), ready)

    def ready(self, data: Comparisons) -> Comparisons:
        """The comparisons as `learn` takes them: by unit, in key order, fit for this family. Raises InputError."""
        if not len(data):
            raise InputError(f"{data.source}: no comparison to fit on")
        data = data.by_unit(self.unit)
        check_finite(data.items, data.source)
        self.check(data)
        return data.in_key_order()

    def check(self, data: Comparisons) -> None:
        """Raise InputError if this family cannot work on the data: why, and what would."""
        return None

    @abstractmethod
    def head(self, width: int, generator: torch.Generator) -> Head:
        """The torch module for embeddings of this width."""

    @abstractmethod
    def learn(self, data: Comparisons, run: Run) -> Fitted:
        """Fit the head and infer the code of every user in `data.users`."""
