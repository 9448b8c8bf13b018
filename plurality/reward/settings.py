"""`Settings`: what a fitted reward keeps of its family, the settings that build its head."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from plurality.reward.heads import Head


@dataclass(frozen=True, kw_only=True)
class Settings(ABC):
    """Frozen settings of a family.

    unit        column of the users table whose values have a code of their own: users, or any grouping of them
    """

    unit: str = "user_id"

    name: ClassVar[str]

    @abstractmethod
    def head(self, width: int, generator: torch.Generator) -> Head:
        """The torch module for embeddings of this width; given what a fit chose, the very one it fitted.

        width        dimensions of an item's embedding
        generator    torch generator that initial values are drawn from
        """
