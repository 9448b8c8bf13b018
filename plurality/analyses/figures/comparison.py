"""Models and the controls they have to beat."""

import textwrap

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from plurality.analyses.audit.labels import CONTROLS, axis_label, brief, control_of, metric_of, shorten
from plurality.analyses.figures.style import INK, MUTED, STYLE, Figure, titled


def comparison(table: pl.DataFrame, *, width: float = 7.0) -> Figure:
    """Models and their controls: a panel for each metric and cell, a line for each model.

    `table` has model, cell, metric, estimate, lo, hi and control (bool). A model's controls, named "model · control",
    are hollow marks on its line. The dashed line is the best control of the panel, the baseline.

    width    of the figure, in inches
    """
    cells, metrics = (table[c].unique(maintain_order=True).to_list() for c in ("cell", "metric"))
    names = table.sort("control", maintain_order=True)["model"].unique(maintain_order=True).to_list()
    models = [name for name in names if control_of(name, names) is None]
    across, down = (len(cells), 1) if width > 5 else (1, len(cells))
    with mpl.rc_context(STYLE):
        size = (width, 0.5 + len(metrics) * (0.3 + down * (0.45 + 0.17 * len(models))))
        figure = Figure(figsize=size, layout="constrained")
        for part, metric in zip(figure.subfigures(len(metrics), 1, squeeze=False).ravel(), metrics, strict=True):
            grid = part.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
            for axes, cell in zip(grid, cells, strict=True):
                rows = table.filter((pl.col("metric") == metric) & (pl.col("cell") == cell))
                _comparison_panel(axes, rows, models, 26 if width > 5 else 24)
                title = _two_lines(str(cell), max(12, int(14 * width / across) - 8))
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
        titled(figure, "Models and the controls they have to beat")
    return figure


def _two_lines(cell: str, letters: int) -> str:
    """A cell's name in at most two lines of some letters, broken at its comma where both halves fit."""
    halves = cell.split(", ")
    if letters < len(cell) and len(halves) == 2 and max(map(len, halves)) < letters:
        return ",\n".join(halves)
    return textwrap.fill(cell, letters, max_lines=2, placeholder="…")


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
