"""LLMFAO: crowd workers choose between two answers of language models to the same prompt."""

from pathlib import Path

from plurality.datasets._tools.external import FILES, external
from plurality.datasets._tools.frames import About, Frames

ABOUT = About(hub=None, licence="CC BY 4.0 (dustalov/llmfao)", files=FILES)


def frames(source: str | Path) -> Frames:
    """Comparisons of a folder, ties having been dropped before; answers that are blank are left out and counted.

    Raises InputError for bad files.
    """
    return external("llmfao", source)
