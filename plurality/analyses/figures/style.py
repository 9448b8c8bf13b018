"""What all figures share: one ink, one page width, and the same bytes for the same figure.

Every figure function takes frames and returns a matplotlib Figure of its own, `width` inches wide: 3.5 for a column, 7
for a page. Meaning is carried by shape, position and text, so that figures read in greyscale.
"""

import textwrap
from collections.abc import Callable
from io import BytesIO
from typing import Any

import matplotlib as mpl
from matplotlib import figure
from matplotlib.axis import Axis
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from plurality.escaping import visible

INK, MUTED, FAINT, BAND = "#111111", "#6b6b6b", "#c4c4c4", "#e3e3e3"
STYLE: Any = {
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
    "text.parse_math": False,  # a level may hold dollars
    "svg.hashsalt": "plurality",
}


class Figure(figure.Figure):
    """A figure that a notebook shows without further ado, whatever backend is set."""

    def _repr_png_(self) -> bytes:
        return as_bytes(self, "png", dpi=110)


def as_bytes(drawn: figure.Figure, kind: str, dpi: int = 200) -> bytes:
    """The figure as "png" (`dpi` dots an inch) or "svg"; the same figure gives the same bytes.

    drawn    the figure
    kind     "png" or "svg"
    """
    _make_visible(drawn)
    buffer = BytesIO()
    with mpl.rc_context(STYLE):
        drawn.savefig(buffer, format=kind, dpi=dpi, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return buffer.getvalue()


def _make_visible(drawn: figure.Figure) -> None:
    """Write out control characters in all text of a figure: an SVG that holds one is no XML."""
    for axis in drawn.findobj(Axis):
        for formatter in (axis.get_major_formatter(), axis.get_minor_formatter()):
            if isinstance(formatter, FuncFormatter):  # which looks up the labels that ticks were given
                formatter.func = _visibly(formatter.func)
    for text in drawn.findobj(Text):
        text.set_text(visible(text.get_text()))


def _visibly(label: Callable[..., str]) -> Callable[..., str]:
    return lambda *place: visible(label(*place))


def ink_on(colour: tuple[float, ...]) -> str:
    """Text that is legible on an (r, g, b, …) colour of parts in [0, 1]: by its relative luminance (WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if luminance < 0.18 else INK


def titled(drawn: figure.Figure, words: str) -> None:
    """A title over the whole figure, flush left, broken where the figure is narrow; over its legend, if it has one.

    A legend outside the axes and a suptitle would be laid over one another.
    """
    lines = textwrap.fill(words, int(12 * drawn.get_figwidth()))
    if drawn.legends:
        drawn.legends[0].set_title(lines, prop=FontProperties(size=8.5, weight="bold"))
        drawn.legends[0].set_alignment("left")
    else:
        drawn.suptitle(lines, x=0.01, ha="left", fontsize=8.5, fontweight="bold")


def close_gaps(grid: NDArray[Any], shown: int, across: int) -> None:
    """Hide the panels that nothing is shown in; those above such a gap stand at the bottom of their columns."""
    for axes in grid[shown:]:
        axes.set_visible(False)
    for axes in grid[max(shown - across, 0) : shown]:
        axes.tick_params(labelbottom=True)


LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", "h")
