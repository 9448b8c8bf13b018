"""What all figures share: one ink, one page width, and the same bytes for the same figure.

Every figure function takes frames and returns a matplotlib Figure of its own, `width` inches wide: 3.5 for a column, 7
for a page. Meaning is carried by shape, position and text, so that figures read in greyscale.
"""

import textwrap
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import figure
from matplotlib.axis import Axis
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from plurality.errors import InputError
from plurality.escaping import visible
from plurality.io.atomic import whole_file
from plurality.io.paths import expanded

INK, MUTED, FAINT, BAND = "#111111", "#6b6b6b", "#c4c4c4", "#e3e3e3"
WIDTHS = {"single": 3.5, "double": 7.0}  # inches, of a column and of a page of most journals
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
    "pdf.fonttype": 42,  # TrueType: journals refuse bitmapped letters
    "text.parse_math": False,  # a level may hold dollars
    "svg.hashsalt": "plurality",
}


class Figure(figure.Figure):
    """A figure that a notebook shows without further ado, whatever backend is set."""

    def _repr_png_(self) -> bytes:
        return as_bytes(self, "png", dpi=110)


def width_of(size: str) -> float:
    """Inches of a column ("single") or a page ("double") of a journal. Raises InputError for another size.

    size    "single" or "double"
    """
    if size not in WIDTHS:
        raise InputError(f"size {size!r}: no size of a figure; give 'single' (3.5 inches) or 'double' (7 inches)")
    return WIDTHS[size]


def as_bytes(drawn: figure.Figure, kind: str, dpi: int = 200, *, text: bool = False) -> bytes:
    """The figure as "png" (`dpi` dots an inch), "svg" or "pdf"; the same figure gives the same bytes.

    drawn    the figure
    kind     "png", "svg" or "pdf"
    dpi      of "png"
    text     whether words in "svg" stay text, to search and edit, in whatever font the reader has; else they are paths
    """
    _make_visible(drawn)
    buffer, none = BytesIO(), {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    with mpl.rc_context(STYLE | ({"svg.fonttype": "none"} if text else {})):
        drawn.savefig(buffer, format=kind, dpi=dpi, metadata=none[kind])
    return buffer.getvalue()


def save_figure(drawn: figure.Figure, path: str | Path, *, dpi: int = 300, text: bool = True) -> Path:
    """Write a figure as .svg, .pdf or .png, by the name's ending. Raises InputError for another ending.

    drawn    the figure
    path     file to write
    dpi      dots an inch, of .png
    text     whether words in .svg stay text
    """
    path = expanded(path)
    if path.suffix not in (".svg", ".pdf", ".png"):
        raise InputError(f"{path}: figures are written as .svg, .pdf, .png; give a name that ends so")
    content = as_bytes(drawn, path.suffix[1:], dpi, text=text)
    with whole_file(path) as new:
        new.write_bytes(content)
    return path


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
