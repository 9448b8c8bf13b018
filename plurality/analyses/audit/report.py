"""An audit as one HTML page that carries everything it shows and asks nothing of the network."""

from base64 import b64encode
from dataclasses import dataclass
from importlib.resources import files

import jinja2
import numpy as np
import polars as pl

from plurality.analyses.audit.audit_readout import OVERALL_HEAD, WORST_HEAD
from plurality.analyses.audit.findings import Findings
from plurality.analyses.audit.labels import number
from plurality.analyses.audit.metrics import ALL_METRICS, KEYS
from plurality.analyses.audit.verdict import (
    Row,
    heading,
    interval,
    overall_lines,
    verdict,
    withheld_slices,
    worst_lines,
)
from plurality.analyses.wording import p_value
from plurality.escaping import visible

MOST_ROWS = 6000
SLICE_HEAD = (
    "metric", "attribute", "group", "users", "estimate", "interval", "difference", "its interval", "q", "p",
    "by chance", "shrunk", "comparisons", "n_eff", "flag",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """What a cell says and what it is sorted by; a missing number sorts last."""

    text: str
    sort: str | float


@dataclass(frozen=True)
class TableLine:
    """A row of the table of slices; `metric` is its place in ALL_METRICS."""

    metric: int
    cells: tuple[Cell, ...]


def html(audit: Findings, svg: dict[str, bytes]) -> str:
    """The page of an audit, and its figures as SVG by name."""
    shown = audit.table.filter(~pl.col("suppressed"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, finalize=_shown
    )
    template = environment.from_string((files("plurality.analyses.audit") / "report.html.jinja").read_text("utf-8"))
    hidden = _withheld(audit)
    meta = audit.meta
    return template.render(
        model=meta["model"],
        heading=heading(audit),
        verdict=verdict(audit),
        notes=audit.notes,
        pictures={name: "data:image/svg+xml;base64," + b64encode(drawn).decode() for name, drawn in svg.items()},
        sections=audit.sections.values(),
        metrics=ALL_METRICS,
        overall_head=OVERALL_HEAD,
        overall=overall_lines(audit),
        worst_head=WORST_HEAD,
        worst=worst_lines(audit),
        slice_head=SLICE_HEAD,
        slices=[_line(row) for row in shown.head(MOST_ROWS).iter_rows(named=True)],
        left_out=max(shown.height - MOST_ROWS, 0),
        withheld=hidden,
        withheld_count=sum(len(levels) for _, levels in hidden),
        level=f"{meta['level']:.0%}",
        n_bootstrap=meta["n_bootstrap"],
        seed=meta["seed"],
        served=meta["served"],
        version=meta["plurality"],
        min_users_flag=audit.disclosure.min_users_flag,
        min_users_show=audit.disclosure.min_users_show,
    )


def _shown(value: object) -> object:
    """What the template writes, with control characters of text from outside written out."""
    return visible(value) if type(value) is str else value


def _withheld(audit: Findings) -> list[tuple[str, list[str]]]:
    """Attributes with the names of their withheld levels."""
    grouped = withheld_slices(audit).group_by("attribute", maintain_order=True).agg("level")
    return [(str(attribute), list(levels)) for attribute, levels in grouped.iter_rows()]


def _line(row: Row) -> TableLine:
    place = KEYS.index((row["metric"], row["provenance"]))
    digits = 2 if row["metric"] == "kuiper" else 4 if row["metric"] == "l2_debiased" else 3
    change = {"lo": row["diff_lo"], "hi": row["diff_hi"]}

    def plain(value: float | None) -> str:
        return number(value, digits)

    def with_sign(value: float | None) -> str:
        return "" if value is None else ("+" if value > 0 else "") + number(value, digits)

    return TableLine(
        place,
        (
            Cell(ALL_METRICS[place].title, ALL_METRICS[place].title),
            Cell(row["attribute"], row["attribute"]),
            Cell(row["level"], row["level"]),
            Cell(f"{row['n_users']:,}", row["n_users"]),
            _number(row["estimate"], digits),
            Cell(interval(row, plain), _key(row["lo"])),
            Cell(with_sign(row["diff_vs_ref"]), _key(row["diff_vs_ref"])),
            Cell(interval(change, with_sign), _key(row["diff_lo"])),
            Cell(p_value(row["q"], ""), _key(row["q"])),
            Cell(p_value(row["p"], ""), _key(row["p"])),
            _number(row["null_expectation"], digits),
            _number(row["shrunk"], digits),
            Cell(f"{row['n_comparisons']:,}", row["n_comparisons"]),
            _number(row["n_eff"], 0),
            Cell(row["flag"] or "", row["flag"] or ""),
        ),
    )


def _number(value: float | None, places: int) -> Cell:
    return Cell("" if value is None else number(value, places), _key(value))


def _key(value: float | None) -> str | float:
    return "" if value is None or np.isnan(value) else value
