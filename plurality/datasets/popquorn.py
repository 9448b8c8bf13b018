"""POPQUORN offensiveness: which of two Reddit comments the same annotator rated less offensive."""

from pathlib import Path

from plurality.datasets._tools.external import FILES, external
from plurality.datasets._tools.frames import About, Frames

ABOUT = About(
    hub=None,
    licence="research use, do not redistribute (Jiaxin-Pei/Potato-Prolific-Dataset)",
    files=FILES,
)


def frames(source: str | Path) -> Frames:
    """Comparisons of a folder; the language is rough. Comments recur: split by item.

    Raises InputError for bad files.
    """
    return external("popquorn", source)
