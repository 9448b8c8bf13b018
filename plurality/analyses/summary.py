"""An audit in a terminal and in a notebook."""

from collections.abc import Sequence
from html import escape
from io import StringIO
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from plurality.analyses.verdict import heading, overall_lines, worst_lines

if TYPE_CHECKING:
    from plurality.analyses.audit import Audit

OVERALL_HEAD = ("Metric", "estimate", "interval", "by chance", "p")
WORST_HEAD = ("Attribute", "worst group", "users", "utility", "interval", "shrunk", "P(worst)")


def render(audit: "Audit") -> RenderableType:
    """The audit for a terminal: verdict, all users, the worst group of each attribute, notes."""
    parts: list[RenderableType] = [Text(f"Audit: {heading(audit)}", style="bold"), Text()]
    parts += [_bullets(audit.verdict), _table(OVERALL_HEAD, overall_lines(audit), left=1)]
    worst = worst_lines(audit)
    if worst:
        parts.append(_table(WORST_HEAD, worst, left=2))
    if audit.notes:
        parts += [Text(f"Note: {note}", style="dim") for note in audit.notes]
    return Group(*parts)


def _bullets(sentences: Sequence[str]) -> Table:
    grid = Table.grid(padding=(0, 1))
    for sentence in sentences:
        grid.add_row("•", Text(sentence))
    return grid


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], left: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    for k, title in enumerate(head):
        # words may wrap to fit 80 columns, numbers never
        words = k < left
        table.add_column(title, justify="left" if words else "right", no_wrap=not words)
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    return table


def as_text(audit: "Audit", width: int) -> str:
    """Plain text of at most `width` columns."""
    stream = StringIO()
    Console(file=stream, width=width, no_color=True, highlight=False, legacy_windows=False).print(render(audit))
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().split("\n"))


def as_html(audit: "Audit") -> str:
    """A fragment for notebooks, in the colours of the page around it."""
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in audit.verdict)
    tables = _html_table(OVERALL_HEAD, overall_lines(audit), 1)
    worst = worst_lines(audit)
    if worst:
        tables += _html_table(WORST_HEAD, worst, 2)
    notes = "".join(f"<div style='opacity:.7'>{escape(note)}</div>" for note in audit.notes)
    return (
        f"<div style='max-width:50em'><strong>Audit</strong> <span style='opacity:.7'>{escape(heading(audit))}</span>"
        f"<ul style='margin:.4em 0 .4em 1.2em;padding:0'>{sentences}</ul>"
        f"<div style='display:flex;gap:2em;flex-wrap:wrap;align-items:flex-start'>{tables}</div>{notes}</div>"
    )


def _html_table(head: Sequence[str], lines: Sequence[Sequence[str]], left: int) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        sides = ["left" if k < left else "right" for k in range(len(cells))]
        inner = "".join(
            f"<{tag} style='text-align:{side};white-space:nowrap;padding:1px 8px 1px 0'>{escape(cell)}</{tag}>"
            for cell, side in zip(cells, sides, strict=True)
        )
        return f"<tr>{inner}</tr>"

    body = "".join(row(line, "td") for line in lines)
    return f"<table><thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table>"
