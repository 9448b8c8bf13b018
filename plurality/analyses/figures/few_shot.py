"""How well a person is predicted after so many answers, beside what one reward for all would say."""

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes

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
        figure = Figure(figsize=(width, 0.6 + len(metrics) * (0.3 + 1.5 * down)), layout="constrained")
        for part, metric in zip(figure.subfigures(len(metrics), 1, squeeze=False).ravel(), metrics, strict=True):
            grid = part.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
            rows = curves.filter(pl.col("metric") == metric)
            for axes, model in zip(grid, models, strict=False):
                _panel(axes, rows, model)
                axes.set_title(shorten(brief(model), 26), loc="left", fontsize=7, fontweight="bold")
            close_gaps(grid, len(models), across)
            part.supylabel(axis_label(str(metric)))
        part.supxlabel("Answers of the user")
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4 if width > 5 else 2, handlelength=3)
        titled(figure, "How many answers a new user has to give, with intervals")
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, model: str) -> None:
    own, shared, baseline = (
        rows.filter(pl.col("model") == name).sort("support") for name in (model, f"{model} · population code", BASELINE)
    )
    axes.fill_between(own["support"], own["lo"], own["hi"], color=INK, alpha=0.1, lw=0)
    axes.plot(
        own["support"], own["estimate"], "o-", color=INK, lw=1, ms=3, mfc="white", clip_on=False, label="own code"
    )
    axes.plot(shared["support"], shared["estimate"], "--", color=INK, lw=0.8, label="population's code")
    axes.plot(baseline["support"], baseline["estimate"], ":", color=MUTED, lw=1, label="Bradley–Terry")
    shown = own.filter((pl.col("gain_lo") > 0) | (pl.col("gain_hi") < 0))
    axes.plot(shown["support"], shown["estimate"], "o", color=INK, ms=3, clip_on=False, label="differs surely from it")
    scale_x(axes, own["support"], zero=0.3)
