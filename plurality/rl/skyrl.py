"""SkyRL: an environment of one turn, known after

    skyrl_gym.register(id="plurality", entry_point="plurality.rl.skyrl:PreferenceEnv")

with `env_class: plurality` in the rows, which carry the user as a column or within `extra_info`.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from plurality.errors import InputError
from plurality.rl.one_by_one import OneByOne

__all__ = ["env_class"]


@lru_cache(maxsize=1)
def env_class() -> type:
    """A subclass of SkyRL's BaseTextEnv whose one step has the reward of the environment variables.

    Those of `EnvironmentSettings`. Raises InputError where skyrl-gym is not there.
    """
    try:
        from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput
    except ImportError:
        raise InputError("plurality.rl.skyrl needs skyrl-gym; install it") from None

    class PreferenceEnv(BaseTextEnv):
        def __init__(self, env_config: Any = None, extras: Mapping[str, Any] | None = None) -> None:
            super().__init__()
            extras = extras or {}
            self.row = {**(extras.get("extra_info") or {}), **extras}
            self.prompt: Any = None

        def init(self, prompt: Any) -> tuple[Any, dict[str, Any]]:
            self.prompt = prompt
            return prompt, {}

        def step(self, action: str) -> Any:
            asked = OneByOne.of(None, "SkyRL")
            sample = asked.sample(self.prompt, action, self.row)
            return BaseTextEnvStepOutput(observations=[], reward=asked.now(sample), done=True, metadata={})

    return PreferenceEnv


def __getattr__(name: str) -> Any:
    """`PreferenceEnv`, made when it is asked for, as skyrl-gym must be there for it."""
    if name == "PreferenceEnv":
        return env_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
