"""Gates: conditions on an audit that make a release fail, written as `worst_group.utility < .6`."""

import operator
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from plurality.analyses.audit.findings import Findings
from plurality.analyses.audit.labels import single_attributes
from plurality.analyses.audit.metrics import ALL_METRICS
from plurality.analyses.audit.slices import OVERALL
from plurality.analyses.inputs import listed
from plurality.errors import InputError

__all__ = ["Gate", "GateResult", "check_gates", "read_gates"]

OVER, WORST = "overall", "worst_group"
BOUNDS = ("estimate", "lo", "hi", "shrunk", "p", "q", "diff_vs_ref", "diff_lo", "diff_hi", "detectable", "n_users")
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
FORM = re.compile(
    r"^\s*(?P<scope>.+?)\.(?P<metric>[a-z_0-9]+)(?:\.(?P<bound>[a-z_]+))?\s*(?P<op><=|>=|<|>)\s*(?P<number>\S+)\s*$"
)
EXAMPLE = 'write "worst_group.utility < .6", "overall.accuracy.lo < .7" or "age=old.log_loss > .69"'
NAMES = sorted({metric.name for metric in ALL_METRICS})


@dataclass(frozen=True)
class Gate:
    """A condition under which an audit fails: `scope.metric.bound < number`.

    scope     "overall", "worst_group" (of any attribute), "worst_group[age]", or a group, "age=old"
    metric    name of a metric of the table; "utility" is the observed one
    bound     column that is held against the number: "estimate", or an end of the interval, "lo" or "hi", …
    sign      "<", "<=", ">" or ">="
    number    what it is held against
    text      as it was written
    """

    scope: str
    metric: str
    bound: str
    sign: str
    number: float
    text: str

    @staticmethod
    def read(text: str) -> "Gate":
        """A gate from its text. Raises InputError where it cannot be read.

        text    such as "worst_group.utility < .6"
        """
        found = FORM.match(text)
        if found is None:
            raise InputError(f"gate {text!r} cannot be read; {EXAMPLE}")
        metric, bound = found["metric"], found["bound"] or "estimate"
        if metric not in NAMES or bound not in BOUNDS:
            raise InputError(f"gate {text!r}: give a metric ({', '.join(NAMES)}) and a bound ({', '.join(BOUNDS)})")
        try:
            number = float(found["number"])
        except ValueError:
            raise InputError(f"gate {text!r}: {found['number']!r} is no number; {EXAMPLE}") from None
        if not np.isfinite(number):
            raise InputError(f"gate {text!r}: {number} is no limit; give a finite number")
        return Gate(found["scope"].strip(), metric, bound, found["op"], number, text.strip())


@dataclass(frozen=True)
class GateResult:
    """What became of one gate.

    gate      the condition
    failed    whether it holds, so that the audit fails; one that cannot be evaluated fails too
    value     what was held against the number; None where there is none
    said      the finding in a sentence, which names the group and the bound
    """

    gate: Gate
    failed: bool
    value: float | None
    said: str


def read_gates(path: str | Path) -> list[Gate]:
    """Gates of a TOML file: `fail_if = ["worst_group.utility < .6", …]`. Raises InputError for a file without.

    path    file to read
    """
    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: no TOML ({error}); write fail_if = ["worst_group.utility < .6"]') from error
    conditions = content.get("fail_if")
    if not isinstance(conditions, list) or not conditions or not all(isinstance(c, str) for c in conditions):
        raise InputError(f'{path}: no list fail_if; write fail_if = ["worst_group.utility < .6"]')
    return [Gate.read(text) for text in conditions]


def check_gates(audit: Findings, gates: Sequence[Gate | str]) -> tuple[GateResult, ...]:
    """Every gate held against an audit, in order; a group that is withheld or undefined fails its gate.

    Raises InputError for a group or metric that the audit does not have.

    audit    what `audit` returned
    gates    conditions under which it fails, as text or read

    >>> import plurality as pl8
    >>> ids = [f"user-{k}" for k in range(40)]
    >>> predictions = {"user_id": ids * 2, "prob_first": [0.8] * 40 + [0.3] * 40, "label": [1] * 20 + [0] * 60}
    >>> found = pl8.audit(predictions, {"user_id": ids, "age": ["young"] * 20 + ["old"] * 20}, n_bootstrap=50)
    >>> print(pl8.check_gates(found, ["worst_group.utility < .6"])[0].said)
    fails: utility of age old (the worst group), estimate 0.500 [0.500, 0.500] < 0.6
    """
    return tuple(_checked(audit, gate if isinstance(gate, Gate) else Gate.read(gate)) for gate in gates)


def _checked(audit: Findings, gate: Gate) -> GateResult:
    rows = audit.table.filter(pl.col("metric") == gate.metric, pl.col("provenance") == "observed")
    if rows.is_empty():
        there = listed(audit.table["metric"].unique().sort().to_list())
        raise InputError(f"gate {gate.text!r}: the audit has no {gate.metric}; it has {there}")
    row, name = _row(rows, gate)
    bound = np.nan if row is None or row[gate.bound] is None else float(row[gate.bound])
    ends = ""
    if row is not None and row["lo"] is not None and np.isfinite(row["lo"]):
        ends = f" [{row['lo']:.3f}, {row['hi']:.3f}]"
    if not np.isfinite(bound):
        return GateResult(gate, True, None, f"fails: {gate.metric} of {name}: {gate.bound} is withheld or undefined")
    failed = OPERATORS[gate.sign](bound, gate.number)
    what = f"{gate.bound} {bound:.3f}{ends}"
    verb = f"fails: {gate.metric} of {name}, {what} {gate.sign} {gate.number:g}"
    passed = f"passes: {gate.metric} of {name}, {what}, not {gate.sign} {gate.number:g}"
    return GateResult(gate, failed, bound, verb if failed else passed)


def _row(rows: pl.DataFrame, gate: Gate) -> tuple[dict[str, Any] | None, str]:
    """The row that a gate is about, and how it is called; of a group, or of that which fails most."""
    if gate.scope == OVER:
        return rows.filter(attribute=OVERALL[0]).row(0, named=True), "all users"
    if gate.scope == WORST or (gate.scope.startswith(f"{WORST}[") and gate.scope.endswith("]")):
        groups, of = single_attributes(rows), gate.scope[len(WORST) + 1 : -1]
        if of:
            groups = rows.filter(attribute=of)
        if groups.is_empty():
            raise InputError(f"gate {gate.text!r}: no groups{f' by {of}' if of else ''}; give users= with attributes")
        known = groups.filter(~pl.col("suppressed"), pl.col(gate.bound).is_not_null() & pl.col(gate.bound).is_not_nan())
        if known.is_empty():
            return None, "the worst group"
        row = known.sort(gate.bound, descending=gate.sign.startswith(">")).row(0, named=True)
        return row, f"{row['attribute']} {row['level']} (the worst group)"
    attribute, equals, level = gate.scope.partition("=")
    found = rows.filter(attribute=attribute.strip(), level=level.strip())
    if not equals or found.is_empty():
        there = [f"{a}={b}" for a, b in single_attributes(rows).select("attribute", "level").iter_rows()]
        raise InputError(
            f"gate {gate.text!r}: no group {gate.scope!r}; give {OVER}, {WORST}, or one of {listed(there[:30])}"
        )
    return found.row(0, named=True), f"{attribute.strip()} {level.strip()}"
