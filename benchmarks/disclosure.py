"""What somebody who reads every file of an audit can work out of the slices that it withholds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import Bounds, LinearConstraint, milp

from plurality.analyses.audit.compute import Audit, audit
from plurality.analyses.audit.slices import CROSS, DISCLOSURE, OVERALL

Cell = tuple[str, ...]
CONFIDENCE = (0.55, 0.65, 0.75)


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


def town(seed: int, users: int | None = None, levels: Sequence[int] | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions, a comparison a user, and users of two attributes with levels of unequal size."""
    rng = np.random.default_rng(seed)
    n = users or int(rng.integers(60, 160))
    sizes = levels or rng.integers(2, 4, 2)
    columns = {}
    for k, m in enumerate(sizes):
        drawn = np.append(np.arange(m), rng.choice(m, n - m, p=rng.dirichlet(np.ones(m))))  # each level has somebody
        columns[f"a{k}"] = [f"v{v}" for v in rng.permutation(drawn)]
    ids = [f"u{k}" for k in range(n)]
    p = rng.choice(CONFIDENCE[: int(rng.integers(2, 4))], n)
    label = (rng.random(n) < 0.5).astype(float)
    return pl.DataFrame({"user_id": ids, "prob_first": p, "label": label}), pl.DataFrame({"user_id": ids, **columns})


def written(result: Audit) -> tuple[pl.DataFrame, pl.DataFrame | None, list[str]]:
    """The table and the cells of confidence, as they are on disk, and the names of the bins."""
    section = result.sections.get("multicalibration")
    cells = None if section is None else section.frame
    return result.table, cells, [] if cells is None else cells["confidence"].unique(maintain_order=True).to_list()


def stated_in(names: list[str], predictions: pl.DataFrame) -> dict[str, float]:
    """The one stated confidence in each bin, 1 in an empty one."""
    found = predictions["prob_first"].unique().sort().to_list()
    if not names:
        return {str(c): c for c in found}
    ends = {name: [float(end) for end in name.split("–")] for name in names}
    return {name: next((c for c in found if low < c <= high), 1.0) for name, (low, high) in ends.items()}


def solved(seed: int) -> list[Bounded]:
    """The numbers of few people, withheld by the audit of a town, that are the only ones to fit what is written.

    Hits of people who are all alike are left out, since any mean of theirs tells each. Raises AssertionError where the
    truth is not within the bounds, so that a wrong attacker is no safe audit.

    seed    of the town
    """
    predictions, people = town(seed)
    table, cells, names = written(audit(predictions, people, n_bootstrap=20))
    rows, stated = predictions.join(people, on="user_id"), stated_in(names, predictions)

    def members(attribute: str, level: str, where: str | None) -> pl.DataFrame:
        inside = rows if where is None else rows.filter(pl.col("prob_first") == stated[where])
        if attribute == OVERALL[0]:
            return inside
        named = zip(attribute.split(CROSS), level.split(CROSS), strict=True)
        return inside.filter(*(pl.col(name) == value for name, value in named))

    def few(attribute: str, level: str, where: str | None) -> bool:
        return 0 < members(attribute, level, where).height < DISCLOSURE.min_users_show

    told = []
    for found in bounds(table, cells, stated, few):
        inside = members(*found.slice, found.bin)
        truth = inside.height if found.what == "users" else int(inside["label"].sum())
        assert found.low <= truth <= found.high, found
        alike = found.what == "hits" and truth in (0, inside.height)
        told += [found] if found.low == found.high and not alike else []
    return told
