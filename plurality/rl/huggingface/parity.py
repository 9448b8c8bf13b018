"""Whether an export says what the toolkit's reward says: the same texts through both, before anything is kept."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plurality.encoders.protocol import Prompt
from plurality.errors import InputError

REPORT = "plurality_export.json"
TOLERANCE = 1e-4  # log-odds, in float32
LEAST = 2

Probes = tuple[Sequence[Prompt], Sequence[str]]
Scores = NDArray[np.float64]

QUESTIONS = (
    "Should the town build a new library?",
    "Explain photosynthesis to a ten-year-old.",
    "Is it ever right to lie?",
    "¿Qué desayuno me recomiendas?",
    "Write a line of Python that reverses a list.",
    "Wie spare ich Strom?",
)
ANSWERS = (
    "Yes.",
    "No, and I would ask what it costs first: 3.5 million is a lot of money for 900 people.",
    "It depends. Some people would say so; others, who have seen it go wrong, would not.\n\nI would wait.",
    "Sí: pan con tomate, café y fruta 🍅",
    "xs[::-1]  # a copy; xs.reverse() works in place",
    "Ganz einfach: weniger heizen, früher schlafen, länger leben.",
)
DEFAULT: Probes = ([q for q in QUESTIONS for _ in ANSWERS], [a for _ in QUESTIONS for a in ANSWERS])


@dataclass(frozen=True)
class Parity:
    """What was compared, in log-odds. Only differences between texts mean anything, so these are compared.

    max_difference    largest error of the utility gap of any two probes, for any user
    left_padding      the same where texts are padded on the left, as some programs do
    spread            largest utility gap of two probes: what an error is small or large beside

    probes       number of texts
    people       number of people
    tolerance    largest error allowed
    """

    probes: int
    people: int
    max_difference: float
    left_padding: float
    spread: float
    tolerance: float


@dataclass(frozen=True)
class Exported:
    """An export: where, what, and how well it agrees with the reward it was made from.

    folder    where it was written
    kind      "baked", "adapters" or "custom"
    whose     whose reward it is, in words
    parity    how well it agrees
    notes     what a person who loads it should know
    """

    folder: Path
    kind: str
    whose: str
    parity: Parity
    notes: tuple[str, ...] = ()

    def record(self, about: dict[str, Any], model: str) -> dict[str, Any]:
        """The report that lies in the folder.

        about    further facts
        model    the reward it was made from
        """
        return {
            "schema_version": 1,
            "kind": self.kind,
            "model": model,
            "whose": self.whose,
            "unit": "log-odds, up to a shift per prompt",
            "texts": "the chat template of prompt and completion, which writes all special tokens",
            "encoder": about,
            "parity": asdict(self.parity),
            "notes": list(self.notes),
        }


def error_of_gaps(scores: Scores, expected: Scores) -> float:
    """max over i, j of |(s_i − s_j) − (e_i − e_j)|, for the worst of the people: (P, n), (P, n)."""
    off = scores - expected
    worst = float((off.max(1) - off.min(1)).max())
    return worst if np.isfinite(worst) else float("inf")


def compare(run: Callable[[str], Scores], expected: Scores, tolerance: float) -> Parity:
    """Compare `run(padding side)` (P, n) with what is expected. Raises InputError where gaps differ by `tolerance`."""
    error = error_of_gaps(run("right"), expected)
    people, probes = expected.shape
    if not error < tolerance:
        raise InputError(
            f"the exported checkpoint's utility gaps differ from the toolkit's by up to {error:.2g} log-odds (allowed: "
            f"{tolerance:g}), so nothing was written; give tolerance= (--tolerance) if that is rounding, else choose "
            "kind custom, which reads texts as the encoder does"
        )
    left = error_of_gaps(run("left"), expected)
    return Parity(probes, people, error, left, float(np.ptp(expected, axis=1).max()), tolerance)
