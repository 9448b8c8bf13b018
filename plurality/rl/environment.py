"""Reward functions by settings: environment variables, or what a trainer's configuration hands over.

Trainers that take a file or a dotted name, and no object, are told by `PLURALITY_REWARD=folder` and its siblings.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pkgutil import resolve_name
from threading import Lock
from typing import Any

from plurality.errors import InputError
from plurality.io.visible import THOUGHT_TAGS, Tags, tags_of
from plurality.rl.base_scores import BaseReward
from plurality.rl.replies import END_TOKENS
from plurality.rl.reward_function import RewardFunction

PREFIX = "PLURALITY_"
OTHERS = {"PLURALITY_CACHE"}  # variables of other parts of the package

_LOADING = Lock()


@dataclass(frozen=True)
class EnvironmentSettings:
    """What a `RewardFunction` is made from, all as text; each is the environment variable PLURALITY_ and its name.

    reward       the model's folder
    user_column  column, or key, that holds the user's id; the model's unit unless given
    unknown      population (default), error or none
    normalise    raw (default), win or z
    reference    a table with the columns prompt and completion, or "column:NAME"
    rule         name of a rule, such as mean, cvar:0.2 or direction:helpful=0.8,honest=0.6
    population   a table of user_id and optionally weight and group
    lower        standard deviations below what is expected, 0 (default) or more
    base         scores of the reward that the model starts from: "column:NAME", or "module:function", which is called
                 as TRL calls a reward
    groups       column with the group of each row's user, whose mean reward is logged
    blank        reward of a completion of which nothing can be seen, such as a thought that has not ended
    name         what metrics are called by
    ends         tokens that may end a completion, cut off where a trainer leaves them on, a space between
    thought_tags  what opens and what closes a thought, which is not scored, a space between; empty scores all
    """

    reward: str = ""
    user_column: str = ""
    unknown: str = "population"
    normalise: str = "raw"
    reference: str = ""
    rule: str = ""
    population: str = ""
    lower: str = ""
    base: str = ""
    groups: str = ""
    blank: str = ""
    name: str = ""
    ends: str = " ".join(END_TOKENS)
    thought_tags: str = " ".join(tag for pair in THOUGHT_TAGS for tag in pair)

    @staticmethod
    def of(environment: Mapping[str, str]) -> "EnvironmentSettings":
        """Settings by their variables. Raises InputError for a variable of that prefix that is no setting."""
        known = {PREFIX + field.name.upper(): field.name for field in fields(EnvironmentSettings)}
        given = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
        if strange := sorted(given.keys() - known.keys() - OTHERS):
            raise InputError(f"environment variable {strange[0]} is unknown; there are {', '.join(known)}")
        return EnvironmentSettings(**{known[name]: value for name, value in given.items() if name in known})

    def but(self, changes: Mapping[str, Any]) -> "EnvironmentSettings":
        """With some settings changed; a None changes nothing. Raises InputError for an unknown one."""
        names = [field.name for field in fields(self)]
        if strange := sorted(changes.keys() - set(names)):
            raise InputError(f"reward setting {strange[0]!r} is unknown; there are {', '.join(names)}")
        return replace(self, **{name: str(value) for name, value in changes.items() if value is not None})

    def tags(self) -> Tags:
        """The thought tags in pairs. Raises InputError for an odd number of them."""
        return tags_of(self.thought_tags.split(), "PLURALITY_THOUGHT_TAGS")


def settings_here() -> EnvironmentSettings:
    """The settings of this process's environment."""
    return EnvironmentSettings.of(os.environ)


def from_environment() -> RewardFunction:
    """The reward function of the environment variables, loaded once a process. Raises InputError without them."""
    return function_of(settings_here())


def function_of(settings: EnvironmentSettings) -> RewardFunction:
    """The reward function of some settings, loaded once a process, whichever thread comes first."""
    with _LOADING:
        return _load(settings)


@lru_cache(maxsize=8)
def _load(settings: EnvironmentSettings) -> RewardFunction:
    if not settings.reward:
        raise InputError("PLURALITY_REWARD is not set; set it to the folder of a fitted model")
    return RewardFunction(
        settings.reward,
        user_column=settings.user_column or None,
        unknown=settings.unknown,  # type: ignore[arg-type]  # checked there
        normalise=settings.normalise,  # type: ignore[arg-type]
        reference=_reference(settings.reference),
        rule=settings.rule or None,
        population=settings.population or None,
        lower=_number("LOWER", settings.lower) or 0.0,
        base=_base(settings.base),
        groups=settings.groups or None,
        blank=_number("BLANK", settings.blank),
        thought_tags=settings.tags(),
        name=settings.name or None,
    )


def _reference(text: str) -> Any:
    from plurality.data.readers import columns
    from plurality.data.readers.tables import open_frame

    if not text:
        return None
    kind, colon, name = text.partition(":")
    if kind == "column" and colon:
        return name
    frame, place = open_frame(text, "reference")
    return columns.column(frame, "prompt", place).to_list(), columns.column(frame, "completion", place).to_list()


def _base(text: str) -> BaseReward | None:
    if not text:
        return None
    kind, colon, name = text.partition(":")
    if kind == "column" and colon:
        return name
    try:
        if not colon:
            raise ValueError("no colon")
        function: BaseReward = resolve_name(text)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f'PLURALITY_BASE={text!r} is neither "column:NAME" nor "module:function" of a module that can be imported '
            f"({error}); give one of them"
        ) from None
    return function


def _number(name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"PLURALITY_{name}={text!r} is not a finite number; give one, or leave it out")
    return value
