"""Reward models that know whose preference they predict: fit them, audit who they serve, feed them to a trainer.

Nothing heavy is imported until a name is used: `import plurality` touches neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "PAL": "plurality.models.pal",
    "Audit": "plurality.analyses.audit",
    "BradleyTerry": "plurality.models.bradley_terry",
    "Comparison": "plurality.comparison",
    "Comparisons": "plurality.comparisons",
    "InputError": "plurality.errors",
    "InputWarning": "plurality.errors",
    "RewardModel": "plurality.reward",
    "audit": "plurality.analyses.audit",
    "check_model": "plurality.checks",
    "compare": "plurality.comparing",
    "load": "plurality.persistence",
    "read": "plurality.reading",
}

if TYPE_CHECKING:
    from plurality.analyses.audit import Audit, audit
    from plurality.checks import check_model
    from plurality.comparing import compare
    from plurality.comparison import Comparison
    from plurality.comparisons import Comparisons
    from plurality.errors import InputError, InputWarning
    from plurality.models.bradley_terry import BradleyTerry
    from plurality.models.pal import PAL
    from plurality.persistence import load
    from plurality.reading import read
    from plurality.reward import RewardModel

__all__ = [
    "PAL",
    "Audit",
    "BradleyTerry",
    "Comparison",
    "Comparisons",
    "InputError",
    "InputWarning",
    "RewardModel",
    "audit",
    "check_model",
    "compare",
    "load",
    "read",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'plurality' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
