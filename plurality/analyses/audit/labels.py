"""The words on figures: which line of a forest plot says what, and text cut to fit."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from plurality.analyses.audit.metrics import ALL_METRICS, Metric
from plurality.analyses.audit.slices import CROSS, OVERALL

MOST_LINES = 60
CONTROLS = {"population code": "s", "another user's code": "^", "shuffled users": "D"}  # and their marks in figures


@dataclass(frozen=True)
class Line:
    """One line of a forest plot: a heading, a group, a group of few users, or names of groups withheld."""

    kind: Literal["head", "group", "small", "withheld"]
    label: str
    estimate: float | None = None
    lo: float | None = None
    hi: float | None = None
    shrunk: float | None = None
    n_users: int | None = None


def metric_of(name: str, provenance: str = "observed") -> Metric | None:
    """The metric of that name, if the audit has it."""
    return next((m for m in ALL_METRICS if m.key == (name, provenance)), None)


def axis_label(name: str, provenance: str = "observed") -> str:
    """Title and unit of a metric, or its name as it stands."""
    metric = metric_of(name, provenance)
    return f"{metric.title} ({metric.unit})" if metric else name.replace("_", " ")


def single_attributes(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of groups by one attribute."""
    crossed = pl.col("attribute").str.contains(CROSS, literal=True)
    return table.filter((pl.col("attribute") != OVERALL[0]) & ~crossed)


def with_group_names(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with a column `name`: "All users", or the level, after its attribute where there are several.

    rows    with attribute and level
    """
    whole = pl.col("attribute") == OVERALL[0]
    several = rows.filter(~whole)["attribute"].n_unique() > 1
    group = pl.format("{}: {}", "attribute", "level") if several else pl.col("level")
    return rows.with_columns(name=pl.when(whole).then(pl.lit("All users")).otherwise(group))


def forest_lines(rows: pl.DataFrame, width: int) -> list[Line]:
    """Lines for the rows of one metric: everybody, then per attribute a heading, its groups, the names
    withheld.
    """
    overall = rows.filter(pl.col("attribute") == OVERALL[0]).row(0, named=True)
    lines = [_line(overall, "head", "All users")]
    for (attribute,), groups in single_attributes(rows).group_by("attribute", maintain_order=True):
        lines.append(Line("head", shorten(str(attribute), width)))
        told = groups.filter(~pl.col("suppressed"))
        for row, name in zip(told.iter_rows(named=True), told_apart(told["level"].to_list(), width), strict=True):
            lines.append(_line(row, "small" if row["flag"] else "group", name))
        hidden = groups.filter("suppressed")["level"].to_list()
        if hidden:
            names = ", ".join(hidden)
            fits = len(names) <= width - 10
            lines.append(Line("withheld", f"withheld: {names if fits else f'{len(hidden)} groups'}"))
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], Line("withheld", f"{more} more lines in the table")] if more > 0 else lines


def _line(row: dict[str, Any], kind: Literal["head", "group", "small"], label: str) -> Line:
    return Line(kind, label, *(row[c] for c in ("estimate", "lo", "hi", "shrunk", "n_users")))


def number(value: float | None, places: int) -> str:
    """A number with that many decimals; a dash where there is none."""
    if value is None or np.isnan(value):
        return "–"
    text = f"{value:.{places}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def shorten(text: str, width: int) -> str:
    """The text, cut at `width` characters with an ellipsis."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def told_apart(names: Sequence[str], width: int) -> list[str]:
    """The texts, cut at `width` characters; those that would come out alike keep their ends as well.

    names    texts, in any order
    width    characters of each, at least 3
    """
    short = [shorten(name, width) for name in names]
    whole: dict[str, set[str]] = {}
    for cut, name in zip(short, names, strict=True):
        whole.setdefault(cut, set()).add(name)
    start = (width - 1) // 3
    return [
        cut if len(whole[cut]) == 1 else f"{name[:start].rstrip()}…{name[start + 1 - width :].lstrip()}"
        for cut, name in zip(short, names, strict=True)
    ]


_WRITTEN = {"bradley_terry": "Bradley–Terry", "maxmin": "MaxMin"}
_ACRONYMS = ("pal", "vpl", "lcpo", "more", "dpl")


def model_name(model: str) -> str:
    """How a model's name is written: that of a family as in its papers, any other as it is; controls keep their word.

    "low_rank · shuffled users" is "low rank · shuffled users".
    """
    family, dot, rest = model.partition(" · ")
    if family in _ACRONYMS:
        return family.upper() + dot + rest
    return _WRITTEN.get(family, "low rank" if family == "low_rank" else family) + dot + rest


def brief(model: str) -> str:
    """A model's name where there is little room."""
    return model_name(model).replace("Bradley–Terry · per-user ", "BT · ")


def control_of(model: str, models: Container[str]) -> str | None:
    """The model among `models` that this one, called "model · control", is a control of; None if it is a model."""
    base, _, kind = model.rpartition(" · ")
    return base if kind in CONTROLS and base in models else None
