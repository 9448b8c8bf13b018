"""Groups one under another: estimate, interval, what shrinkage leaves, and everybody as a line."""

from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from plurality.analyses.audit.labels import Line, axis_label, forest_lines
from plurality.analyses.figures.style import BAND, INK, MUTED, STYLE, Figure, titled
from plurality.errors import InputError

REACH = 1.5  # of the spread of estimates, or of two common intervals, beyond which an interval ends in an arrow
_LABELS: dict[str, dict[str, Any]] = {
    "head": {"fontweight": "bold"},
    "group": {},
    "small": {},
    "withheld": {"color": MUTED, "fontstyle": "italic", "fontsize": 7},
}


def forest(table: pl.DataFrame, metric: str = "utility", provenance: str = "observed", *, width: float = 7.0) -> Figure:
    """Groups by attribute: estimate with interval, shrunk estimate, and everybody as a line; withheld groups
    named.

    Pairs of attributes are left to the table.

    table         `table` of an audit
    metric        metric to draw
    provenance    "observed" or "predicted"
    width         of the figure, in inches
    """
    rows = table.filter((pl.col("metric") == metric) & (pl.col("provenance") == provenance))
    if rows.is_empty():
        raise InputError(f"table: no metric {metric!r} with provenance {provenance!r}; see its columns of these names")
    lines = forest_lines(rows, 34 if width > 5 else 21)
    # headings stand off from the group above
    y = np.cumsum([1.5 if line.kind == "head" and i else 1.0 for i, line in enumerate(lines)]) - 1
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, max(1.7, 0.95 + 0.155 * y[-1])), layout="constrained")
        axes = figure.add_subplot()
        if lines[0].lo is not None and lines[0].hi is not None and lines[0].estimate is not None:
            if np.isfinite((lines[0].lo, lines[0].hi)).all():  # few people may leave the whole without an interval
                axes.axvspan(lines[0].lo, lines[0].hi, color=BAND, lw=0, zorder=0)
            axes.axvline(lines[0].estimate, color=MUTED, lw=0.8, zorder=1)
        ends = _ends(lines)
        for place, line in zip(y, lines, strict=True):
            _forest_row(axes, float(place), line, ends)
        axes.set_ylim(y[-1] + 0.7, -0.8)
        axes.set_yticks(y, [line.label for line in lines])
        axes.tick_params(axis="y", length=0)
        for tick, line in zip(axes.get_yticklabels(), lines, strict=True):
            tick.set(**_LABELS[line.kind])
        axes.spines["left"].set_visible(False)
        figure.supxlabel(axis_label(metric, provenance))
        axes.xaxis.set_major_locator(MaxNLocator(6 if width > 5 else 4))
        _beside(axes, -1.4, "users", MUTED)
        _forest_legend(figure, 4 if width > 5 else 2, any(line.kind == "small" for line in lines))
        titled(figure, f"{axis_label(metric, provenance).partition(' (')[0]} by group of users")
    return figure


def _ends(lines: list[Line]) -> tuple[float, float]:
    """Where intervals are cut, so that one of few people, or without an end, does not squeeze the others to a point."""
    known = [
        (n.estimate, n.lo, n.hi) for n in lines if n.estimate is not None and n.lo is not None and n.hi is not None
    ]
    numbers = np.array([row for row in known if np.isfinite(row[0])]).reshape(-1, 3)
    width = numbers[:, 2] - numbers[:, 1]
    width = width[np.isfinite(width)]
    if not len(width):
        return -np.inf, np.inf
    low, high = numbers[:, 0].min(), numbers[:, 0].max()
    room = REACH * max(high - low, 2 * float(np.median(width)))
    return float(low - room), float(high + room)


def _forest_row(axes: Axes, y: float, line: Line, ends: tuple[float, float]) -> None:
    if line.estimate is None or line.lo is None or line.hi is None:
        return
    small = line.kind == "small"
    lo, hi = max(line.lo, ends[0]), min(line.hi, ends[1])
    axes.plot([lo, hi], [y, y], color=INK, lw=0.9, ls=(0, (2, 1.5)) if small else "-", zorder=2)
    for end, whole, mark in ((lo, line.lo, "<"), (hi, line.hi, ">")):
        if end != whole and np.isfinite(end):
            axes.plot(end, y, mark, ms=4, color=INK, zorder=2)
    if line.shrunk is not None:
        axes.plot(line.shrunk, y, "D", ms=3.6, mfc="white", mec=MUTED, mew=0.8, zorder=3)
    axes.plot(line.estimate, y, "o", ms=4, mfc="white" if small else INK, mec=INK, mew=0.9, zorder=4)
    _beside(axes, y, f"{line.n_users:,}", INK)


def _beside(axes: Axes, y: float, text: str, colour: str) -> None:
    """Text right of the axes, in a column aligned on its right."""
    axes.annotate(
        text, (1, y), (30, 0), xycoords=("axes fraction", "data"), textcoords="offset points", color=colour,
        ha="right", va="center_baseline", fontsize=7,
    )  # fmt: skip


def _forest_legend(figure: Figure, columns: int, small: bool) -> None:
    entries = [
        Line2D([], [], color=INK, marker="o", ms=4, lw=0.9, label="group with interval"),
        Line2D([], [], color=MUTED, marker="D", ms=3.6, mfc="white", lw=0, label="shrunk to attribute's mean"),
        Patch(color=BAND, label="all users"),
    ]
    if small:
        dashed = Line2D([], [], color=INK, marker="o", ms=4, mfc="white", lw=0.9, ls="--", label="few users")
        entries.insert(1, dashed)
    figure.legend(handles=entries, loc="outside upper left", ncols=columns, handlelength=2.2, columnspacing=1.4)
