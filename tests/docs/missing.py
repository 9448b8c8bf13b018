"""Parameters of public names that their docstrings do not name: `python tests/docs/missing.py [FILE]`, by file."""

import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from plurality_docs.public import documented  # noqa: E402

Gap = tuple[str, str, str]  # file, name, parameter


def named(docstring: str) -> set[str]:
    """Names a docstring has: in backticks, with a value or shape as in `seed=0`, `x (n,)`, or in a row of a table.

    A row is `name, other    text`, at the start of a line. Examples name nothing.
    """
    docstring = re.sub(r"^ *(>>>|\.\.\.) .*$", "", docstring, flags=re.MULTILINE)
    spans = " ".join(re.findall(r"`+([^`]+)`+", docstring))
    rows = re.findall(r"^ *(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: {2,}|$)", docstring, flags=re.MULTILINE)
    valued = re.findall(r"(\w+)(?:=|,? \()", docstring)
    return set(re.findall(r"\w+", spans)) | set(valued) | {word for row in rows for word in re.findall(r"\w+", row)}


def parameters(function: Callable[..., Any]) -> list[str]:
    """Parameters that a caller gives; a name with a leading underscore is private."""
    skipped = ("self", "cls")
    return [p for p in inspect.signature(function).parameters if p not in skipped and not p.startswith("_")]


def own_doc(value: Any) -> str:
    """The docstring written for this object; of a class, those of its bases in this package and `__init__` too."""
    if not inspect.isclass(value):
        return inspect.getdoc(value) or ""
    bases = [base for base in value.__mro__ if base.__module__.startswith("plurality")]
    return "\n".join(inspect.cleandoc(text) for base in bases for text in (base.__doc__, base.__init__.__doc__) if text)


def inherited(cls: type, method: str) -> Iterator[str]:
    """Docstrings of a method, its own and those it overrides."""
    for base in cls.__mro__:
        member = vars(base).get(method)
        yield inspect.cleandoc(getattr(member, "__doc__", None) or "")


def promised(cls: type, method: str) -> Iterator[str]:
    """Docstrings of a method in the public protocols that a class keeps, all of whose members it has."""
    for _, _, other in documented():
        if getattr(other, "_is_protocol", False) and isinstance(other, type) and method in vars(other):
            wanted = {name for base in other.__mro__ for name in vars(base) if not name.startswith("_")}
            if wanted <= set(dir(cls)):
                yield inspect.cleandoc(f"{vars(other)[method].__doc__}\n{other.__doc__}")


def callables(name: str, value: Any) -> Iterator[tuple[str, list[str], str]]:
    """Qualified name, parameters and docstring of a function, or of a class and each of its own public methods."""
    if inspect.isclass(value):
        doc = own_doc(value)
        if is_dataclass(value):
            yield name, [f.name for f in fields(value) if f.init and not f.name.startswith("_")], doc
        elif "__init__" in vars(value) and not getattr(value, "_is_protocol", False):
            yield name, parameters(value.__init__), doc
        for method, member in vars(value).items():
            function = getattr(member, "__func__", member)
            if inspect.isfunction(function) and (not method.startswith("_") or method == "__call__"):
                text = "\n".join((*inherited(value, method), *promised(value, method))) + doc
                yield f"{name}.{method}", parameters(function), text
    elif inspect.isfunction(value):
        yield name, parameters(value), own_doc(value)


def gaps() -> list[Gap]:
    """Every parameter that is missing, and `(docstring)` where there is none."""
    found = []
    for _, name, value in documented():
        if not inspect.isroutine(value) and not isinstance(value, type):
            continue
        file = Path(inspect.getsourcefile(inspect.unwrap(value)) or "").resolve()
        place = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name
        for full, wanted, docstring in callables(name, value):
            if not docstring.strip():
                found.append((place, full, "(docstring)"))
            found += [(place, full, parameter) for parameter in wanted if parameter not in named(docstring)]
    return found


if __name__ == "__main__":
    by_file: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for place, full, parameter in gaps():
        if place in (sys.argv[1:] or [place]):
            by_file[place][full].append(parameter)
    for place, functions in sorted(by_file.items()):
        sys.stdout.write(f"{place}\n")
        for full, missing in functions.items():
            sys.stdout.write(f"    {full}: {', '.join(missing)}\n")
    sys.exit(bool(by_file))
