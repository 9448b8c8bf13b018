"""Fenced blocks of Markdown pages, for the tests that run them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks in these languages, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [(language, block) for language, block in found if language in languages]
