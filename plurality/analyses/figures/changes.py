"""Changes from one model to others by group, and beside them whom the change harms."""

import matplotlib as mpl
import numpy as np
import polars as pl

from plurality.analyses.audit.labels import told_apart
from plurality.analyses.figures.style import INK, MARKS, MUTED, STYLE, Figure, titled

MOST_GROUPS = 40


def changes(frame: pl.DataFrame, *, width: float = 7.0) -> Figure:
    """A line a group: the change of each model with its interval, in points, and the share of people it harms.

    frame    model, name (of the group), n_users, difference, lo, hi, harmed, harmed_lo, harmed_hi
    width    of the figure, in inches
    """
    names = frame["name"].unique(maintain_order=True).to_list()[:MOST_GROUPS]
    models = frame["model"].unique(maintain_order=True).to_list()
    step = 0.7 / max(len(models), 1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, 1.0 + 0.2 * len(names) * max(1.0, 0.6 * len(models))), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        for k, model in enumerate(models):
            own = {row["name"]: row for row in frame.filter(model=model).iter_rows(named=True)}
            y = np.arange(len(names)) + step * (k - (len(models) - 1) / 2)
            for axes, value, low, high, scale in (
                (left, "difference", "lo", "hi", 100.0), (right, "harmed", "harmed_lo", "harmed_hi", 100.0),
            ):  # fmt: skip
                for place, name in zip(y, names, strict=True):
                    row = own.get(name)
                    if row is None or row[value] is None:
                        continue
                    if row[low] is not None and row[high] is not None:
                        axes.plot([scale * row[low], scale * row[high]], [place, place], color=INK, lw=0.9, zorder=2)
                    axes.plot(scale * row[value], place, MARKS[k % len(MARKS)], ms=4, color=INK,
                              mfc=INK if k % 2 == 0 else "white", zorder=3)  # fmt: skip
            left.plot([], [], MARKS[k % len(MARKS)], ms=4, color=INK, mfc=INK if k % 2 == 0 else "white", label=model)
        users = {row["name"]: row["n_users"] for row in frame.iter_rows(named=True)}
        labels = zip(names, told_apart([str(n) for n in names], 28 if width > 5 else 18), strict=True)
        left.axvline(0, color=MUTED, lw=0.8, zorder=1)
        left.set_yticks(range(len(names)), [f"{cut} ({users[name]:,})" for name, cut in labels])
        left.set_ylim(len(names) - 0.4, -0.6)
        left.tick_params(axis="y", length=0)
        right.tick_params(axis="y", length=0)
        left.set_xlabel("change of observed utility (points)" if width > 5 else "change of observed\nutility (points)")
        right.set_xlabel("people truly harmed (%)" if width > 5 else "people truly\nharmed (%)")
        right.set_xlim(0, 100)
        for axes in (left, right):
            axes.spines["left"].set_visible(False)
        figure.legend(loc="outside upper left", ncols=3)
        titled(figure, "Switching models: change by group, and whom it harms")
    return figure
