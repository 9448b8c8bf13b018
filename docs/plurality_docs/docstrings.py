"""The house's docstrings as reStructuredText: tables of names become parameter lists, backticks code or links.

A docstring is prose, bullets, doctests and tables. A row of a table is `name, other    text`, and lines indented
below it go on with its text; a table of more columns than two is shown as it was typed.
"""

import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

from sphinx.application import Sphinx

from plurality_docs.public import documented

ROW = re.compile(r"^(?P<names>\*{0,2}[\w.\[\]…-]+(?:, \*{0,2}[\w.\[\]…-]+)*) {2,}(?P<text>\S.*)$")
SPECIAL = re.compile(r"([*_|\\`])")
BULLET = re.compile(r"^(-|\d+\.) ")


@cache
def addresses() -> dict[str, str]:
    """Where a public name is documented, by its name and by its full name."""
    found: dict[str, str] = {}
    for module, name, _ in documented():
        full = f"{module}.{name}"
        found[full] = full
        if module == "plurality" or name[0].isupper():  # other short names are too likely a field or an argument
            found.setdefault(name, full)
    return found


def inline(text: str) -> str:
    """Prose with nothing special in it but code, which links where it names something public."""
    parts = re.split(r"`([^`\n]+)`", text)
    made = [SPECIAL.sub(r"\\\1", part) if i % 2 == 0 else _code(part) for i, part in enumerate(parts)]
    return "".join(made)


def _code(text: str) -> str:
    name = text.removesuffix("()").removeprefix("pl8.")
    full = addresses().get(name if name.startswith("plurality.") else name.split("(")[0])
    if full and re.fullmatch(r"[\w.]+", name):
        return f"\\ :py:obj:`{text.replace('<', '')} <{full}>`\\ "
    return f"\\ ``{text}``\\ "


def render(lines: list[str], parameters: frozenset[str]) -> Iterator[str]:
    """Lines of reStructuredText of a docstring's lines."""
    for block in _blocks(lines):
        if block[0].startswith(">>>"):
            yield from block
        elif rows := _rows(block):
            yield from _table(rows, block, parameters)
        elif BULLET.match(block[0]):
            yield from (inline(line) for line in block)
        else:
            yield from (f"| {inline(line)}" if _verse(block) else inline(line.strip()) for line in block)
        yield ""


def _verse(block: list[str]) -> bool:
    """Whether lines stand for themselves: several, all short, each a definition such as `form A: u = …`."""
    return len(block) > 1 and all(re.match(r"^[\w ]{1,12}: ", line) for line in block)


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Paragraphs; a table or a list that follows a line of prose at once is a paragraph of its own."""
    block: list[str] = []
    for line in [*lines, ""]:
        starts = bool(block) and not line.startswith(" ")
        other = starts and line and (_kind(line) != _kind(block[0])) and not block[0].startswith(">>>")
        if (not line.strip() or other) and block:
            yield block
            block = []
        if line.strip():
            block.append(line)


def _kind(line: str) -> str:
    if ROW.match(line):
        return "row"
    return "bullet" if BULLET.match(line) else "prose"


def _rows(block: list[str]) -> list[tuple[str, str]]:
    """(names, text) of each row of a table of two columns; none where it is something else."""
    rows: list[tuple[str, str]] = []
    for line in block:
        if found := ROW.match(line):
            rows.append((found["names"], found["text"]))
        elif line.startswith("  ") and rows:
            rows[-1] = (rows[-1][0], f"{rows[-1][1]} {line.strip()}")
        else:
            return []
    return rows


def _table(rows: list[tuple[str, str]], block: list[str], parameters: frozenset[str]) -> Iterator[str]:
    if any(re.search(r"\S {2,}\S", text) for _, text in rows):
        yield from ["::", "", *(f"    {line}" for line in block)]
        return
    for names, text in rows:
        known = [name for name in names.replace("*", "").split(", ") if name in parameters]
        if known and len(known) == len(names.split(", ")):
            yield from (f":param {name}: {inline(text)}" for name in known)
        else:
            yield from (", ".join(f"``{name}``" for name in names.split(", ")), f"    {inline(text)}")


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite the docstring of an object in place."""
    parameters: frozenset[str] = frozenset()
    if what in ("function", "method", "class"):
        with suppress(TypeError, ValueError):
            parameters = frozenset(inspect.signature(obj).parameters)
    lines[:] = list(render(lines, parameters))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}
