"""Numbers that grow with something: candidates to choose from, comparisons given; and rules that trade off."""

import textwrap

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter

from plurality.analyses.audit.labels import shorten
from plurality.analyses.figures.style import BAND, INK, LINES, MARKS, MUTED, STYLE, Figure, close_gaps, titled

MOST_LINES = 6  # of one panel that can be told apart in greyscale


def growth(
    frame: pl.DataFrame,
    x: str,
    line: str,
    *,
    x_title: str,
    y_title: str,
    panel: str | None = None,
    level: float | None = None,
    width: float = 7.0,
) -> Figure:
    """`estimate` with `lo`, `hi` along `x`, a line each and a panel each; x is on a log scale where it spans a decade.

    Best-of-N by group, accuracy by number of comparisons given. `level` is a mark to compare with. More than six lines
    are one panel each, on the others in grey.

    frame      what is drawn, with the columns named above
    line       column whose values have a line each
    x_title    title of the x axis
    y_title    title of the y axis
    panel      column whose values have a panel each
    width      of the figure, in inches
    """
    names = frame[line].unique(maintain_order=True).to_list()
    panels = names if panel is None and len(names) > MOST_LINES else [None]
    if panel is not None:
        panels = frame[panel].unique(maintain_order=True).to_list()
    across = min(len(panels), 4 if width > 5 else 2)
    down = -(-len(panels) // across)
    with mpl.rc_context(STYLE):
        height = 2.6 if len(panels) == 1 else 0.7 + 1.5 * down
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, name in zip(grid, panels, strict=False):
            if panel is not None:
                _lines(axes, frame.filter(pl.col(panel) == name), x, line, names)
            elif name is None:
                _lines(axes, frame, x, line, names)
            else:
                _one_of(axes, frame, x, line, name)
            if name is not None:
                axes.set_title(shorten(str(name), 26), loc="left", fontsize=7, fontweight="bold")
            if level is not None:
                axes.axhline(level, color=MUTED, lw=0.7, ls=":")
            scale_x(axes, frame[x])
        close_gaps(grid, len(panels), across)
        figure.supxlabel(x_title)
        figure.supylabel(y_title)
        if panel is not None or panels == [None]:
            handles, labels = grid[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper left", ncols=4 if width > 5 else 2, handlelength=3)
        titled(figure, f"{y_title[:1].upper()}{y_title[1:]} by {x_title}, with intervals")
    return figure


def _lines(axes: Axes, frame: pl.DataFrame, x: str, line: str, names: list[str]) -> None:
    for k, name in enumerate(names):
        own = frame.filter(pl.col(line) == name).sort(x)
        axes.fill_between(own[x], own["lo"], own["hi"], color=INK, alpha=0.07, lw=0)
        axes.plot(own[x], own["estimate"], color=INK, lw=1, ls=LINES[k % len(LINES)], marker=MARKS[k % len(MARKS)],
                  ms=3.5, mfc="white", clip_on=False, label=shorten(str(name), 28))  # fmt: skip


def _one_of(axes: Axes, frame: pl.DataFrame, x: str, line: str, name: str) -> None:
    for (other,), own in frame.sort(x).group_by(line, maintain_order=True):
        if other != name:
            axes.plot(own[x], own["estimate"], color=BAND, lw=0.7, zorder=0)
    own = frame.filter(pl.col(line) == name).sort(x)
    axes.fill_between(own[x], own["lo"], own["hi"], color=INK, alpha=0.12, lw=0)
    axes.plot(own[x], own["estimate"], "o-", color=INK, lw=1, ms=2.6, clip_on=False)


def scale_x(axes: Axes, values: pl.Series, zero: float = 1.0) -> None:
    """Ticks at the values alone, on a log scale where they span a decade.

    axes      whose x it is
    values    on it
    zero      decades of room between 0 and the least value above it
    """
    ticks = np.unique(values.to_numpy())
    positive = ticks[ticks > 0]
    if len(positive) and positive[-1] >= 10 * positive[0]:
        axes.set_xscale("symlog", linthresh=float(positive[0]), linscale=zero) if ticks[0] <= 0 else axes.set_xscale(
            "log"
        )
    axes.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set_xlim(ticks[0], ticks[-1])


def front(frame: pl.DataFrame, *, normalisation: str, width: float = 7.0) -> Figure:
    """Rules of aggregation by the mean utility and that of the worst group: `rule`, `mean`, `worst`, and `_lo`, `_hi`.

    Rules that no other beats in both are filled and joined.

    frame            what is drawn, with the columns named above
    normalisation    how utilities were made comparable, for the title of the axis
    width            of the figure, in inches
    """
    rows = frame.rows(named=True)
    mean, worst = frame["mean"].to_numpy(), frame["worst"].to_numpy()
    beaten = [
        bool(((mean >= m) & (worst >= w) & ((mean > m) | (worst > w))).any()) for m, w in zip(mean, worst, strict=True)
    ]
    best = [i for i in np.argsort(mean) if not beaten[i]]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, min(4.2, 0.6 * width)), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(mean[best], worst[best], color=MUTED, lw=0.8, zorder=1)
        for i, row in enumerate(rows):
            axes.plot([row["mean_lo"], row["mean_hi"]], [row["worst"]] * 2, color=INK, lw=0.6, zorder=2)
            axes.plot([row["mean"]] * 2, [row["worst_lo"], row["worst_hi"]], color=INK, lw=0.6, zorder=2)
            axes.plot(row["mean"], row["worst"], MARKS[i % len(MARKS)], ms=5, mec=INK, zorder=3,
                      mfc="white" if beaten[i] else INK, label=str(row["rule"]))  # fmt: skip
        low, high = axes.get_xlim()[0], axes.get_xlim()[1]
        axes.plot([low, high], [low, high], color=MUTED, lw=0.5, ls=":", zorder=0)
        axes.set(
            xlim=(low, high), xlabel=f"Mean utility over users ({normalisation})", ylabel="Utility of the worst group"
        )
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), labelspacing=0.6)
        words = "Filled: no other rule is better in both. Dotted: the worst group is as well off as the mean."
        axes.set_title(textwrap.fill(words, int(15 * width)), loc="left", fontsize=7)
        titled(figure, "Rules of choice: the mean user against the worst group")
    return figure
