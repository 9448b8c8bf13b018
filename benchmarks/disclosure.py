"""What somebody who reads every file of an audit can work out of the slices that it withholds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from scipy.optimize import Bounds, LinearConstraint, milp

from plurality.analyses.audit.compute import Audit, audit
from plurality.analyses.audit.slices import CROSS, DISCLOSURE, OVERALL

CONFIDENCE = (0.55, 0.65, 0.75)
CONFIDENT, ROWS = "confidence", "topic"  # of a comparison


@dataclass(frozen=True)
class Bounded:
    """All that is possible, given what is written, of people who share some levels.

    fixed    levels by attribute; CONFIDENT and ROWS are those of their comparison
    what     "users" or "hits", of whom the model's pick was preferred
    low      least number in any population that fits what is written
    high     greatest
    """

    fixed: Mapping[str, str]
    what: str
    low: int
    high: int


def bounds(found: "Written", asked: Sequence[Mapping[str, str]]) -> Iterator[Bounded]:
    """Ranges of numbers of people in an audit of two attributes, crossed, with one comparison a user.

    Integer programs over all populations of users and hits in cells of two attributes, a bin of confidence and a level
    of rows: names of slices say which cells of attributes there are, each has somebody in it, what rows mean says which
    levels of theirs have which confidence, and every slice that is shown, whole, by bins or by levels of rows, is an
    equation.

    found    what the audit wrote
    asked    levels by attribute of the people who are solved for
    """
    table = found.table.filter(metric="accuracy")
    pairs = table.filter(pl.col("attribute").str.contains(CROSS, literal=True))
    names = pairs["attribute"][0].split(CROSS)
    cells = [dict(zip(names, level.split(CROSS), strict=True)) for level in pairs["level"]]
    inside = [{CONFIDENT: b, ROWS: r} for b, r in found.there]
    atoms = [cell | one for cell in cells for one in inside]
    total = table.row(0, named=True)["n_users"]

    def of(fixed: Mapping[str, str]) -> np.ndarray:
        return np.array([all(atom[a] == v for a, v in fixed.items()) for atom in atoms], dtype=float)

    def named(row: dict[str, Any]) -> dict[str, str]:
        if row["attribute"] == OVERALL[0]:
            return {}
        return dict(zip(row["attribute"].split(CROSS), row["level"].split(CROSS), strict=True))

    equations, values = [], []

    def add(fixed: Mapping[str, str], users: float, hits: float) -> None:
        row = of(fixed)
        equations.extend([np.append(row, 0 * row), np.append(0 * row, row)])
        values.extend([round(users), round(hits)])

    for row in table.filter(~pl.col("suppressed")).iter_rows(named=True):
        add(named(row), row["n_users"], row["n_users"] * row["estimate"])
    for row in found.by_bin.iter_rows(named=True):
        rows = row["mass"] * total
        hits = rows * ((row["gap"] if row["n_users"] else 0.0) + found.confidence[row["confidence"]])
        add(named(row) | {CONFIDENT: row["confidence"]}, rows, hits)
    for row in found.by_rows.iter_rows(named=True):
        if row["rows_level"] in found.levels:  # levels that stand together are sums of these
            add(named(row) | {ROWS: row["rows_level"]}, row["n_users"], row["n_users"] * row["estimate"])
    somebody = [np.append(of(cell), np.zeros(len(atoms))) for cell in cells]
    at_most = [np.append(-unit, unit) for unit in np.eye(len(atoms))]  # hits less users
    constraints = [
        LinearConstraint(np.array(equations), values, values),
        LinearConstraint(np.array(somebody), lb=1),
        LinearConstraint(np.array(at_most), ub=0),
    ]

    def ends(aim: np.ndarray) -> tuple[int, int]:
        ranges = [
            milp(sign * aim, constraints=constraints, integrality=np.ones(len(aim)), bounds=Bounds(0, total))
            for sign in (1, -1)
        ]
        return round(ranges[0].fun), round(-ranges[1].fun)

    for fixed in asked:
        row = of(fixed)
        for what, aim in (("users", np.append(row, 0 * row)), ("hits", np.append(0 * row, row))):
            yield Bounded(fixed, what, *ends(aim))


def town(
    seed: int, users: int | None = None, levels: Sequence[int] | None = None, topics: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions, a comparison a user, and users of two attributes with levels of unequal size.

    seed      of the town
    users     how many; by chance by default
    levels    of each attribute; by chance by default
    topics    whether comparisons have a column ROWS, which is low confidence but for a few of the next
    """
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
    predictions = pl.DataFrame({"user_id": ids, "prob_first": p, "label": label})
    if topics:
        other = rng.random(n) < rng.choice([0.03, 0.3])
        topic = np.where((p == CONFIDENCE[0]) | (other & (p == CONFIDENCE[1])), "t0", "t1")
        predictions = predictions.with_columns(pl.Series(ROWS, topic))
    return predictions, pl.DataFrame({"user_id": ids, **columns})


