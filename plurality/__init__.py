"""Reward models that know whose preference they predict: fit them, audit who they serve, feed them to a trainer.

Nothing heavy is imported until a name is used: `import plurality` touches neither torch nor transformers.
"""

from importlib import import_module
from typing import Any

from plurality.moved import install
from plurality.reward.registry import built_in

__version__ = "0.1.0"

install()

_HOME = {point.attr: point.module for point in built_in().values()} | {
    "AsyncClient": "plurality.client",
    "Audit": "plurality.analyses.audit",
    "Client": "plurality.client",
    "Comparison": "plurality.evaluation.comparison_table",
    "EmbeddingServer": "plurality.encoders.server",
    "Comparisons": "plurality.data.comparisons",
    "InputError": "plurality.errors",
    "InputWarning": "plurality.errors",
    "MixedReward": "plurality.rl.mixing",
    "RewardFunction": "plurality.rl.reward_function",
    "RewardModel": "plurality.reward.reward_model",
    "Spec": "plurality.models.family",
    "ScaleUse": "plurality.fitting.scale_use",
    "annotate": "plurality.reward.annotating",
    "audit": "plurality.analyses.audit",
    "audit_difference": "plurality.analyses.audit",
    "check_gates": "plurality.analyses.audit",
    "check_data": "plurality.data_checks.check",
    "check_model": "plurality.testing.check_model",
    "compare": "plurality.evaluation.compare",
    "concat": "plurality.data.concat",
    "embed_users": "plurality.data.user_texts",
    "explain": "plurality.reward.explaining",
    "factors": "plurality.analyses.factors",
    "leaderboard": "plurality.analyses.leaderboards",
    "load": "plurality.reward.reward_model",
    "next_labels": "plurality.elicitation",
    "next_questions": "plurality.elicitation",
    "plan": "plurality.analyses.planning",
    "predictions_from_scores": "plurality.analyses.scores",
    "read": "plurality.data.read",
    "scale_use": "plurality.fitting.scale_use",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'plurality' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
