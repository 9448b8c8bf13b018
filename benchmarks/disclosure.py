"""What somebody who reads every file of an audit can work out of the slices that it withholds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import Bounds, LinearConstraint, milp

from plurality.analyses.audit.slices import CROSS, OVERALL

Cell = tuple[str, ...]


@dataclass(frozen=True)
class Bounded:
    """All that is possible, given what is written, of a withheld slice, or of one of its bins.

    slice    attribute and level
    bin      of confidence, or None for the whole slice
    what     "users" or "hits", of whom the model's pick was preferred
    low      least number in any population that fits what is written
    high     greatest
    """

    slice: tuple[str, str]
    bin: str | None
    what: str
    low: int
    high: int


def bounds(
    table: pl.DataFrame,
    cells_of_confidence: pl.DataFrame | None,
    confidence: dict[str, float],
    asked: Callable[[str, str, str | None], bool] = lambda attribute, level, where: True,
) -> Iterator[Bounded]:
    """Ranges of the withheld numbers of an audit of two attributes, crossed, with one comparison a user.

    Integer programs over all populations of users and hits in cells of two attributes and a bin: names of slices say
    which cells there are, each has somebody in it, and every slice that is shown, whole or by bins, is an equation.

    table                  of the audit, as in audit.parquet
    cells_of_confidence    its frame of slices by bins, as in sections/multicalibration.parquet, if there is one
    confidence             stated confidence of every comparison in a bin, by the name of the bin
    asked                  whether a slice, by attribute and level, or a bin of it, is to be solved for; all by default
    """
    table = table.filter(metric="accuracy")
    by_bin = pl.DataFrame() if cells_of_confidence is None else cells_of_confidence
    pairs = table.filter(pl.col("attribute").str.contains(CROSS, literal=True))
    cells: list[Cell] = [tuple(level.split(CROSS)) for level in pairs["level"]]
    names = pairs["attribute"][0].split(CROSS)
    bins = list(confidence)
    n_atoms = len(cells) * len(bins)

    def atoms(attribute: str, level: str, where: str | None) -> np.ndarray:
        """1 for the cells and bins (C × B,) that a slice, or a bin of it, is made of."""
        parts = level.split(CROSS)
        fixed = [] if attribute == OVERALL[0] else list(zip(attribute.split(CROSS), parts, strict=True))
        inside = np.array([all(cell[names.index(a)] == value for a, value in fixed) for cell in cells])
        return np.outer(inside, [where in (None, b) for b in bins]).ravel().astype(float)

    equations, values = [], []

    def add(row: np.ndarray, users: float, hits: float) -> None:
        equations.extend([np.append(row, 0 * row), np.append(0 * row, row)])
        values.extend([round(users), round(hits)])

    for row in table.filter(~pl.col("suppressed")).iter_rows(named=True):
        add(atoms(row["attribute"], row["level"], None), row["n_users"], row["n_users"] * row["estimate"])
    total = table.row(0, named=True)["n_users"]
    for row in by_bin.iter_rows(named=True):
        rows = row["mass"] * total
        hits = rows * ((row["gap"] if row["n_users"] else 0.0) + confidence[row["confidence"]])
        add(atoms(row["attribute"], row["level"], row["confidence"]), rows, hits)
    somebody = [np.append(atoms(CROSS.join(names), CROSS.join(cell), None), np.zeros(n_atoms)) for cell in cells]
    at_most = [np.append(-unit, unit) for unit in np.eye(n_atoms)]  # hits less users
    constraints = [
        LinearConstraint(np.array(equations), values, values),
        LinearConstraint(np.array(somebody), lb=1),
        LinearConstraint(np.array(at_most), ub=0),
    ]

    def ends(aim: np.ndarray) -> tuple[int, int]:
        found = [
            milp(sign * aim, constraints=constraints, integrality=np.ones(len(aim)), bounds=Bounds(0, total))
            for sign in (1, -1)
        ]
        return round(found[0].fun), round(-found[1].fun)

    told = set() if by_bin.is_empty() else set(by_bin.select("attribute", "level").iter_rows())
    for attribute, level, suppressed in table.select("attribute", "level", "suppressed").iter_rows():
        if (attribute, level) in told:
            continue
        for where in (*([None] if suppressed else []), *bins):
            if not asked(attribute, level, where):
                continue
            row = atoms(attribute, level, where)
            for what, aim in (("users", np.append(row, 0 * row)), ("hits", np.append(0 * row, row))):
                yield Bounded((attribute, level), where, what, *ends(aim))
