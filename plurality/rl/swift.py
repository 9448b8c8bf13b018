"""ms-swift: a file of two lines for `--external_plugins`, and `--reward_funcs user_reward`.

    from plurality.rl.swift import register
    register()

Columns of the data set, the user's among them, reach the reward as they are.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plurality.errors import InputError
from plurality.rl.environment import from_environment

if TYPE_CHECKING:
    from plurality.rl.reward_function import RewardFunction

__all__ = ["register", "reward_class"]


def reward_class(function: "RewardFunction | None" = None) -> type:
    """A subclass of ms-swift's ORM that gives the rewards of a function, None where a completion has none.

    The prompt of a completion is its row's `messages` before the last. Raises InputError where ms-swift is not there.

    function    of rewards; that of the environment variables of `EnvironmentSettings` unless given
    """
    try:
        from swift.rewards.orm import ORM
    except ImportError:
        raise InputError("plurality.rl.swift needs ms-swift 4; install it") from None

    class UserReward(ORM):
        def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float | None]:
            rewards = function or from_environment()
            messages = columns.pop("messages", None)
            if messages is None:
                raise InputError("ms-swift handed over no messages; keep that column in the training set")
            return rewards([_asked(turns) for turns in messages], completions, **columns)

    return UserReward


def register(name: str = "user_reward", function: "RewardFunction | None" = None) -> None:
    """Let `--reward_funcs NAME` mean this reward.

    name        what ms-swift knows it by
    function    as in `reward_class`
    """
    made = reward_class(function)
    from swift.rewards.orm import orms

    orms[name] = made


def _asked(messages: Sequence[Any]) -> list[Any]:
    """The turns before the reply, which ms-swift has put after them."""
    turns = list(messages)
    replied = bool(turns) and isinstance(turns[-1], dict) and turns[-1].get("role") == "assistant"
    return turns[:-1] if replied else turns
