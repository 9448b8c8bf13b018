"""The examples of docstrings run and show what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import plurality

ROOT = Path(plurality.__file__).resolve().parent.parent
AT_LEAST = 26  # docstrings with examples; rises with them


def with_examples() -> list[str]:
    """Modules whose source has a prompt; the others are not even imported."""
    paths = [p for p in (ROOT / "plurality").rglob("*.py") if ">>> " in p.read_text(encoding="utf-8")]
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in paths]
    return sorted(".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts)


def test_examples():
    tried, runner = 0, doctest.DocTestRunner()
    for name in with_examples():
        try:
            module = import_module(name)
        except ModuleNotFoundError as missing:
            if str(missing.name).startswith("plurality"):
                raise
            continue  # of an extra that is not installed
        for found in doctest.DocTestFinder(exclude_empty=True).find(module):
            if found.examples:
                runner.run(found)
                tried += 1
    assert runner.failures == 0  # what failed is in the captured output
    assert tried >= AT_LEAST
