"""Recipes: what a family promises on planted truth, run again and set beside its golden numbers.

A folder `models/<name>` holds recipe.toml (cases: a planted population, settings of the model) and golden.json (for
each case and measure: what is expected, within which tolerance, and where that number comes from).
"""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from plurality.errors import InputError
from plurality.io.paths import expanded
from plurality.reproduce.measures import Measured, RecipeRun, measure

__all__ = ["Result", "reproduce"]

CARDS = Path(__file__).resolve().parent / "cards"
"""Where a wheel has the models/ folder of a checkout."""


@dataclass(frozen=True)
class Result:
    """One measure of one case: measured and expected, the tolerance, and where the expectation is from.

    better is "more" where only falling short counts, "less" where only exceeding does, "same" where both do.

    case        case of the recipe
    measure     what was measured
    measured    its value here
    expected    its golden value
    tol         how far it may lie off
    better      which side counts
    source      where the expectation is from
    """

    case: str
    measure: str
    measured: float
    expected: float
    tol: float
    better: str
    source: str

    @property
    def holds(self) -> bool:
        """Whether what was measured is as good as expected, within the tolerance; NaN never is."""
        off = self.measured - self.expected
        return {"more": off >= -self.tol, "less": off <= self.tol, "same": abs(off) <= self.tol}[self.better]


def reproduce(folder: str | Path, *, seed: int = 0) -> Iterator[Result]:
    """Run every case of a model's folder; yields a Result a golden number.

    Seen users have 100 comparisons and unseen ones 20 supports, as in PAL's protocol, unless the case says otherwise;
    both are judged on items in no other comparison. Raises InputError for a folder without a readable recipe.

    folder    a family's name such as "pal", or a folder with recipe.toml and golden.json
    seed      makes the result the same again, whatever the machine; default 0
    """
    folder = recipe_folder(folder)
    try:
        recipe = tomllib.loads((folder / "recipe.toml").read_text())
        golden = json.loads((folder / "golden.json").read_text())
    except OSError as error:
        raise InputError(
            f"{error.filename}: {error.strerror}; give a family such as pal, or a folder such as models/pal"
        ) from None
    except ValueError as error:
        raise InputError(f"{folder}: recipe.toml or golden.json cannot be read ({error})") from None
    for case, entries in _cases(folder, recipe, golden):
        run = RecipeRun.of(recipe["model"], case, seed)
        for name, entry in entries.items():
            yield _result(case["name"], name, entry, measure(name, run))


def _cases(folder: Path, recipe: Any, golden: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each case with its golden numbers, all looked through before the first is run.

    Raises InputError that names the file, the case and what it lacks.
    """
    cases = recipe.get("case")
    if not isinstance(recipe.get("model"), str) or not isinstance(cases, list) or not cases:
        raise InputError(f'{folder / "recipe.toml"}: there is no model, or no [[case]]; give model = "pal" and cases')
    if not isinstance(golden, dict):
        raise InputError(f"{folder / 'golden.json'}: is not an object; give {{case: {{measure: ...}}}}")
    found = []
    for number, case in enumerate(cases, 1):
        kinds = {"name": str, "population": str, "settings": dict, "planted": dict}
        wrong = [key for key, kind in kinds.items() if not isinstance(case.get(key), kind)]
        if wrong:
            raise InputError(f"{folder / 'recipe.toml'}: case {number} lacks {wrong[0]}, or it is of another type")
        entries = golden.get(case["name"])
        if not isinstance(entries, dict) or not entries:
            raise InputError(f"{folder / 'golden.json'}: has no numbers for the case {case['name']!r}; give some")
        for name, entry in entries.items():
            if not (isinstance(entry, dict) and _is_golden(entry)):
                raise InputError(
                    f'{folder / "golden.json"}: {case["name"]}, {name}: give a number (or "truth") as expected, a '
                    "finite tol of 0 or more, and a source"
                )
        found.append((case, entries))
    return found


def _is_golden(entry: dict[str, Any]) -> bool:
    numbers = [entry.get("tol"), 0 if entry.get("expected") == "truth" else entry.get("expected")]
    plain = all(isinstance(n, int | float) and not isinstance(n, bool) and isfinite(n) for n in numbers)
    return plain and entry["tol"] >= 0 and isinstance(entry.get("source"), str)


def recipe_folder(name: str | Path) -> Path:
    """The folder with a family's card, recipe and golden numbers, by its path or by the family's name.

    "pal" and "models/pal", where there is no such folder, are the one that came with the package (in a checkout, that
    in its models/).

    name    path or name; ~ is the home folder
    """
    folder = expanded(name)
    if folder.is_dir() or folder.parts not in ((folder.name,), ("models", folder.name)):
        return folder
    for cards in (CARDS, CARDS.parents[2] / "models"):
        if (cards / folder.name).is_dir():
            return cards / folder.name
    return folder


def _result(case: str, name: str, entry: dict[str, Any], found: Measured) -> Result:
    expected = found.truth if entry["expected"] == "truth" else float(entry["expected"])
    return Result(case, name, found.value, expected, float(entry["tol"]), found.better, entry["source"])
