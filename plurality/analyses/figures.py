"""Figures of an audit and of a comparison of models; the only place that draws.

Every function takes frames and returns a matplotlib Figure of its own, `width` inches wide: 3.5 for a column,
7 for a page. Meaning is carried by shape and position, so the figures read in greyscale.
"""

import textwrap
from io import BytesIO
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from plurality.analyses.labels import (
    CONTROLS,
    Line,
    axis_label,
    brief,
    control_of,
    forest_lines,
    metric_of,
    number,
    shorten,
)
from plurality.analyses.slices import OVERALL
from plurality.errors import InputError

if TYPE_CHECKING:
    from plurality.analyses.audit import Audit

INK, MUTED, FAINT, BAND = "#111111", "#6b6b6b", "#c4c4c4", "#e3e3e3"
MOST_PANELS = 24
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "figure.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "plurality",
}
_LABELS: dict[str, dict[str, Any]] = {
    "head": {"fontweight": "bold"},
    "group": {},
    "small": {},
    "withheld": {"color": MUTED, "fontstyle": "italic", "fontsize": 7},
}


def figures(audit: "Audit") -> dict[str, Figure]:
    """The figures of an audit by name, one page wide."""
    return {
        "groups": forest(audit.table),
        "reliability": reliability(audit.reliability),
        "lorenz": lorenz(audit.lorenz, audit.overall),
    }


