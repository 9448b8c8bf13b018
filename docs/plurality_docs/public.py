"""The public modules and names of `plurality`, for the API pages and for the tests of docstrings.

A module is public if it has an `__all__`, and a name if it stands in one: nothing lists them again. A name that
several modules offer is documented where it is first met, in the order of `GROUPS`.
"""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2] / "plurality"

GROUPS = {  # title of a group of API pages -> the modules in it, each with the public ones below it
    "The front door": ("plurality",),
    "Data": (
        "plurality.data",
        "plurality.datasets",
        "plurality.encoders",
        "plurality.data_checks",
        "plurality.errors",
        "plurality.io.engines",
    ),
    "Models": ("plurality.models", "plurality.reward", "plurality.fitting", "plurality.sklearn", "plurality.testing"),
    "Comparing": ("plurality.evaluation", "plurality.elicitation", "plurality.reproduce"),
    "Auditing": ("plurality.analyses",),
    "Training": ("plurality.rl", "plurality.serving", "plurality.client"),
}


def modules() -> dict[str, list[str]]:
    """Public modules by group, those above before those below. Raises LookupError for one that has no group."""
    found: dict[str, list[str]] = {title: [] for title in GROUPS}
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda p: (len(_dotted(p).split(".")), _dotted(p))):
        if re.search(r"^\S.*\b__all__\b.* = |^__all__\b", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            found[_group(_dotted(path))].append(_dotted(path))
    return found


def _dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _group(module: str) -> str:
    for title, tops in GROUPS.items():
        if any(module == top or (top != "plurality" and module.startswith(f"{top}.")) for top in tops):
            return title
    raise LookupError(f"{module} has an __all__ and no group; put its room into GROUPS in {__file__}")


def names(module: str) -> dict[str, Any]:
    """What a public module offers: name -> object."""
    found = import_module(module)
    return {name: getattr(found, name) for name in sorted(found.__all__)}


def documented() -> Iterator[tuple[str, str, Any]]:
    """Module, name and object of every public name, each object once and where it is first met."""
    seen: list[Any] = []  # kept, so that no identity is used again
    for module in (m for group in modules().values() for m in group):
        for name, value in names(module).items():
            if not isinstance(value, ModuleType) and not any(value is other for other in seen):
                seen.append(value)
                yield module, name, value
