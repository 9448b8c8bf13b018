"""A tidy table as a page shows it: which columns a reader chooses by, what is drawn, what stands in the table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

MOST_DECIMALS, DIGITS = 5, 3  # decimals of a column of numbers: its largest has so many digits, a difference one fewer
Kind = Literal["text", "count", "number", "signed", "p"]


@dataclass(frozen=True)
class Column:
    """A column of the table of a page.

    name    of the frame's column
    head    what stands above it
    kind    "text", "count", "number", "signed" (a difference) or "p" (a probability of chance)
    low     column of the lower end of an interval around it, whose upper end is `high`; none if empty
    high    column of the upper end
    """

    name: str
    head: str
    kind: Kind = "number"
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Choice:
    """A column of which a reader chooses one value.

    name       of the frame's column
    head       what stands beside the choice
    default    value that is chosen at first; the first one if None
    everything whether all values may be chosen together
    """

    name: str
    head: str
    default: str | None = None
    everything: bool = False


@dataclass(frozen=True)
class View:
    """A table of a page with its chart and choices. All of `frame` stands in the page: hold back what is withheld.

    name         of its element
    title        heading
    caption      what the chart shows and how it is to be read
    frame        tidy rows
    choices      columns of which a reader chooses a value
    line         column that names a line of the chart
    value        column that is drawn, with its interval
    columns      of the table
    unit_by      column by whose values decimals and units go, such as that of metrics; none if empty
    units        unit of each of these values
    mark         column that says what kind of line a row is, which its mark shows; none if empty
    marks        these kinds in the order of their marks
    reference    (column, value) of the row that is drawn as a line across, and stands with every value of that column
    zero         whether a line stands at 0
    along        column of numbers along which values are drawn as curves; None for lines one under another
    follow       columns by which a row is found in other views, such as attribute and level; none if empty
    alone        whether it has a place of its own, or shows where a row of another is followed into it
    parts        column of lists with the values of `follow`, joined by a tab, of which a row is a part; none if empty
    """

    name: str
    title: str
    caption: str
    frame: pl.DataFrame
    choices: tuple[Choice, ...]
    line: str
    value: Column
    columns: tuple[Column, ...]
    unit_by: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    mark: str = ""
    marks: tuple[str, ...] = ()
    reference: tuple[str, str] | None = None
    zero: bool = False
    along: Column | None = None
    follow: tuple[str, ...] = ()
    alone: bool = True
    parts: str = ""

    @property
    def used(self) -> list[str]:
        """Columns of the frame that the page holds."""
        columns = (self.value, *self.columns, *([self.along] if self.along else []))
        shown = [name for column in columns for name in (column.name, column.low, column.high)]
        named = [choice.name for choice in self.choices]
        names = [*named, self.line, *shown, self.unit_by, self.mark, *self.follow, self.parts]
        return [name for name in dict.fromkeys(names) if name]

    def decimals(self) -> dict[str, int]:
        """How many decimals numbers have, by the values of `unit_by`; all of one unit where that is none."""
        by = self.frame[self.unit_by].cast(pl.String) if self.unit_by else pl.repeat("", self.frame.height, eager=True)
        values = self.frame[self.value.name].cast(pl.Float64)
        digits = DIGITS - 1 if self.value.kind == "signed" else DIGITS
        return {str(key): _decimals(values.filter(by == key), digits) for key in by.unique(maintain_order=True)}


def _decimals(values: pl.Series, digits: int) -> int:
    size = values.drop_nulls().abs().to_numpy()
    largest = size[np.isfinite(size)].max(initial=0)
    return digits if largest == 0 else int(np.clip(digits - 1 - math.floor(math.log10(largest)), 0, MOST_DECIMALS))


def written(value: object, kind: Kind, places: int = DIGITS) -> str:
    """A value as a table shows it; what is not known is a dash.

    value     text, number or null
    kind      of its column
    places    decimals of a number
    """
    if value is None or value != value:
        return "" if kind == "text" else "–"
    if not isinstance(value, int | float) or kind == "text":
        return str(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if kind == "count":
        return f"{value:,.0f}"
    if kind == "p":
        return "<0.001" if value < 0.001 else f"{value:.3f}"
    text = f"{value:.{places}f}"
    text = text.lstrip("-") if float(text) == 0 else text
    return ("+" if kind == "signed" and float(text) > 0 else "") + text.replace("-", "−")
