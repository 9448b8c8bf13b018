"""The rule that a caller asks for, by any of its names, checked against the model: every door comes through here."""

import math
from collections.abc import Mapping
from numbers import Real

from plurality.errors import InputError
from plurality.reward.heads import Head
from plurality.rl.rules.objectives import Directional
from plurality.rl.rules.registry import rule_of
from plurality.rl.rules.rows import Rule, bound, rows_of

Weights = Mapping[str, float]


def rule_for(
    head: Head,
    rule: "str | Rule | None",
    *,
    objective: str | None = None,
    direction: Weights | None = None,
    lower: float = 0.0,
) -> Rule | None:
    """The rule as this model can fill its rows; None where each completion's own user is asked.

    head         the model's
    rule         name or rule
    objective    the one objective that is rewarded
    direction    objective -> weight, on the unit sphere
    lower        standard deviations that are taken off utilities, which rows must then have

    Raises InputError for more than one of the first three, a rule whose rows the model does not have, and a lower bound
    of what has none.
    """
    given = [name for name, value in (("rule", rule), ("objective", objective), ("direction", direction)) if value]
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]} are both given; a reward is by one of them")
    if not (isinstance(lower, Real) and math.isfinite(lower) and lower >= 0):
        raise InputError(f"lower={lower!r:.40} is not a number of standard deviations; give 0 or more")
    if objective is not None:
        rule = Directional((1.0,), names=(objective,))
    if direction is not None:
        rule = Directional(tuple(float(v) for v in direction.values()), names=tuple(direction))
    if rule is None:
        return None
    found = bound(rule_of(rule), head)
    if lower and rows_of(found) != "people":
        raise InputError(
            f"lower={lower:g}: rule {found.name!r} is of {rows_of(found)}, which have no standard deviation; "
            "leave one out"
        )
    return found
