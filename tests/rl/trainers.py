"""Base classes of trainers: the wheels' own where they are installed, else stand-ins of the documented shape."""

import importlib
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple


class ORM:
    def __init__(self, args=None, **kwargs):
        self.args = args


class BaseTextEnv:
    def __init__(self):
        self.turns, self.max_turns = 0, 1


class Rubric:
    def __init__(self):
        self.last_score = None

    def __call__(self, action, observation):
        self.last_score = self.forward(action, observation)
        return self.last_score


class PreferenceModel: ...


class PreferenceModelBuilder: ...


class EnvironmentInterface: ...


class EnvironmentReturn(NamedTuple):
    observations: list[Any]
    metadata: list[Any]
    next_stop_strings: list[Any]
    rewards: Any
    terminateds: Any
    answers: Any = None


def reward(func=None, weight=1.0, priority=0):
    def mark(f):
        vars(f).update(reward=True, _vf_weight=weight)
        return f

    return mark if func is None else mark(func)


REGISTRY: dict[str, dict[str, str]] = {}


def register_env(name, actor_class_fqn):
    REGISTRY[name] = {"actor_class_fqn": actor_class_fqn}


STAND_INS: dict[str, dict[str, Any]] = {
    "swift.rewards.orm": {"ORM": ORM, "orms": {}},
    "skyrl_gym.envs.base_text_env": {"BaseTextEnv": BaseTextEnv, "BaseTextEnvStepOutput": dict},
    "openenv.core.rubrics.base": {"Rubric": Rubric},
    "tinker_cookbook.preference.types": {
        "PreferenceModel": PreferenceModel,
        "PreferenceModelBuilder": PreferenceModelBuilder,
    },
    "nemo_rl.environments.interfaces": {
        "EnvironmentInterface": EnvironmentInterface,
        "EnvironmentReturn": EnvironmentReturn,
    },
    "nemo_rl.environments.utils": {"register_env": register_env, "ENV_REGISTRY": REGISTRY},
    "verifiers.v1.utils.decorators": {"reward": reward},
}


def provide(monkeypatch: Any) -> dict[str, bool]:
    """Put stand-ins where a wheel is missing; which modules are the wheels' own."""
    own = {}
    for name, content in STAND_INS.items():
        try:
            importlib.import_module(name)
            own[name] = True
        except ImportError:
            own[name] = False
            parts = name.split(".")
            for i in range(1, len(parts) + 1):
                path = ".".join(parts[:i])
                if path not in sys.modules:
                    monkeypatch.setitem(sys.modules, path, ModuleType(path))
                made = sys.modules[path]
            vars(made).update(content)
    return own


@dataclass
class Message:
    """As verifiers' messages, of pydantic."""

    role: str
    content: Any = None
    more: dict[str, Any] = field(default_factory=dict)

    def model_dump(self, exclude_none: bool = False) -> dict[str, Any]:
        return {k: v for k, v in {"role": self.role, "content": self.content, **self.more}.items() if v is not None}


def trace_of(prompt: list[dict], said: list[dict], row: dict[str, Any]) -> Any:
    """As much of verifiers' Trace as an adapter reads."""

    def node(turn, sampled):
        more = {k: v for k, v in turn.items() if k not in ("role", "content")}
        return SimpleNamespace(message=Message(turn["role"], turn.get("content"), more), sampled=sampled)

    nodes = [node(turn, False) for turn in prompt] + [node(turn, turn["role"] == "assistant") for turn in said]
    data = SimpleNamespace(model_dump=lambda: {"idx": 0, "prompt": "templated", **row})
    return SimpleNamespace(
        branches=[SimpleNamespace(nodes=nodes)], root_reply=None, task=SimpleNamespace(data=data), nodes=nodes
    )
