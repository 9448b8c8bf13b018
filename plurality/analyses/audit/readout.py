"""A result as a person reads it, in a terminal and in a notebook: sentences, small tables, notes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import StringIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from plurality.escaping import markup, visible


@dataclass(frozen=True)
class Grid:
    """A table of text; columns at the places `words` are set to the left and may wrap, the others are numbers."""

    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    words: Collection[int]


@dataclass(frozen=True)
class Readout:
    """What stands on it, from top to bottom; tables without lines are left out."""

    title: str
    heading: str
    sentences: Sequence[str]
    grids: Sequence[Grid]
    notes: Sequence[str]

    def render(self) -> RenderableType:
        """For a terminal."""
        bullets = Table.grid(padding=(0, 1))
        for sentence in self.sentences:
            bullets.add_row("•", _text(sentence))
        parts: list[RenderableType] = [_text(f"{self.title}: {self.heading}", "bold"), Text(), bullets]
        parts += [_table(grid) for grid in self.grids if grid.lines]
        parts += [_text(f"Note: {note}", "dim") for note in self.notes]
        return Group(*parts)

    def text(self, width: int) -> str:
        """Plain text of at most `width` columns."""
        stream = StringIO()
        Console(
            file=stream, width=width, no_color=True, highlight=False, legacy_windows=False, force_jupyter=False
        ).print(self.render())
        return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().split("\n"))

    def html(self) -> str:
        """A fragment for notebooks, in the colours of the page around it."""
        said = "".join(f"<li>{markup(sentence)}</li>" for sentence in self.sentences)
        tables = "".join(_html(grid) for grid in self.grids if grid.lines)
        notes = "".join(f"<div style='opacity:.7'>{markup(note)}</div>" for note in self.notes)
        return (
            f"<div style='max-width:50em'><strong>{markup(self.title)}</strong> "
            f"<span style='opacity:.7'>{markup(self.heading)}</span>"
            f"<ul style='margin:.4em 0 .4em 1.2em;padding:0'>{said}</ul>"
            f"<div style='display:flex;gap:2em;flex-wrap:wrap;align-items:flex-start'>{tables}</div>{notes}</div>"
        )


class Readable:
    """A result that shows itself in a terminal, as text and in a notebook, by its readout."""

    def readout(self) -> Readout:
        """What a person is shown of it."""
        raise NotImplementedError

    def summary(self, width: int = 80) -> str:
        """The result as plain text of at most `width` columns."""
        return self.readout().text(width)

    def __str__(self) -> str:
        return self.summary()

    def __rich__(self) -> RenderableType:
        return self.readout().render()

    def _repr_html_(self) -> str:
        return self.readout().html()


def _text(words: str, style: str = "") -> Text:
    """Words for a terminal, which they cannot command."""
    return Text(visible(words), style=style)


def _table(grid: Grid) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    for k, title in enumerate(grid.head):
        words = k in grid.words
        table.add_column(title, justify="left" if words else "right", no_wrap=not words)
    for line in grid.lines:
        table.add_row(*(_text(cell) for cell in line))
    return table


def _html(grid: Grid) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        sides = ["left" if k in grid.words else "right" for k in range(len(cells))]
        inner = "".join(
            f"<{tag} style='text-align:{side};white-space:nowrap;padding:1px 8px 1px 0'>{markup(cell)}</{tag}>"
            for cell, side in zip(cells, sides, strict=True)
        )
        return f"<tr>{inner}</tr>"

    body = "".join(row(line, "td") for line in grid.lines)
    return f"<table><thead>{row(grid.head, 'th')}</thead><tbody>{body}</tbody></table>"
