"""A sample of people beside the population that it should stand for."""

import matplotlib as mpl
import numpy as np
import polars as pl

from plurality.analyses.audit.labels import shorten
from plurality.analyses.figures.style import FAINT, INK, MUTED, STYLE, Figure, titled


def margins(frame: pl.DataFrame, *, width: float = 7.0) -> Figure:
    """Shares by `attribute` and `level`: dots the `sample`, bars the `population`; a withheld sample has no dot.

    frame    what is drawn, with the columns named above
    width    of the figure, in inches
    """
    rows, places, names, heads, y = frame.rows(named=True), [], [], [], 0.0
    for k, row in enumerate(rows):
        new = k == 0 or row["attribute"] != rows[k - 1]["attribute"]
        y += 1.6 if new and k else 1.0 if k else 0.0
        if new:
            heads.append((y, row["attribute"]))
        places.append(y)
        names.append(shorten(str(row["level"]), int(4 * width)))
    at = np.array(places)
    target = np.array([100 * row["population"] for row in rows])
    sample = np.array([np.nan if row["sample"] is None else 100 * row["sample"] for row in rows])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, 0.8 + 0.2 * (at[-1] + 1)), layout="constrained")
        axes = figure.add_subplot()
        axes.barh(at, target, height=0.66, color=FAINT, edgecolor=MUTED, lw=0.5, label="population", zorder=1)
        axes.hlines(at, np.fmin(sample, target), np.fmax(sample, target), color=INK, lw=0.9, zorder=2)
        axes.plot(sample, at, "o", color=INK, ms=3.5, label="users audited", zorder=3)
        axes.set_yticks(at, names)
        for place, name in heads:
            axes.annotate(name, (1, place), (-2, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                          ha="right", va="center", fontsize=7, color=MUTED)  # fmt: skip
        axes.set(ylim=(at[-1] + 0.8, -0.8), xlim=(0, 1.25 * np.nanmax([*target, *sample])), xlabel="share of people, %")
        axes.tick_params(axis="y", length=0)
        titled(figure, "Users audited beside the population")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, borderaxespad=0.1)
    return figure
