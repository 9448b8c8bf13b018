"""Which families there are: the folders of `plurality/models`, and what installed packages register.

A family of this package is a folder under `plurality/models` whose `__init__.py` names its spec class in `__all__`.
Another package registers one as an entry point, in its pyproject.toml:

    [project.entry-points."plurality.models"]
    toy = "toy:Toy"

Nothing is imported until a family is asked for, so a package that is broken breaks no other family.
"""

import ast
import sys
import warnings
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from plurality.errors import InputError, InputWarning, suggestion

if TYPE_CHECKING:
    from plurality.reward.settings import Settings

GROUP = "plurality.models"


def families() -> dict[str, EntryPoint]:
    """Every family by its name, the package's own first; a registered one may not take the name of one of those."""
    own = built_in()
    return own | {point.name: point for point in sorted(_registered()) if point.name not in own}


def family_name(name: str) -> str:
    """The name of a family however it is written: "low_rank" for "low-rank" or "Low_Rank".

    Raises InputError for an unknown name, and says which known one is close to it.
    """
    known = families()
    plain = name if name in known else name.strip().lower().replace("-", "_")
    if plain not in known:
        raise InputError(f"model {name!r} is unknown{suggestion(name, known)}; choose one of {', '.join(known)}")
    return plain


def spec_class(name: str) -> "type[Settings]":
    """The spec class of a family by its name, such as "pal"; hyphens and capitals are accepted, as in "low-rank".

    Raises InputError for an unknown name, for one that several packages register, and for a registered class that
    cannot be imported or is no family. Warns with InputWarning where a package registers a built-in family's name.
    """
    from plurality.reward.settings import Settings

    name = family_name(name)
    point = families()[name]
    _check_unique(point)
    try:
        cls = point.load()
    except Exception as error:  # whatever another package does when it is imported
        raise InputError(
            f"model {name!r}: {point.value} cannot be imported ({type(error).__name__}: {error}); "
            "repair or uninstall its package"
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Settings) and getattr(cls, "name", None) == name):
        raise InputError(f"model {name!r}: {point.value} is not a Spec whose name is {name!r}; repair its package")
    return cls


@cache
def built_in() -> dict[str, EntryPoint]:
    """The families of this package, by the folders that are there."""
    found = find_spec(GROUP)
    assert found is not None
    assert found.submodule_search_locations is not None
    folders = (path.parent for root in found.submodule_search_locations for path in Path(root).glob("*/__init__.py"))
    return {f.name: EntryPoint(f.name, f"{GROUP}.{f.name}:{_class_name(f)}", GROUP) for f in sorted(folders)}


def _registered() -> tuple[EntryPoint, ...]:
    """What installed packages register, looked up again where a folder that Python imports from has changed."""
    places = [Path(place) for place in sys.path]
    return _looked_up(tuple((str(place), place.stat().st_mtime_ns) for place in places if place.exists()))


@lru_cache(maxsize=1)
def _looked_up(places: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """Every package's metadata is opened for it: a tenth of a second."""
    return tuple(entry_points(group=GROUP))


def _check_unique(point: EntryPoint) -> None:
    """One name, one class: a built-in family keeps its name, and of two packages neither has it."""
    registered = {other.value: other for other in _registered() if other.name == point.name}
    if point.name in built_in():
        for value in registered.keys() - {point.value}:
            warnings.warn(
                f"model {point.name!r} is plurality's own, not {value}, which another package registers under the "
                "same name; ask for a package that gives it a name of its own",
                InputWarning,
                stacklevel=3,
            )
    elif len(registered) > 1:
        raise InputError(
            f"model {point.name!r} is registered by several packages ({', '.join(sorted(registered))}); "
            "uninstall all but one"
        )


def _class_name(folder: Path) -> str:
    """The one name in `__all__` of a family's `__init__.py`, read without importing it."""
    for node in ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return str(ast.literal_eval(node.value)[0])
    raise TypeError(f"{folder}: __init__.py names no spec class in __all__")
