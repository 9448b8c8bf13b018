"""Graded pairs: how strongly one side is preferred, as a cumulative logit on the gap with symmetric cut points.

    P(level ≥ k for first) = σ(gap − c_k),  P(level ≥ k for second) = σ(−gap − c_k),  0 ≤ c_0 < c_1 < …
A level between cut points a < b has P = σ(gap − a) σ(b − gap) (1 − e^{a − b}), whatever the gap: two comparisons that
are offset, "above a" and "below b". So what learns from comparisons learns from graded ones by the exact likelihood.
Levels have cut points that all people share. Magnitudes (more than MOST values) are first divided by the person's own
usual one, shrunk to everybody's, and put together in levels of like size.
Sources: Agresti 1992 (adjacent and cumulative logits of paired comparisons); McCullagh 1980.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from plurality.arrays import Bool, Float, Int
from plurality.data.comparisons import Comparisons

MOST = 6  # values that are levels of their own; more are magnitudes,
GROUPS = 5  # which become so many levels
PSEUDO = 4.0  # comparisons of a usual person that everybody's own scale is shrunk with


@dataclass(frozen=True)
class Grades:
    """What strengths mean in log-odds.

    levels    (m,) smallest strength of each level, in units of the person's own where `own` says so
    cuts      (m,) cut point below each: of the first, where ties end; 0 if there are none
    own       usual strength of everybody, where strengths are magnitudes on a scale of the person's own; else None
    """

    levels: tuple[float, ...]
    cuts: tuple[float, ...] = ()
    own: float | None = None

    @staticmethod
    def of(data: Comparisons) -> "Grades":
        """Levels of the strengths in these comparisons, without cut points."""
        given = np.full(len(data), np.nan) if data.grade is None else data.grade
        strong = _graded(data) & (given > 0)
        grade = given[strong]
        values = np.unique(grade)
        if len(values) <= MOST:
            return Grades(tuple(values.tolist()))
        usual = float(np.mean(grade))
        grade = grade / _own_scale(data, usual)[data.user[strong]]
        return Grades(tuple(np.unique(np.quantile(grade, np.arange(GROUPS) / GROUPS)).tolist()), own=usual)

    def record(self) -> dict[str, Any]:
        """What a fitted model keeps, ready for JSON."""
        return {"levels": list(self.levels), "cuts": list(self.cuts), "own": self.own}

    @staticmethod
    def restored(record: Mapping[str, Any] | None) -> "Grades | None":
        """From the record that a fitted model keeps."""
        if record is None:
            return None
        return Grades(tuple(record["levels"]), tuple(record["cuts"]), record["own"])

    def level(self, data: Comparisons) -> Int:
        """Level of each comparison, 1 and more; 0 of a tie, −1 where nothing is said: (N,)."""
        if data.grade is None:
            return np.full(len(data), -1)
        grade = data.grade if self.own is None else data.grade / _own_scale(data, self.own)[data.user]
        level = np.searchsorted(np.asarray(self.levels), grade * (1 + 1e-12), side="right").clip(1)
        return np.where(_graded(data), np.where(data.grade == 0, 0, level), -1)

    def with_cuts(self, cuts: Sequence[float]) -> "Grades":
        """The same with cut points."""
        return replace(self, cuts=tuple(float(c) for c in cuts))


def offset_comparisons(data: Comparisons, grades: Grades | None) -> Comparisons:
    """Every graded comparison as one or two comparisons with cut points; others as they are.

    data      comparisons
    grades    levels and their cut points; None: no comparison is graded
    """
    if data.grade is None or grades is None:
        return data if data.grade is None else replace(data, grade=None)
    level = grades.level(data)
    cuts = np.r_[np.asarray(grades.cuts), np.inf]
    tie = np.flatnonzero((level == 0) & (cuts[0] > 0))
    strong = np.flatnonzero(level > 0)
    sign = np.where(data.label[strong] > 0.5, 1.0, -1.0)
    below, above = cuts[level[strong] - 1], cuts[level[strong]]
    bounded = np.isfinite(above)
    rest = np.setdiff1d(np.arange(len(data)), np.r_[tie, strong])
    rows = np.r_[rest, strong, strong[bounded], tie, tie]
    first = sign > 0
    label = [data.label[rest], first, ~first[bounded], np.ones(len(tie)), np.zeros(len(tie))]
    offset = [0.0 * rest, -sign * below, -(sign * above)[bounded], 0 * tie + cuts[0], 0 * tie - cuts[0]]
    made = replace(data, grade=None).take(rows)
    return replace(made, label=np.concatenate(label).astype(float), offset=np.concatenate(offset))


def _graded(data: Comparisons) -> Bool:
    if data.grade is None:
        return np.zeros(len(data), dtype=bool)
    return np.isfinite(data.grade) & np.isin(data.label, (0.0, 0.5, 1.0))


def _own_scale(data: Comparisons, usual: float) -> Float:
    """Usual strength of each person's, shrunk to everybody's: (U,)."""
    assert data.grade is not None
    strong = _graded(data) & (data.grade > 0)
    n_users = data.users.height
    total = np.bincount(data.user[strong], data.grade[strong], minlength=n_users)
    return (total + PSEUDO * usual) / (np.bincount(data.user[strong], minlength=n_users) + PSEUDO)
