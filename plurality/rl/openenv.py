"""OpenEnv: a Rubric that rewards an action's text by its own user.

    class MyEnvironment(Environment):
        def __init__(self):
            super().__init__(rubric=plurality.rl.openenv.rubric())

The user, and the prompt, stand in the observation or in its metadata.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from plurality.errors import InputError
from plurality.rl.one_by_one import OneByOne

if TYPE_CHECKING:
    from plurality.rl.reward_function import RewardFunction

__all__ = ["rubric"]


def rubric(function: "RewardFunction | None" = None, *, completion: str = "message") -> Any:
    """A Rubric whose forward(action, observation) is the reward of the action's text.

    Raises InputError where OpenEnv is not there, and where an action has no such field.

    function      of rewards; that of the environment variables of `EnvironmentSettings` unless given
    completion    field of the action that holds its text, or its messages
    """
    try:
        from openenv.core.rubrics.base import Rubric
    except ImportError:
        raise InputError("plurality.rl.openenv needs openenv; install it") from None

    class UserRubric(Rubric):
        def forward(self, action: Any, observation: Any) -> float:
            asked = OneByOne.of(function, "OpenEnv", row="the observation", remedy="put it into its metadata")
            said = fields(action)
            if completion not in said:
                raise InputError(
                    f"the action has no {completion} (it has {', '.join(said) or 'nothing'}); say completion= of rubric"
                )
            seen = fields(observation)
            row = {**(seen.get("metadata") or {}), **seen}
            return asked.now(asked.sample(None, said[completion], row))

    return UserRubric()


def fields(thing: Any) -> dict[str, Any]:
    """What an action or observation holds by name: of a mapping, or of a model of pydantic.

    thing    which
    """
    if isinstance(thing, Mapping):
        return dict(thing)
    return dict(vars(thing)) if thing is not None else {}
