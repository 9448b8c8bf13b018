"""Tables as pictures: numbers in their cells, shaded, and ranks that cross."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import polars as pl

from plurality.analyses.audit.labels import number, shorten, told_apart
from plurality.analyses.figures.style import INK, LINES, MARKS, MUTED, STYLE, Figure, ink_on, titled
from plurality.errors import InputError

MOST_CELLS = 30  # rows or columns that stay legible on a page
PALEST, DARKEST = 0.03, 0.8


def heat(  # noqa: PLR0913 - the axes and their words
    frame: pl.DataFrame,
    rows: str,
    columns: str,
    value: str,
    *,
    row_title: str,
    column_title: str,
    value_title: str,
    places: int = 2,
    signed: bool = False,
    width: float = 7.0,
) -> Figure:
    """A cell for every pair of `rows` and `columns` with its `value` written in it; darker is more.

    With `signed`, orange is below 0 and purple above, the darker the farther (a palette that colour-blind people tell
    apart), and the sign stands in the number. Rows and columns stand in the order of the frame. Raises InputError where
    a pair occurs twice, or nothing is left to show.

    frame           what is drawn, with the columns named above
    row_title       title of the rows
    column_title    title of the columns
    value_title     title of the values
    places          decimals of a value
    width           of the figure, in inches
    """
    down, across = (frame[c].unique(maintain_order=True).to_list()[:MOST_CELLS] for c in (rows, columns))
    if not down:
        raise InputError(f"heat: no {rows} to show")
    if frame.select(rows, columns).is_duplicated().any():
        raise InputError(f"heat: some pairs of {rows} and {columns} occur twice; give one value each")
    place = {(r, c): v for r, c, v in frame.select(rows, columns, value).iter_rows()}
    table = np.array([[np.nan if (v := place.get((r, c))) is None else v for c in across] for r in down], dtype=float)
    size = np.abs(table) if signed else table
    low, high = (0.0, np.nanmax(size)) if signed else (np.nanmin(size), np.nanmax(size))
    shade = PALEST + (DARKEST - PALEST) * (size - low) / (high - low if high > low else 1.0)
    place_on_map = (1 + np.sign(np.nan_to_num(table)) * shade) / 2 if signed else shade
    colours = mpl.colormaps["PuOr" if signed else "Greys"](np.nan_to_num(place_on_map, nan=0.5 if signed else 0.0))
    letters = int(3.2 * width)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, 1.1 + 0.24 * len(down)), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(colours, aspect="auto")
        for (i, j), v in np.ndenumerate(table):
            text = number(v, places)
            text = "+" + text if signed and v > 0 and not text.startswith("−") else text
            axes.text(j, i, text, ha="center", va="center", fontsize=6.5, color=ink_on(tuple(colours[i, j])))
        slanted = len(across) * max(len(str(c)) for c in across) > 15 * width
        axes.set_xticks(range(len(across)), told_apart([str(c) for c in across], letters))
        if slanted:
            axes.tick_params(axis="x", labelrotation=35)
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(down)), told_apart([str(r) for r in down], letters + 8))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel=column_title, ylabel=row_title)
        titled(figure, f"{value_title}; {'orange below 0, purple above' if signed else 'darker is more'}")
    return figure


def bump(
    frame: pl.DataFrame, columns: str, rows: str, rank: str, *, column_title: str, rank_title: str, width: float = 7.0
) -> Figure:
    """The rank of each of `rows` in each of `columns`, a line each: lines that cross are findings that depend.

    frame           what is drawn, with the columns named above
    rank            column with the rank
    column_title    title of the columns
    rank_title      title of the ranks
    width           of the figure, in inches
    """
    across = frame[columns].unique(maintain_order=True).to_list()
    names = frame.filter(pl.col(columns) == across[-1]).sort(rank)[rows].to_list()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, 1.0 + 0.26 * max(3, len(names))), layout="constrained")
        axes = figure.add_subplot()
        for k, name in enumerate(names):
            own = dict(frame.filter(pl.col(rows) == name).select(columns, rank).iter_rows())
            ranks = [own.get(c, np.nan) for c in across]
            moved = np.nanmax(ranks) != np.nanmin(ranks)
            colour, weight = (INK, 1.1) if moved else (MUTED, 0.7)
            axes.plot(range(len(across)), ranks, color=colour, lw=weight, ls=LINES[k % len(LINES)],
                      marker=MARKS[k % len(MARKS)], ms=4, mfc="white")  # fmt: skip
            axes.annotate(
                shorten(str(name), int(4 * width)), (len(across) - 1, ranks[-1]), (6, 0), textcoords="offset points",
                va="center", fontsize=7, color=colour,
            )  # fmt: skip
        axes.set_xticks(range(len(across)), told_apart([str(c) for c in across], 16))
        axes.set_yticks(range(1, len(names) + 1))
        axes.set(ylim=(len(names) + 0.5, 0.5), xlim=(-0.2, len(across) - 1 + 0.35 * len(across)))
        axes.set(xlabel=column_title, ylabel=rank_title)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="x", length=0)
        titled(figure, f"Ranks by {column_title}: lines that cross depend on it")
    return figure


def shares(frame: pl.DataFrame, *, title: str, width: float = 7.0, names: Sequence[str] | None = None) -> Figure:
    """Shares of a whole with their intervals: `component`, `share`, `lo`, `hi`, a line each.

    frame    what is drawn, with the columns named above
    title    title of the axis
    width    of the figure, in inches
    names    components to show, in order; all by default
    """
    rows = frame.rows(named=True)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, 0.7 + 0.24 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for i, row in enumerate(rows):
            axes.barh(i, row["share"], color="#d9d9d9", edgecolor=MUTED, lw=0.6, height=0.62, zorder=1)
            if row["lo"] is not None and np.isfinite(row["lo"]):
                axes.plot([row["lo"], row["hi"]], [i, i], color=INK, lw=1.0, zorder=2)
            axes.annotate(
                number(row["share"], 2), (1, i), (-4, 0), xycoords=("axes fraction", "data"), ha="right", va="center",
                textcoords="offset points", fontsize=7,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [str(n) for n in names or frame["component"]])
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel="share of the whole")
        ends = [
            float(v) for row in rows for v in (row["share"], row["lo"], row["hi"]) if v is not None and np.isfinite(v)
        ]
        axes.set_xlim(min([0.0, *ends]), 1.12 * max([1.0, *ends]))
        axes.tick_params(axis="y", length=0)
        axes.axvline(0, color=MUTED, lw=0.6)
        axes.spines["left"].set_visible(False)
        titled(figure, f"{title[:1].upper()}{title[1:]}, with intervals")
    return figure
