"""Which comparisons make up a segment: slices of users, rows of a boolean matrix, or crossed attributes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from plurality.analyses.audit.slices import CROSS, OVERALL, Slices
from plurality.analyses.levels import levels_of
from plurality.errors import InputError

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Segments:
    """S sets of the comparisons 0 … n − 1, of which the first one is all of them.

    attribute    (S,) what a segment is a level of; crossed attributes are joined by " × "
    level        (S,) name of the segment within its attribute
    rows         (S,) ascending numbers of the comparisons in each segment
    """

    attribute: tuple[str, ...]
    level: tuple[str, ...]
    rows: tuple[Ints, ...]

    @property
    def n(self) -> int:
        return len(self.rows[0])


def segments_of_slices(groups: Slices, user: ArrayLike) -> Segments:
    """The comparisons of each slice of users, for the user (n,) of each comparison as a row of the slices.

    groups    slices of U users, as from `plurality.analyses.audit.slices.slices`
    user      (n,) user of each comparison, as a row from 0 to U − 1 of the slices
    """
    codes = np.asarray(user)
    users = groups.membership.shape[0]
    bad = np.flatnonzero((codes < 0) | (codes >= users))
    if len(bad):
        raise InputError(f"user: row {bad[0]} is {codes[bad[0]]}; give a number from 0 to {users - 1}")
    order = np.argsort(codes, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=users))])
    rows = []
    for s in range(len(groups.level)):
        held = groups.users(s)
        count = ends[held + 1] - ends[held]
        # the runs ends[u] … ends[u + 1] of the slice's users, one after another
        place = np.repeat(ends[held] - (np.cumsum(count) - count), count) + np.arange(count.sum())
        rows.append(np.sort(order[place]).astype(np.int64))
    return Segments(groups.attribute, groups.level, tuple(rows))


def segments_of_matrix(members: ArrayLike, names: Sequence[str] | None = None) -> Segments:
    """Segments of a boolean matrix, after a first one of all comparisons. Raises InputError for another type or shape.

    members    (n, S) True where a comparison belongs to a segment
    names      (S,) names of the segments; "0", "1", … by default
    """
    table = np.asarray(members)
    if table.ndim != 2 or table.dtype != bool:
        raise InputError(f"members: {table.dtype} of shape {table.shape}; give a boolean (comparisons, segments)")
    labels = [str(s) for s in range(table.shape[1])] if names is None else list(names)
    if len(labels) != table.shape[1]:
        raise InputError(f"names: {len(labels)} for {table.shape[1]} segments; give one a segment")
    rows = [np.arange(len(table)), *(np.flatnonzero(column) for column in table.T)]
    return Segments((OVERALL[0], *["segment"] * len(labels)), (OVERALL[1], *labels), tuple(rows))


def segments_of_attributes(attributes: pl.DataFrame, order: int = 2) -> Segments:
    """Segments by attributes: all comparisons, and every occurring combination of levels.

    Raises InputError for another `order`.

    attributes    a row a comparison and a column an attribute
    order         how many attributes are crossed at most, 1 to 3; by default single ones and pairs
    """
    if order not in (1, 2, 3):
        raise InputError(f"order: {order}; cross 1, 2 or 3 attributes")
    names, levels, rows = [OVERALL[0]], [OVERALL[1]], [np.arange(attributes.height)]
    single = {c: levels_of(attributes[c]) for c in attributes.columns}
    for crossed in (c for k in range(1, order + 1) for c in combinations(attributes.columns, k)):
        cells, code = np.unique(np.stack([single[c][1] for c in crossed], axis=1), axis=0, return_inverse=True)
        ends = np.cumsum(np.bincount(code.ravel(), minlength=len(cells)))
        rows += np.split(np.argsort(code.ravel(), kind="stable"), ends[:-1]) if len(cells) else []
        names += [CROSS.join(crossed)] * len(cells)
        levels += [CROSS.join(single[c][0][v] for c, v in zip(crossed, cell, strict=True)) for cell in cells]
    return Segments(tuple(names), tuple(levels), tuple(rows))
