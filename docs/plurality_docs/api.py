"""The reference: a page for every public module, with every public name on one of them."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from plurality.reward.fitted import Parts
from plurality_docs.public import documented, modules, names


def pages() -> dict[str, str]:
    """path -> text."""
    home = {id(value): (module, name) for module, name, value in documented()}
    made = {"api/index.md": "\n".join(_index())}
    for module in (m for group in modules().values() for m in group):
        made[f"api/{module}.rst"] = "\n".join(_page(module, home))
    return made


def _index() -> Iterator[str]:
    yield from ("# Reference", "", "Every public name. A module is public if it has an `__all__`.", "")
    for title, found in modules().items():
        yield from (f"## {title}", "", "| module | what it is |", "|---|---|")
        yield from (f"| [{module}]({module}.rst) | {_first(import_module(module))} |" for module in found)
        yield from ("", "```{toctree}", ":hidden:", f":caption: {title}", "", *found, "```", "")


def _first(thing: Any) -> str:
    """The first line of a docstring; none for a plain value, which has its type's."""
    documents = inspect.getdoc(thing) if inspect.ismodule(thing) or inspect.isroutine(thing) or _is_class(thing) else ""
    return (documents or "").split("\n")[0].replace("|", "\\|")


def _is_class(value: Any) -> bool:
    return isinstance(value, type)


def _page(module: str, home: dict[int, tuple[str, str]]) -> Iterator[str]:
    yield from (module, "=" * len(module), "", f".. automodule:: {module}", "   :no-members:", "")
    offered = {name: value for name, value in names(module).items() if not inspect.ismodule(value)}
    yield from (".. list-table::", "   :widths: 30 70", "")
    for name, value in offered.items():
        where, known_as = home.get(id(value), (module, name))
        yield from (f"   * - :py:obj:`{name} <{where}.{known_as}>`", f"     - {_rst(_first(value))}")
    yield ""
    for name, value in offered.items():
        if home.get(id(value)) == (module, name):
            yield from _entry(f"{module}.{name}", value)


def _rst(text: str) -> str:
    from plurality_docs.docstrings import inline

    return inline(text.replace("\\|", "|"))


def _entry(full: str, value: Any) -> Iterator[str]:
    if _is_class(value):
        yield f".. autoclass:: {full}"
        if not issubclass(value, BaseException):
            yield "   :members:"
            if issubclass(value, Parts):  # whose methods stand in several files
                yield "   :inherited-members: Parts"
        if "__call__" in vars(value):
            yield "   :special-members: __call__"
    elif inspect.isroutine(value):
        yield f".. autofunction:: {full}"
    else:
        shown = str(value) if len(str(value)) <= 200 else f"{str(value)[:199].rstrip()}…"  # no literal ends in a blank
        yield from (f".. py:data:: {full}", "", f"   ``{shown}``")
    yield ""
