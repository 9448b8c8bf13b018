"""Lorenz curves: how evenly utility is spread over people."""

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from plurality.analyses.audit.labels import number
from plurality.analyses.figures.style import FAINT, INK, MUTED, STYLE, Figure, titled


def lorenz(curve: pl.DataFrame, overall: pl.DataFrame, *, width: float = 7.0) -> Figure:
    """Lorenz curve of users' observed utility, and its distance from equality, beside what noise alone would
    show.

    curve      `lorenz` of an audit
    overall    `overall` of an audit
    width      of the figure, in inches
    """
    gini = overall.filter(pl.col("metric") == "gini").row(0, named=True)
    users, utility, lo, hi = (curve[c].to_numpy() for c in ("users", "utility", "equal_lo", "equal_hi"))
    wide = width > 5
    with mpl.rc_context(STYLE):
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
        titled(figure, "How utility is spread over users")
    return figure


def _lorenz_panel(axes: Axes, users: np.ndarray, curves: tuple[np.ndarray, ...]) -> None:
    equal, observed, lo, hi = curves
    axes.fill_between(users, lo, hi, color=FAINT, lw=0, zorder=1)
    axes.plot(users, equal, color=MUTED, lw=0.8, ls="--", zorder=2)
    axes.plot(users, observed, color=INK, lw=1.4, zorder=3)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlim=(0, 1), xlabel="Users, worst served first (share)")
