"""NeMo-RL: an environment of one turn, known by its name after `plurality.rl.nemo_rl.register()` in the run's script.

Rows carry the user in their metadata, `extra_env_info` of the data's processor.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from plurality.errors import InputError
from plurality.rl.environment import EnvironmentSettings, settings_here
from plurality.rl.one_by_one import OneByOne, number, rewards_of

__all__ = ["environment_class", "register", "step_rewards"]

KEPT = ("role", "content", "tool_calls")  # of a turn, which holds tensors too


def step_rewards(asked: OneByOne, logs: Sequence[Sequence[Mapping[str, Any]]], metadata: Sequence[Any]) -> list[float]:
    """Rewards (n,) of message logs: the turns after the last of the user are the completion.

    asked       what is asked for rewards
    logs        (n,) lists of {"role", "content", ...}
    metadata    (n,) rows
    """
    samples = []
    for log, row in zip(logs, metadata, strict=True):
        turns = [{key: turn[key] for key in KEPT if key in turn} for turn in log]
        last = max((i for i, turn in enumerate(turns) if turn["role"] in ("user", "system")), default=-1)
        samples.append(asked.sample(turns[: last + 1], turns[last + 1 :] or "", row))
    return [number(outcome) for outcome in rewards_of(asked.function, samples)] if samples else []


def environment_class() -> type:
    """A subclass of NeMo-RL's EnvironmentInterface, not yet an actor of Ray.

    Made from its part of the configuration, `env.plurality`: settings of `EnvironmentSettings`, such as
    `reward: my_reward/`; those not there are the environment's variables. Raises InputError where NeMo-RL is not there.
    """
    try:
        from nemo_rl.environments.interfaces import EnvironmentInterface, EnvironmentReturn
    except ImportError:
        raise InputError("plurality.rl.nemo_rl needs NeMo-RL; install it") from None
    import torch

    class PreferenceEnvironment(EnvironmentInterface):
        def __init__(self, config: Mapping[str, Any] | None = None) -> None:
            given = {k: v for k, v in (config or {}).items() if k in EnvironmentSettings.__dataclass_fields__}
            self.asked = OneByOne.of(
                None,
                "NeMo-RL",
                row="the metadata",
                remedy="let the data's processor put it into extra_env_info",
                settings=settings_here().but(given),
            )

        def step(self, message_log_batch: list[Any], metadata: list[Any]) -> Any:
            rewards = step_rewards(self.asked, message_log_batch, metadata)
            n = len(rewards)
            return EnvironmentReturn(
                observations=[{"role": "environment", "content": ""} for _ in range(n)],
                metadata=list(metadata),
                next_stop_strings=[None] * n,
                rewards=torch.tensor(rewards, dtype=torch.float32),
                terminateds=torch.ones(n, dtype=torch.bool),
                answers=None,
            )

        def global_post_process_and_metrics(self, batch: Any) -> tuple[Any, dict[str, float]]:
            rewards = batch.get("total_reward")
            return batch, {} if rewards is None else {"user_reward/mean": float(rewards.float().mean())}

    return PreferenceEnvironment


def register(name: str = "plurality") -> None:
    """Let an environment of this name in NeMo-RL's configuration be the preference environment.

    name    as in env.NAME of the configuration

    Raises InputError where NeMo-RL is not there.
    """
    environment_class()
    from nemo_rl.environments.utils import register_env

    register_env(name, f"{__name__}.PreferenceEnvironment")


def __getattr__(name: str) -> Any:
    """`PreferenceEnvironment`, the class as an actor of Ray, made when it is asked for."""
    if name == "PreferenceEnvironment":
        made = environment_class()
        import ray

        return ray.remote(made)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
