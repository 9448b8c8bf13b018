"""What a rule is, rules by name, and their state on disk. The rules are in the modules beside this one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from plurality.errors import InputError
from plurality.io.atomic import check_file, whole_file
from plurality.io.causes import unreadable
from plurality.io.paths import expanded
from plurality.rl.rules.consensus import Consensus, nearest, neighbourhood
from plurality.rl.rules.ensembles import BRME, RMOD, rmod_weights
from plurality.rl.rules.maxmin import ExponentiatedGradient, GroupMaxMin, PointwiseMin
from plurality.rl.rules.objectives import Directional, Pareto, Simplex, Weighed
from plurality.rl.rules.rows import Rule
from plurality.rl.rules.welfare import CVaR, Mean, Nash, PowerMean, WeightedGroups

__all__ = [
    "BRME",
    "RMOD",
    "CVaR",
    "Consensus",
    "Directional",
    "ExponentiatedGradient",
    "GroupMaxMin",
    "Mean",
    "Nash",
    "Pareto",
    "PointwiseMin",
    "PowerMean",
    "Rule",
    "Simplex",
    "WeightedGroups",
    "load_state",
    "nearest",
    "neighbourhood",
    "rmod_weights",
    "rule_of",
    "save_state",
]


@runtime_checkable
class Stateful(Rule, Protocol):
    """A rule that remembers batches."""

    def state(self) -> dict[str, Any]:
        """What must be saved with a checkpoint, ready for JSON.

        (docstring)    What must be saved with a checkpoint, ready for JSON.
        """

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state. Raises InputError for what `state` did not write.

        (docstring)    Go on from a state. Raises InputError for what `state` did not write.
        state          what `state` gave
        """


def _weighed(rule: type[Weighed], text: str) -> Any:
    """A rule of numbers in the order of the objectives, or by their names: "0.8,0.6" or "helpful=0.8,honest=0.6"."""
    parts = [part.rpartition("=") for part in text.split(",")]
    named = tuple(name.strip() for name, _, _ in parts if name)
    if named and len(named) < len(parts):
        raise ValueError("some weights have a name and some have none")
    return rule(tuple(float(value) for _, _, value in parts), names=named)


def _shares(text: str) -> dict[int, float]:
    return {int(group): float(share) for group, share in (part.split("=") for part in text.split(","))}


# name -> (what is written after it, rule); "" takes nothing, "[..]" may be left out
_NAMED: dict[str, tuple[str, Callable[[str], Rule]]] = {
    "mean": ("", lambda _: Mean()),
    "nash": ("", lambda _: Nash()),
    "power": (":P", lambda text: PowerMean(float(text))),
    "cvar": (":SHARE", lambda text: CVaR(float(text))),
    "groups": (":GROUP=SHARE,…", lambda text: WeightedGroups(_shares(text))),
    "maxmin": ("", lambda _: GroupMaxMin()),
    "pointwise_min": ("", lambda _: PointwiseMin()),
    "eg": ("[:STEP]", lambda text: ExponentiatedGradient(float(text)) if text else ExponentiatedGradient()),
    "brme": ("[:ALPHA]", lambda text: BRME(float(text)) if text else BRME()),
    "rmod": ("[:STRENGTH]", lambda text: RMOD(float(text)) if text else RMOD()),
    "direction": (":[NAME=]V,…", lambda text: _weighed(Directional, text)),
    "simplex": (":[NAME=]W,…", lambda text: _weighed(Simplex, text)),
    "consensus": (":[NAME=]V,…", lambda text: _weighed(Consensus, text)),
    "pareto": ("", lambda _: Pareto()),
}
NAMES = tuple(name + after for name, (after, _) in _NAMED.items())


def rule_of(rule: "str | Rule") -> Rule:
    """A rule by name, such as "mean", "power:-1" or "cvar:0.2"; a rule itself is given back.

    Raises InputError that lists the names.

    rule    name, with what is written after it, or a rule
    """
    if not isinstance(rule, str):
        if isinstance(rule, Rule) and not isinstance(rule, type):
            return rule
        raise InputError(f"{rule!r} is not a rule; give an object of one, or a name: {', '.join(NAMES)}")
    name, colon, text = rule.partition(":")
    after, make = _NAMED.get(name, (None, None))
    right = after is not None and (not colon if after == "" else bool(text) if colon else after.startswith("["))
    if make is None or not right:
        raise InputError(f"rule {rule!r} is unknown; write one of {', '.join(NAMES)}")
    try:
        return make(text)
    except InputError:
        raise
    except ValueError:
        raise InputError(f"rule {rule!r}: {text!r} is not what {name}{after} takes; write numbers") from None


def save_state(rule: Rule, path: str | Path) -> Path:
    """Write a rule's name and state, if it keeps one, as JSON.

    rule    rule whose state is written
    path    file to write
    """
    path = expanded(path)
    check_file(path)
    state = rule.state() if isinstance(rule, Stateful) else {}
    with whole_file(path) as new:
        new.write_text(json.dumps({"rule": rule.name, "state": state}, indent=2) + "\n", encoding="utf-8")
    return path


def load_state(rule: Rule, path: str | Path) -> None:
    """Put a rule into the state that `save_state` wrote. Raises InputError for another file, or another rule's.

    rule    rule to put into the state
    path    file that `save_state` wrote
    """
    try:
        record = json.loads(expanded(path).read_text(encoding="utf-8"))
        name, state = record["rule"], record["state"]
    except OSError as error:
        raise unreadable(path, error, "give what save_state wrote") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        cause = type(error).__name__
        raise InputError(f"{path}: is not a state of a rule ({cause}); give what save_state wrote") from None
    if name != rule.name:
        raise InputError(f"{path}: holds the state of rule {name!r}, not of {rule.name!r}; use that rule")
    if isinstance(rule, Stateful):
        rule.load_state(state)
