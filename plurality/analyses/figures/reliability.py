"""Reliability diagrams: how often people agree with a stated confidence."""

from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from plurality.analyses.audit.labels import shorten, told_apart
from plurality.analyses.audit.slices import OVERALL
from plurality.analyses.figures.style import BAND, INK, MUTED, STYLE, Figure, close_gaps, titled

MOST_PANELS = 24


def reliability(diagrams: pl.DataFrame, *, width: float = 7.0) -> Figure:
    """Folded reliability diagrams, a panel for everybody and each group, those with most users first.

    The band around the diagonal is where a calibrated model would fall, the bars are intervals over users.

    diagrams    `reliability` of an audit
    width       of the figure, in inches
    """
    panels = diagrams.group_by("attribute", "level", "n_users", "n_comparisons", maintain_order=True).agg(pl.all())
    shown = panels.sort("n_users", descending=True, maintain_order=True).head(
        MOST_PANELS if width > 5 else MOST_PANELS // 2
    )
    columns = min(shown.height, 4 if width > 5 else 2)
    count = -(-shown.height // columns)
    with mpl.rc_context(STYLE):
        size = (width, 0.9 + count * (0.12 + 0.86 * min(width / columns, 2.5)))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(count, columns, sharex=True, sharey=True, squeeze=False).ravel()
        letters = int(12 * width / columns)
        names = told_apart(shown["level"].to_list(), letters)
        for axes, panel, name in zip(grid, shown.iter_rows(named=True), names, strict=False):
            _reliability_panel(axes, panel, name, letters)
        close_gaps(grid, shown.height, columns)
        lowest = np.nanmin(np.concatenate([*shown["lo"].to_list(), *shown["observed"].to_list(), [0.5]]))
        grid[0].set(
            xlim=(0.5, 1.0),
            ylim=(np.floor(10 * lowest) / 10, 1.0),
            xticks=[0.5, 0.75, 1.0],
            xticklabels=["0.5", "0.75", "1"],
        )
        figure.supxlabel("Stated confidence in the model's pick (probability)")
        figure.supylabel("Share won by that pick")
        entries = [
            Line2D([], [], color=INK, marker="o", ms=3, lw=0.9, label="observed, with interval over users"),
            Patch(color=BAND, label="where a calibrated model would fall"),
        ]
        figure.legend(handles=entries, loc="outside upper left", ncols=2 if width > 5 else 1)
        titled(figure, "Reliability: does stated confidence hold?")
    return figure


def _reliability_panel(axes: Axes, panel: dict[str, Any], name: str, letters: int) -> None:
    x, overall = np.array(panel["predicted"]), panel["attribute"] == OVERALL[0]
    axes.fill_between(x, panel["null_lo"], panel["null_hi"], color=BAND, lw=0, zorder=0)
    axes.plot([0.5, 1], [0.5, 1], color=MUTED, lw=0.6, zorder=1)
    axes.vlines(x, panel["lo"], panel["hi"], color=INK, lw=0.9, zorder=2)
    axes.plot(x, panel["observed"], "o-", color=INK, ms=2.6, lw=0.7, zorder=3)
    axes.set_title("All users" if overall else name, loc="left", fontweight="bold", fontsize=7, pad=11)
    note = f"{panel['n_users']:,} users"
    note = note if overall else f"{shorten(panel['attribute'], letters - len(note))} · {note}"
    axes.annotate(note, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", fontsize=6.5, color=MUTED)
