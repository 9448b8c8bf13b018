"""What a table says besides the items: who answers, how sure, with what weight, in which group, for which objective."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.arrays import Float, Int
from plurality.data.items import by_key
from plurality.data.keys import Keys
from plurality.data.pairs import CHOSEN, side_names
from plurality.data.readers import columns
from plurality.data.readers.columns import raise_where
from plurality.data.readers.tables import open_frame
from plurality.data.responses import is_pair, there
from plurality.data.times import moments
from plurality.data.unread import unread
from plurality.errors import InputWarning

Repeats = Literal["drop", "keep"]
StrengthAs = Literal["weight", "label", "level"]
MOST = 1e12  # of a weight: beyond, sums of weights and of their squares keep nothing of the others


@dataclass(frozen=True, eq=False)
class Judgements:
    """What a table says besides the items: (N,) columns.

    label       P(preferred) of the side that the first column of sides holds; 1 of other answers than pairs
    keep        whether a row counts, and does not only repeat another
    duplicates  rows that do not
    attributes  what else is said of the rows
    answers     of what each is a part, and silent those of which none is: `plurality.data.answers`
    """

    user: Int
    label: Float
    weight: Float
    group: Keys | None
    objective: Int | None
    objectives: tuple[str, ...]
    users: pl.DataFrame
    keep: NDArray[np.bool_]
    place: str
    unread: tuple[str, ...]
    duplicates: int
    attributes: pl.DataFrame | None
    answers: pl.DataFrame | None = None
    silent: pl.DataFrame | None = None
    grade: Float | None = None

    @property
    def person(self) -> Int:
        """Number of whoever answers, and what for: (N,)."""
        return self.user if self.objective is None else self.user * len(self.objectives) + self.objective

    def at(self, rows: Int, others: Int, weight: Float, group: Keys) -> "Judgements":
        """The same of comparisons that rows (n,) say, with weights and groups of their own.

        Where a comparison is of two rows, those and others (n,), its time is the later of both, when it could be known.
        """
        said, attributes = self.attributes, None
        if said is not None:
            attributes = said[rows]
            if "time" in said.columns:
                known = moments(said["time"])  # text that does not sort can be split by no time
                rank = (said["time"] if known is None else known).rank("dense").fill_null(0).to_numpy()
                later = np.where(rank[others] > rank[rows], others, rows)
                attributes = attributes.with_columns(time=said["time"][later])
        return replace(
            self,
            user=self.user[rows],
            label=self.label[rows],
            weight=weight,
            group=group,
            objective=None if self.objective is None else self.objective[rows],
            keep=np.ones(len(rows), dtype=bool),
            attributes=attributes,
            grade=None if self.grade is None else self.grade[rows],
        )


def judgements_of(frame: pl.DataFrame, place: str, users: Any, repeats: Repeats, strength_as: StrengthAs) -> Judgements:
    """Labels, weights, users, groups and objectives of a table. Raises InputError naming file and row.

    frame         the table
    place         its name
    users         table of users, or None
    repeats       whether rows that repeat another count
    strength_as   what a strength is
    """
    pairs = is_pair(frame)
    label, weight = _labels(frame, place, pairs, strength_as)
    user_ids = columns.ids(frame, "user_id", place)
    group = None
    if columns.given(frame, "group_id"):
        _, keys, row = by_key(columns.ids(frame, "group_id", place))
        group = keys[row]
    objective, objectives = None, tuple[str, ...]()
    if columns.given(frame, "objective"):
        asked = columns.ids(frame, "objective", place)
        names = asked.unique().sort()
        objective, objectives = names.search_sorted(asked).to_numpy().astype(np.int64), tuple(names.to_list())
    table, user = _users(users, user_ids, place)
    keep = frame.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy(writable=True)
    if repeats == "keep":
        keep = np.ones(len(keep), dtype=bool)
    elif not keep.all():
        note = f"{place}: {np.sum(~keep):,} rows repeat another in every column and are dropped; "
        warnings.warn(InputWarning(note + 'read with repeats="keep" if they count'), stacklevel=5)
    left = unread(frame, pairs.all())
    return Judgements(
        user,
        label,
        weight,
        group,
        objective,
        objectives,
        table,
        keep,
        place,
        left,
        int(np.sum(~keep)),
        _attributes(frame, left),
        grade=_grades(frame, place, pairs, label) if strength_as == "level" else None,
    )


def _labels(frame: pl.DataFrame, place: str, pairs: pl.Series, strength_as: StrengthAs) -> tuple[Float, Float]:
    """P(the first column's side preferred) and weight, (N,) each."""
    weight = np.ones(frame.height)
    if columns.given(frame, "weight"):
        given = columns.numbers(frame, "weight", place)
        raise_where(given <= 0, place, "weight is not positive", "give a positive weight or drop the row")
        outside = (given < 1 / MOST) | (given > MOST)
        raise_where(outside, place, f"weight lies outside [{1 / MOST:g}, {MOST:g}]", "3 means the row three times")
        weight = given.to_numpy(writable=True)
    label = np.ones(frame.height)
    rows = pairs.arg_true().to_numpy().astype(np.int64)
    if len(rows) or not there(frame):
        some, part = frame[rows], columns.Part(place, rows)
        label[rows], scale = _of_pairs(some, part, strength_as)
        weight[rows] *= scale
    return label, weight


def _of_pairs(frame: pl.DataFrame, place: str, strength_as: StrengthAs) -> tuple[Float, Float]:
    """P(the first column's side preferred) of pairs, and what their strength multiplies the weight by."""
    ordered = side_names(frame, place) == CHOSEN
    lowest = 0.5 if ordered else 0.0
    label = pl.Series("label", np.ones(frame.height))
    if not ordered or columns.given(frame, "label"):
        label = columns.numbers(frame, "label", place)
    remedy = "1/2 is a tie, 1 says that chosen is preferred" if ordered else "give P(first preferred)"
    raise_where(~label.is_between(lowest, 1), place, f"label lies outside [{lowest:g}, 1]", remedy)
    scale = pl.Series("weight", np.ones(frame.height))
    if columns.given(frame, "strength") and strength_as != "level":
        strength = columns.numbers(frame, "strength", place)
        outside = (strength <= 0) | (strength > 1)
        raise_where(outside, place, "strength lies outside (0, 1]", "rescale it; a tie is a label of 1/2")
        if strength_as == "label":
            label = 0.5 + strength * (label - 0.5)
        else:
            scale = strength
    return label.to_numpy(writable=True), scale.to_numpy(writable=True)


def _grades(frame: pl.DataFrame, place: str, pairs: pl.Series, label: Float) -> Float | None:
    """How strong each preference is, 0 of ties, NaN of other answers and of shares (N,); None if nothing is said."""
    if not columns.given(frame, "strength"):
        return None
    rows = pairs.arg_true().to_numpy().astype(np.int64)
    part = columns.Part(place, rows)
    strength = columns.numbers(frame[rows], "strength", part)
    raise_where(strength < 0, part, "strength is negative", "give 0 or more; the label says which side it is for")
    grade = np.full(frame.height, np.nan)
    grade[rows] = strength.to_numpy()
    decided = (label == 0) | (label == 1)
    raise_where(pl.Series(decided & (grade == 0)), place, "strength is 0 and label names a side", "a tie has label 1/2")
    return np.where(label == 0.5, 0.0, np.where(decided, grade, np.nan))


def _users(users: Any, user_ids: pl.Series, place: str) -> tuple[pl.DataFrame, Int]:
    """The users table, `user_id` first, and the row in it of each of the ids (N,)."""
    if users is None:
        table, name = user_ids.unique().sort().to_frame(), ""
    else:
        frame, name = open_frame(users, "users")
        known = columns.ids(frame, "user_id", name)
        again = ~known.is_first_distinct()
        if again.any():
            raise_where(again, name, f"user_id {known.filter(again)[0]!r} appears twice", "keep one row a user")
        table = frame.select(known, pl.all().exclude("user_id"))
    places = table.select("user_id").with_row_index("row")
    row = user_ids.to_frame().join(places, on="user_id", how="left", maintain_order="left")["row"]
    if row.null_count():
        unknown = user_ids.filter(row.is_null())
        others = f", like {unknown.n_unique() - 1:,} others" if unknown.n_unique() > 1 else ""
        cause = f"user {unknown[0]!r} is not in {name}{others}"
        raise_where(row.is_null(), place, cause, "add every user to the users table or drop their rows")
    return table, row.cast(pl.Int64).to_numpy(writable=True)


def _attributes(frame: pl.DataFrame, left: Sequence[str]) -> pl.DataFrame | None:
    """Columns of single values that something is said in."""
    names = [name for name in left if not frame[name].dtype.is_nested() and columns.given(frame, name)]
    return frame.select(names) if names else None
