"""How well a person is predicted after so many answers, beside what one reward for all would say."""

import textwrap

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from plurality.analyses.audit.labels import axis_label, brief, control_of, shorten
from plurality.analyses.figures.curves import scale_x
from plurality.analyses.figures.style import INK, MUTED, STYLE, Figure, close_gaps, titled

BASELINE = "bradley_terry"


def few_shot(curves: pl.DataFrame, *, width: float = 7.0) -> Figure:
    """Accuracy and log-loss by number of answers: a panel a metric and model, its population's code beside it.

    Marks are filled where the interval of the difference to the population's code leaves out 0.

    curves    model, support, metric, estimate, lo, hi, gain_lo, gain_hi, as of `Comparison.curves`; a model's line of
              the population's code is called "model · population code"
    width     of the figure, in inches
    """
    names = curves["model"].unique(maintain_order=True).to_list()
    models = [n for n in names if control_of(n, names) is None and n != BASELINE] or names
    metrics = curves["metric"].unique(maintain_order=True).to_list()
    across = min(len(models), 4 if width > 5 else 2)
    down = -(-len(models) // across)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, 0.6 + 1.6 * down * len(metrics)), layout="constrained")
        grid = figure.subplots(len(metrics) * down, across, sharex=True, squeeze=False)
        for metric, rows in zip(metrics, np.split(grid, len(metrics)), strict=True):
            part = curves.filter(pl.col("metric") == metric)
            for axes, model in zip(rows.ravel(), models, strict=False):
                if axes is not rows[0, 0]:
                    axes.sharey(rows[0, 0])
                _panel(axes, part, model)
                axes.label_outer()
                axes.set_title(
                    shorten(brief(model), 26 if width > 5 else 22), loc="left", fontsize=7, fontweight="bold"
                )
            close_gaps(rows.ravel(), len(models), across)
            for axes in rows[:, 0]:
                axes.set_ylabel(textwrap.fill(axis_label(str(metric)), 16))
        figure.supxlabel("Answers of the user")
        entries = [
            Line2D([], [], color=INK, lw=1, marker="o", ms=3, mfc="white", label="own code, with interval"),
            Line2D([], [], color=INK, lw=0, marker="o", ms=3, label="surely not as the population's"),
            Line2D([], [], color=INK, lw=0.8, ls="--", label="population's code"),
            Line2D([], [], color=MUTED, lw=1, ls=":", label="Bradley–Terry"),
        ]
        figure.legend(handles=entries, loc="outside upper left", ncols=4 if width > 5 else 2, handlelength=3)
        titled(figure, "How well a new user is predicted after so many answers, with intervals")
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, model: str) -> None:
    own, shared, baseline = (
        rows.filter(pl.col("model") == name).sort("support") for name in (model, f"{model} · population code", BASELINE)
    )
    axes.fill_between(own["support"], own["lo"], own["hi"], color=INK, alpha=0.1, lw=0)
    axes.plot(own["support"], own["estimate"], "o-", color=INK, lw=1, ms=3, mfc="white", clip_on=False)
    for line, style, colour in ((shared, "--", INK), (baseline, ":", MUTED)):
        if line.height:
            axes.plot(line["support"], line["estimate"], ls=style, color=colour, lw=0.9)
    surely = own.filter((pl.col("gain_lo") > 0) | (pl.col("gain_hi") < 0))
    if surely.height:
        axes.plot(surely["support"], surely["estimate"], "o", color=INK, ms=3, clip_on=False)
    scale_x(axes, own["support"], zero=0.3)
