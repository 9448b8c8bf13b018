"""Predictions and users as they come from outside, checked once and turned into arrays."""

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from plurality.analyses.calibration.binning import Floats
from plurality.analyses.levels import MISSING
from plurality.data.readers.columns import TEXT, as_numbers
from plurality.data.readers.tables import open_frame
from plurality.errors import InputError, InputWarning

Table = pl.DataFrame | pl.LazyFrame | Mapping[str, Sequence[object]] | str | Path | object
Notes = list[str]

_CONTROL = re.compile("control|shuffled", re.IGNORECASE)

ROW = "row of the table"  # kept by the audit, so that messages name rows as the reader knows them
MOST_WEIGHT = 1e12
READ = {"user_id", "prob_first", "label", "weight", "served_first", "gap", "model", "cell", "control", "fold"}
READ |= {"shown_first", "pair", ROW}
ANSWER = "answer_kind"  # of predictions by `compare`: the kind of answer that a row's pair is part of
READ |= {ANSWER, "answer", "level_first", "level_second", "item_first", "item_second"}


@dataclass(frozen=True)
class Predictions:
    """Checked comparisons, (n,) each, of the users `ids` (U,), which `user` indexes; weights are positive.

    `weight` is how many comparisons a row stands for, and `people` (U,) what each person weighs, 1 on average; a column
    of weights is the one or the other, see `_weights`.
    """

    ids: tuple[str, ...]
    user: NDArray[np.int64]
    p: Floats
    y: Floats
    weight: Floats
    people: Floats
    served: Floats
    gap: Floats | None
    own_pick: bool  # `served` is the model's own pick
    shown: Floats | None  # P(first was displayed first)
    pair: NDArray[np.int64] | None  # which two responses, in which order, from 0

    @property
    def pooled(self) -> Floats:
        """What each row weighs among those of everybody (n,)."""
        return self.weight * self.people[self.user]


def read_table(table: Table, name: str) -> pl.DataFrame:
    """The frame of a file or of a table in memory, as `plurality.data.readers.tables.open_frame` reads it."""
    return open_frame(table, name)[0]


