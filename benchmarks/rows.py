"""What a benchmark reports."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A line of the table: a case, what was measured, what was promised, and whether it holds (None: no promise)."""

    case: str
    measured: str
    promised: str = ""
    met: bool | None = None
