"""Parts of an audit beside its main table: each has a frame, what it says in words, and how it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from plurality.analyses.audit.tables import TABLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False, eq=False)
class Section:
    """One part.

    name      of its files
    said      findings, a sentence each
    caption   what the figure shows and how it is to be read
    frame     its numbers, tidy
    rows      those of them that are a metric of a slice, in the columns of the audit's table
    draw      makes the figure of the frame, so many inches wide, where one says more than words
    """

    name: str
    title: str
    said: tuple[str, ...]
    caption: str
    frame: pl.DataFrame
    draw: "Callable[[pl.DataFrame, float], Figure] | None"
    rows: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TABLE))

    def figure(self, width: float = 7.0) -> "Figure | None":
        """The figure; None where words say as much.

        width    in inches
        """
        return self.draw(self.frame, width) if self.draw else None