@dataclass(frozen=True)
class Written:
    """What is on disk of an audit, as far as it is a sum over people.

    table         of the audit
    by_bin        its slices by bins of confidence
    confidence    the one stated confidence in each bin, by its name; 1 in an empty one
    by_rows       its slices by levels of rows that are shown
    levels        of rows
    there         bins of confidence and levels of rows that go together
    """

    table: pl.DataFrame
    by_bin: pl.DataFrame
    confidence: dict[str, float]
    by_rows: pl.DataFrame
    levels: tuple[str, ...]
    there: tuple[tuple[str, str], ...]

    @staticmethod
    def of(result: Audit, predictions: pl.DataFrame) -> "Written":
        """What an audit of these predictions writes.

        result         the audit
        predictions    what it was made of
        """
        frames = [s.frame for s in (result.sections.get("multicalibration"),) if s is not None]
        by_bin = frames[0] if frames else pl.DataFrame()
        stated = predictions["prob_first"].unique().sort().to_list()
        bins = by_bin["confidence"].unique(maintain_order=True).to_list() if frames else [str(c) for c in stated]
        ends = {name: [float(end) for end in name.split("–")] for name in bins if frames}
        inside = {name: next((c for c in stated if low < c <= high), 1.0) for name, (low, high) in ends.items()}
        section = result.sections.get(f"rows_{ROWS}")
        by_rows, levels = pl.DataFrame(), ()
        if section is not None:
            by_rows = section.frame.filter(~pl.col("suppressed"), metric="accuracy")
            whole = by_rows.filter(attribute=OVERALL[0])["rows_level"].unique(maintain_order=True)
            levels = tuple(v for v in whole if v in set(predictions[ROWS]))
            levels = (*levels, *(["(others)"] if set(predictions[ROWS]) - set(levels) else []))
        inside = inside or {str(c): c for c in stated}
        names = {c: name for name, c in inside.items()}
        there = [(b, "") for b in inside]
        if levels:
            pairs = predictions.select("prob_first", ROWS).unique().sort("prob_first", ROWS).iter_rows()
            there = list(dict.fromkeys((names[p], r if r in levels else "(others)") for p, r in pairs))
        return Written(result.table, by_bin, inside, by_rows, levels, tuple(there))


def solved(seed: int, topics: bool = False) -> list[Bounded]:
    """The numbers of few people, withheld by the audit of a town, that are the only ones to fit what is written.

    Hits of people who are all alike are left out, since any mean of theirs tells each. Raises AssertionError where the
    truth is not within the bounds, so that a wrong attacker is no safe audit.

    seed      of the town
    topics    whether comparisons are sliced by a level of their own
    """
    predictions, people = town(seed, topics=topics)
    found = Written.of(audit(predictions, people, n_bootstrap=20, rows=[ROWS] if topics else ()), predictions)
    rows = predictions.join(people, on="user_id")
    stated = {c: name for name, c in found.confidence.items()}
    rows = rows.with_columns(pl.col("prob_first").replace_strict(stated, return_dtype=pl.String).alias(CONFIDENT))
    if topics:
        known = pl.col(ROWS).is_in(found.levels)
        rows = rows.with_columns(pl.when(known).then(ROWS).otherwise(pl.lit("(others)")).alias(ROWS))
    inside = [CONFIDENT, *([ROWS] if found.levels else [])]
    sets = [own + more for own in ([], ["a0"], ["a1"], ["a0", "a1"]) for k in range(len(inside) + 1)
            for more in map(list, combinations(inside, k)) if own + more]  # fmt: skip
    few = [rows.group_by(by).len().filter(pl.col("len") < DISCLOSURE.min_users_show).drop("len") for by in sets]
    asked = [fixed for frame in few for fixed in frame.sort(frame.columns).iter_rows(named=True)]
    told = []
    for one in bounds(found, asked):
        members = rows.filter(*(pl.col(a) == v for a, v in one.fixed.items()))
        truth = members.height if one.what == "users" else int(members["label"].sum())
        assert one.low <= truth <= one.high, one
        alike = one.what == "hits" and truth in (0, members.height)
        told += [one] if one.low == one.high and not alike else []
    return told
