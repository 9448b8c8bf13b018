"""`Settings`: what a fitted reward keeps of its family, the settings that build its head."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import torch

from plurality.argument_kinds import check_kinds
from plurality.reward.heads import Head


@dataclass(frozen=True, kw_only=True)
class Settings(ABC):
    """Frozen settings of a family.

    unit        column of the users table whose values have a code of their own: users, or any grouping of them
    """

    unit: str = "user_id"

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """A family's own rules, `__post_init__`, come after the kinds of its fields, and need not look at these."""
        if rules := cls.__dict__.get("__post_init__"):

            def checked(self: Settings) -> None:
                Settings.__post_init__(self)
                rules(self)

            cls.__post_init__ = checked  # type: ignore[method-assign]  # so that no family has to call this one's

    def __post_init__(self) -> None:
        check_kinds(self.name, type(self), {field.name: self.__dict__[field.name] for field in fields(self)})

    @abstractmethod
    def head(self, width: int, generator: torch.Generator) -> Head:
        """The torch module for embeddings of this width; given what a fit chose, the very one it fitted.

        width        dimensions of an item's embedding
        generator    torch generator that initial values are drawn from
        """