def as_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as "png" (200 dots an inch) or "svg"; the same figure gives the same bytes."""
    buffer = BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format=kind, dpi=200, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return buffer.getvalue()


def forest(table: pl.DataFrame, metric: str = "utility", provenance: str = "observed", *, width: float = 7.0) -> Figure:
    """Groups by attribute: estimate with interval, shrunk estimate, and everybody as a line; withheld groups
    named.

    Pairs of attributes are left to the table.
    """
    rows = table.filter((pl.col("metric") == metric) & (pl.col("provenance") == provenance))
    if rows.is_empty():
        raise InputError(f"table: no metric {metric!r} with provenance {provenance!r}; see its columns of these names")
    lines = forest_lines(rows, 34 if width > 5 else 21)
    # headings stand off from the group above
    y = np.cumsum([1.5 if line.kind == "head" and i else 1.0 for i, line in enumerate(lines)]) - 1
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, max(1.7, 0.95 + 0.155 * y[-1])), layout="constrained")
        axes = figure.add_subplot()
        if lines[0].lo is not None and lines[0].hi is not None and lines[0].estimate is not None:
            axes.axvspan(lines[0].lo, lines[0].hi, color=BAND, lw=0, zorder=0)
            axes.axvline(lines[0].estimate, color=MUTED, lw=0.8, zorder=1)
        for place, line in zip(y, lines, strict=True):
            _forest_row(axes, float(place), line)
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
    return figure


def _forest_row(axes: Axes, y: float, line: Line) -> None:
    if line.estimate is None or line.lo is None or line.hi is None:
        return
    small = line.kind == "small"
    axes.plot([line.lo, line.hi], [y, y], color=INK, lw=0.9, ls=(0, (2, 1.5)) if small else "-", zorder=2)
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


def reliability(diagrams: pl.DataFrame, *, width: float = 7.0) -> Figure:
    """Folded reliability diagrams, a panel for everybody and each group, those with most users first.

    The band around the diagonal is where a calibrated model would fall, the bars are intervals over users.
    """
    panels = diagrams.group_by("attribute", "level", "n_users", "n_comparisons", maintain_order=True).agg(pl.all())
    shown = panels.sort("n_users", descending=True, maintain_order=True).head(
        MOST_PANELS if width > 5 else MOST_PANELS // 2
    )
    columns = min(shown.height, 4 if width > 5 else 2)
    count = -(-shown.height // columns)
    with mpl.rc_context(_STYLE):
        size = (width, 0.9 + count * (0.12 + 0.86 * min(width / columns, 2.5)))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(count, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, panel in zip(grid, shown.iter_rows(named=True), strict=False):
            _reliability_panel(axes, panel)
        for axes in grid[shown.height :]:
            axes.set_visible(False)
        # where the last row is short, the panels above its gap stand at the bottom of their columns
        for axes in grid[max(shown.height - columns, 0) : shown.height]:
            axes.tick_params(labelbottom=True)
        lowest = np.nanmin(np.concatenate([*shown["lo"].to_list(), *shown["observed"].to_list(), [0.5]]))
        grid[0].set(
            xlim=(0.5, 1.0),
            ylim=(np.floor(10 * lowest) / 10, 1.0),
            xticks=[0.5, 0.75, 1.0],
            xticklabels=["0.5", "0.75", "1"],
        )
        figure.supxlabel("Stated confidence in the model's pick (probability)")
        figure.supylabel("Share of comparisons won by that pick")
        entries = [
            Line2D([], [], color=INK, marker="o", ms=3, lw=0.9, label="observed, with interval over users"),
            Patch(color=BAND, label="where a calibrated model would fall"),
        ]
        figure.legend(handles=entries, loc="outside upper left", ncols=2 if width > 5 else 1)
    return figure


def _reliability_panel(axes: Axes, panel: dict[str, list[float]]) -> None:
    x, overall = np.array(panel["predicted"]), panel["attribute"] == OVERALL[0]
    axes.fill_between(x, panel["null_lo"], panel["null_hi"], color=BAND, lw=0, zorder=0)
    axes.plot([0.5, 1], [0.5, 1], color=MUTED, lw=0.6, zorder=1)
    axes.vlines(x, panel["lo"], panel["hi"], color=INK, lw=0.9, zorder=2)
    axes.plot(x, panel["observed"], "o-", color=INK, ms=2.6, lw=0.7, zorder=3)
    title = "All users" if overall else shorten(str(panel["level"]), 25)
    axes.set_title(title, loc="left", fontweight="bold", fontsize=7, pad=11)
    of = "" if overall else f"{shorten(str(panel['attribute']), 16)}, "
    note = f"{of}{panel['n_users']:,} users"
    axes.annotate(note, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", fontsize=6.5, color=MUTED)


def lorenz(curve: pl.DataFrame, overall: pl.DataFrame, *, width: float = 7.0) -> Figure:
    """Lorenz curve of users' observed utility, and its distance from equality, beside what noise alone would
    show.
    """
    gini = overall.filter(pl.col("metric") == "gini").row(0, named=True)
    users, utility, lo, hi = (curve[c].to_numpy() for c in ("users", "utility", "equal_lo", "equal_hi"))
    wide = width > 5
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, 3.0 if wide else 5.4), layout="constrained")
        whole, gap = figure.subplots(1, 2) if wide else figure.subplots(2, 1)
        _lorenz_panel(whole, users, (users, utility, lo, hi))
        _lorenz_panel(gap, users, tuple(100 * (users - share) for share in (users, utility, lo, hi)))
        whole.yaxis.set_major_formatter(PercentFormatter(1))
        whole.set(ylim=(0, 1), ylabel="Utility they receive (share)")
        gap.set(ylabel="Short of equal shares (points)")
        gap.set_ylim(bottom=0)
        numbers = f"Gini {number(gini['estimate'], 3)}\nnoise alone {number(gini['null_expectation'], 3)}"
        whole.text(0.04, 0.95, numbers, transform=whole.transAxes, va="top", fontsize=8)
        entries = [
            Line2D([], [], color=INK, lw=1.4, label="observed utility"),
            Patch(color=FAINT, label="equal users, seen through as few comparisons"),
            Line2D([], [], color=MUTED, lw=0.8, ls="--", label="equal shares"),
        ]
        figure.legend(handles=entries, loc="outside upper left", ncols=3 if wide else 1)
    return figure


def _lorenz_panel(axes: Axes, users: np.ndarray, curves: tuple[np.ndarray, ...]) -> None:
    equal, observed, lo, hi = curves
    axes.fill_between(users, lo, hi, color=FAINT, lw=0, zorder=1)
    axes.plot(users, equal, color=MUTED, lw=0.8, ls="--", zorder=2)
    axes.plot(users, observed, color=INK, lw=1.4, zorder=3)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlim=(0, 1), xlabel="Users, worst served first (share)")


def comparison(table: pl.DataFrame, *, width: float = 7.0) -> Figure:
    """Models and their controls: a panel for each metric and cell, a line for each model.

    `table` has model, cell, metric, estimate, lo, hi and control (bool). A model's controls, named "model · control",
    are hollow marks on its line. The dashed line is the best control of the panel, the mark to beat.
    """
    cells, metrics = (table[c].unique(maintain_order=True).to_list() for c in ("cell", "metric"))
    names = table.sort("control", maintain_order=True)["model"].unique(maintain_order=True).to_list()
    models = [name for name in names if control_of(name, names) is None]
    across, down = (len(cells), 1) if width > 5 else (1, len(cells))
    with mpl.rc_context(_STYLE):
        size = (width, 0.5 + len(metrics) * (0.3 + down * (0.45 + 0.17 * len(models))))
        figure = Figure(figsize=size, layout="constrained")
        for part, metric in zip(figure.subfigures(len(metrics), 1, squeeze=False).ravel(), metrics, strict=True):
            grid = part.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
            for axes, cell in zip(grid, cells, strict=True):
                rows = table.filter((pl.col("metric") == metric) & (pl.col("cell") == cell))
                _comparison_panel(axes, rows, models, 26 if width > 5 else 24)
                title = textwrap.fill(str(cell), max(12, int(14 * width / across) - 8), max_lines=2, placeholder="…")
                axes.set_title(title, loc="left", fontweight="bold", fontsize=7)
            part.supxlabel(axis_label(str(metric)))
        entries = [Line2D([], [], color=INK, marker="o", ms=4, lw=0.9, label="model with interval")]
        entries += [
            Line2D([], [], color=INK, marker=mark, ms=4, mfc="white", lw=0, label=kind)
            for kind, mark in CONTROLS.items()
            if any(str(name).endswith(f" · {kind}") for name in names)
        ]
        entries.append(Line2D([], [], color=MUTED, lw=0.8, ls="--", label="best control"))
        figure.legend(handles=entries, loc="outside upper left", ncols=5 if width > 5 else 2)
    return figure


def _comparison_panel(axes: Axes, rows: pl.DataFrame, models: list[str], letters: int) -> None:
    y = {model: i for i, model in enumerate(models)}
    metric = metric_of(str(rows["metric"][0])) if rows.height else None
    beaten = rows.filter("control")["estimate"].drop_nulls()
    if metric is not None and metric.better != "zero" and len(beaten):
        best = beaten.max() if metric.better == "higher" else beaten.min()
        axes.axvline(float(str(best)), color=MUTED, lw=0.8, ls="--", zorder=1)
    for row in rows.iter_rows(named=True):
        base = control_of(row["model"], y)
        if base is not None:
            mark = CONTROLS[row["model"].rpartition(" · ")[2]]
            axes.plot(row["estimate"], y[base], mark, ms=3.5, mec=MUTED, mfc="white", mew=0.8, zorder=3)
            continue
        at, fill = y[row["model"]], "white" if row["control"] else INK
        axes.plot([row["lo"], row["hi"]], [at, at], color=INK, lw=0.9, zorder=2)
        axes.plot(row["estimate"], at, "o", ms=4, mec=INK, mfc=fill, mew=0.9, zorder=4)
    axes.set_yticks(list(y.values()), [shorten(brief(model), letters) for model in models])
    axes.set_ylim(max(y.values()) + 0.6, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