def user_column(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The frame with `user_id` as strings; whole numbers are taken at their digits."""
    if "user_id" not in frame.columns:
        raise InputError(f"{name}: no column user_id, found {listed(frame.columns)}; rename the column of user ids")
    ids = frame["user_id"]
    if not (ids.dtype.is_integer() or isinstance(ids.dtype, TEXT) or not len(ids)):
        raise InputError(f"{name}: user_id is {ids.dtype}; give strings")
    text = ids.cast(pl.String)
    empty = np.flatnonzero((text.is_null() | (text == "")).fill_null(True).to_numpy())
    if len(empty):
        raise InputError(f"{name}: user_id is empty in {_rows(frame, empty)}; every row needs a user")
    return frame.with_columns(text)


def read_predictions(frame: pl.DataFrame) -> tuple[Predictions, Notes]:
    """Checked arrays of the predictions of one model and one cell, and what a reader should know of them."""
    frame, notes = user_column(frame, "predictions"), Notes()
    missing = [c for c in ("prob_first", "label") if c not in frame.columns]
    if missing:
        found = listed([name for name in frame.columns if name != ROW])
        raise InputError(f"predictions: no column {' or '.join(missing)}, found {found}; add it")
    p, y = _numbers(frame, "prob_first", 0, 1), _numbers(frame, "label", 0, 1)
    weight = _numbers(frame, "weight", 0, MOST_WEIGHT) if "weight" in frame.columns else np.ones(len(p))
    gap = _numbers(frame, "gap", -np.inf, np.inf) if "gap" in frame.columns else None
    if gap is not None:
        off = np.flatnonzero(np.abs(expit(gap) - p) > 1e-3)
        if len(off):
            raise InputError(
                f"predictions: gap {gap[off[0]]} and prob_first {p[off[0]]} disagree in {_rows(frame, off)}; "
                "gap is the log-odds of prob_first"
            )
    shown = _numbers(frame, "shown_first", 0, 1) if "shown_first" in frame.columns else None
    pair = _pairs(frame) if "pair" in frame.columns else None
    own_pick = "served_first" not in frame.columns
    served = np.where(p == 0.5, 0.5, p > 0.5) if own_pick else _numbers(frame, "served_first", 0, 1)
    keep = weight > 0
    if not keep.any():
        raise InputError("predictions: no row with a positive weight; there is nothing to audit")
    if not keep.all():
        notes.append(f"{int((~keep).sum())} rows of weight 0 were left out.")
    if (y > 0.5).all() or (y < 0.5).all():
        warnings.warn(
            "predictions: every label is on the same side (winner stored first); the audit folds "
            "comparisons, so it holds only if the model gives 1 - p when the two responses are swapped",
            InputWarning,
            stacklevel=3,
        )
    kept = frame["user_id"].filter(pl.Series(keep))
    ids, user = kept.unique().sort(), kept.rank("dense").to_numpy().astype(np.int64) - 1  # np.unique sorts text slowly
    rows, people, more = _weights(weight[keep], user, parts=ANSWER in frame.columns)
    return Predictions(
        ids=tuple(ids.to_list()),
        user=user,
        p=p[keep],
        y=y[keep],
        weight=rows,
        people=people,
        served=served[keep],
        gap=None if gap is None else gap[keep],
        own_pick=own_pick,
        shown=None if shown is None else shown[keep],
        pair=None if pair is None else pair[keep],
    ), [*notes, *more]


def kept_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that `read_predictions` keeps of a table that it took: those of positive weight.

    frame    a row a comparison
    """
    if "weight" not in frame.columns:
        return frame
    return frame.filter(pl.Series(_numbers(frame, "weight", 0, MOST_WEIGHT) > 0))


def unread(frame: pl.DataFrame, read: Collection[str] = READ, what: str = "predictions") -> Notes:
    """A note of the columns of a table that no part of an audit reads."""
    others = [name for name in frame.columns if name not in read]
    return [f"Columns of {what} that are not read: {listed(others)}."] if others else []


def _weights(weight: Floats, user: NDArray[np.int64], *, parts: bool) -> tuple[Floats, Floats, Notes]:
    """Weights of rows (n,) and of people (U,), and which of them a column of weights was taken for.

    Weights that are the same in all rows of a person, and not of everybody, are what a survey gives its people: they
    would cancel in the person's own mean. Others say how many comparisons a row stands for; and so do all where rows
    are `parts` of answers, whose pairs weigh as much as the answer tells.
    """
    users = int(user.max()) + 1
    own = np.empty(users)
    own[user] = weight
    if (weight == weight[0]).all():
        return weight, np.ones(users), []
    if not parts and (own[user] == weight).all():
        said = "Weights are the same in all rows of a person, so they weigh people: means are those of the population."
        return np.ones(len(weight)), own / own.mean(), [said]
    why = "Rows are parts of answers" if parts else "Weights differ within people"
    return weight, np.ones(users), [f"{why}, so weights weigh comparisons; people count alike."]


def _pairs(frame: pl.DataFrame) -> NDArray[np.int64]:
    """Codes of the column `pair`; InputError where one is missing."""
    if frame["pair"].dtype.is_nested():
        raise InputError(f"predictions: pair is {frame['pair'].dtype}; name the two responses by one text or number")
    pairs = frame["pair"].cast(pl.String)
    empty = np.flatnonzero(pairs.is_null().to_numpy())
    if len(empty):
        raise InputError(f"predictions: pair is empty in {_rows(frame, empty)}; name the two responses in every row")
    return pairs.rank("dense").to_numpy().astype(np.int64) - 1


def _numbers(frame: pl.DataFrame, column: str, low: float, high: float) -> Floats:
    """A column as floats in [low, high]; InputError names the column and the rows that are not."""
    values = numbers(frame, column, "predictions", "give numbers")
    bad = np.flatnonzero(~((values >= low) & (values <= high) & np.isfinite(values)))
    if len(bad):
        if not np.isfinite(values[bad[0]]):
            raise InputError(
                f"predictions: {column} is missing, NaN or infinite in {_rows(frame, bad)}; drop or mend them"
            )
        allowed = f"in [{low:g}, {high:g}]" if np.isfinite(high) else f">= {low:g}"
        raise InputError(f"predictions: {column} is {values[bad[0]]} in {_rows(frame, bad)}; it must lie {allowed}")
    return values


def numbers(frame: pl.DataFrame, column: str, name: str, remedy: str) -> Floats:
    """A column as floats (n,), NaN where it is missing; InputError where it is neither numbers nor text of numbers."""
    values = frame[column]
    numeric = as_numbers(values)
    if numeric is None:
        raise InputError(f"{name}: {column} is {values.dtype}; {remedy}")
    if not isinstance(values.dtype, TEXT):
        return numeric.to_numpy()
    text = np.flatnonzero((numeric.is_null() & (values.cast(pl.String) != "").fill_null(False)).to_numpy())
    if len(text):
        raise InputError(f"{name}: {column} is {values[int(text[0])]!r} in {_rows(frame, text)}; {remedy}")
    return numeric.to_numpy()


def chosen(
    frame: pl.DataFrame, column: str, wanted: str | None, default: str | None
) -> tuple[pl.DataFrame, str | None, Notes]:
    """The rows of one model or cell, its name, and a note where it was chosen for the reader.

    InputError lists what is there when the choice is not clear.
    """
    if column not in frame.columns:
        if wanted is not None:
            raise InputError(f"predictions: no column {column}, so {column}={wanted!r} cannot be chosen; leave it out")
        return frame, None, []
    there = frame[column].cast(pl.String).fill_null(MISSING)
    names = there.unique(maintain_order=True).to_list()
    taken = wanted if wanted is not None else names[0] if len(names) == 1 else default
    if taken not in names:
        asked = "several are there" if wanted is None else f"{wanted!r} is not there"
        raise InputError(f"predictions: {column}: {asked}; choose {column}= one of {listed(names)}")
    others = [name for name in names if name != taken]
    said = f"{column.capitalize()} {taken!r} was taken; {column}= chooses another of {listed(others)}."
    return frame.filter(there == taken), taken, [said] if others and wanted is None else []


def default_model(frame: pl.DataFrame) -> str | None:
    """The first model that is no control, by a boolean column `control` if there is one, else by name."""
    if "model" not in frame.columns:
        return None
    if "control" in frame.columns:
        control = numbers(frame, "control", "predictions", "give true or false")
        frame = frame.filter(pl.Series(~(control > 0)))
    names = frame["model"].cast(pl.String).drop_nulls().unique(maintain_order=True).to_list()
    known = "control" not in frame.columns
    return next((name for name in names if not (known and _CONTROL.search(name))), None)


def default_cell(frame: pl.DataFrame) -> str | None:
    """The cell of seen users and unseen items or prompts: its name says `seen` first and `unseen` second."""
    if "cell" not in frame.columns:
        return None
    names = frame["cell"].cast(pl.String).drop_nulls().unique(maintain_order=True).to_list()
    words = {name: re.findall("unseen|seen", name.lower()) for name in names}
    return next((name for name in names if words[name] == ["seen", "unseen"]), None)


def _rows(frame: pl.DataFrame, bad: NDArray[np.intp]) -> str:
    """The numbers of bad rows, as they stand in what was handed in."""
    numbers = frame[ROW][bad[:5]].to_list() if ROW in frame.columns else bad[:5].tolist()
    shown = ", ".join(str(row) for row in numbers)
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    return f"row{'s' if len(bad) > 1 else ''} {shown}{more} (first row is 0)"


def listed(names: Sequence[str]) -> str:
    """Names in quotes, for a message."""
    return ", ".join(repr(str(n)) for n in names) or "none"
