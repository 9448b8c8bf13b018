"""Predictions and users as they come from outside, checked once and turned into arrays."""

import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from plurality.analyses.binning import Floats
from plurality.errors import InputError, InputWarning

Table = pl.DataFrame | pl.LazyFrame | Mapping[str, Sequence[object]] | str | Path | object
Notes = list[str]

MISSING = "(missing)"
NOT_LISTED = "(not in users table)"
MAX_LEVELS = 50  # of a text column that is sliced by default
MAX_INTEGERS = 20  # of an integer column that is sliced by default
_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".jsonl": pl.read_ndjson,
}


@dataclass(frozen=True)
class Predictions:
    """Checked comparisons, (n,) each, of the users `ids` (U,), which `user` indexes; weights are positive."""

    ids: tuple[str, ...]
    user: NDArray[np.int64]
    p: Floats
    y: Floats
    weight: Floats
    served: Floats
    gap: Floats | None
    own_pick: bool  # `served` is the model's own pick


def read_table(table: Table, name: str) -> pl.DataFrame:
    """A polars frame from a polars or pandas frame, a mapping of columns, or a parquet, CSV or JSON-lines
    path.
    """
    if isinstance(table, pl.DataFrame):
        return table
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    if isinstance(table, (str, Path)):
        return _read_file(Path(table), name)
    if isinstance(table, Mapping):
        return pl.DataFrame(dict(table))
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(table, pandas.DataFrame):
        return pl.from_pandas(table)
    raise InputError(f"{name}: {type(table).__name__}; give a polars or pandas frame, columns, or the path of a file")


def _read_file(path: Path, name: str) -> pl.DataFrame:
    if path.suffix not in _READERS:
        raise InputError(f"{path}: {name} cannot be read from {path.suffix!r}; use {', '.join(_READERS)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file for {name}; check the path")
    try:
        return _READERS[path.suffix](path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: {name} cannot be read ({str(error).splitlines()[0]}); check the file") from error


def user_column(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The frame with `user_id` as strings; whole numbers are taken at their digits."""
    if "user_id" not in frame.columns:
        raise InputError(f"{name}: no column user_id, found {_listed(frame.columns)}; rename the column of user ids")
    ids = frame["user_id"]
    if not (ids.dtype.is_integer() or ids.dtype in (pl.String, pl.Categorical, pl.Enum) or not len(ids)):
        raise InputError(f"{name}: user_id is {ids.dtype}; give strings")
    text = ids.cast(pl.String)
    empty = np.flatnonzero((text.is_null() | (text == "")).fill_null(True).to_numpy())
    if len(empty):
        raise InputError(f"{name}: user_id is empty in {_rows(empty)}; every row needs a user")
    return frame.with_columns(text)


def read_predictions(frame: pl.DataFrame) -> tuple[Predictions, Notes]:
    """Checked arrays of the predictions of one model and one cell, and what a reader should know of them."""
    frame, notes = user_column(frame, "predictions"), Notes()
    missing = [c for c in ("prob_first", "label") if c not in frame.columns]
    if missing:
        raise InputError(f"predictions: no column {' or '.join(missing)}, found {_listed(frame.columns)}; add it")
    p, y = _numbers(frame, "prob_first", 0, 1), _numbers(frame, "label", 0, 1)
    weight = _numbers(frame, "weight", 0, np.inf) if "weight" in frame.columns else np.ones(len(p))
    gap = _numbers(frame, "gap", -np.inf, np.inf) if "gap" in frame.columns else None
    if gap is not None:
        off = np.flatnonzero(np.abs(expit(gap) - p) > 1e-3)
        if len(off):
            raise InputError(
                f"predictions: gap {gap[off[0]]} and prob_first {p[off[0]]} disagree in {_rows(off)}; "
                "gap is the log-odds of prob_first"
            )
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
    ids, user = np.unique(frame["user_id"].to_numpy()[keep], return_inverse=True)
    return Predictions(
        ids=tuple(ids.tolist()),
        user=user,
        p=p[keep],
        y=y[keep],
        weight=weight[keep],
        served=served[keep],
        gap=None if gap is None else gap[keep],
        own_pick=own_pick,
    ), notes


def _numbers(frame: pl.DataFrame, column: str, low: float, high: float) -> Floats:
    """A column as floats in [low, high]; InputError names the column and the rows that are not."""
    series = frame[column]
    if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        raise InputError(f"predictions: {column} is {series.dtype}; give numbers")
    values = series.cast(pl.Float64).to_numpy()
    bad = np.flatnonzero(~((values >= low) & (values <= high) & np.isfinite(values)))
    if len(bad):
        if not np.isfinite(values[bad[0]]):
            raise InputError(f"predictions: {column} is missing, NaN or infinite in {_rows(bad)}; drop or mend them")
        allowed = f"in [{low:g}, {high:g}]" if np.isfinite(high) else f">= {low:g}"
        raise InputError(f"predictions: {column} is {values[bad[0]]} in {_rows(bad)}; it must lie {allowed}")
    return values


def chosen(
    frame: pl.DataFrame, column: str, wanted: str | None, default: str | None
) -> tuple[pl.DataFrame, str | None]:
    """The rows of one model or cell, and its name; InputError lists what is there when the choice is not
    clear.
    """
    if column not in frame.columns:
        if wanted is not None:
            raise InputError(f"predictions: no column {column}, so {column}={wanted!r} cannot be chosen; leave it out")
        return frame, None
    there = frame[column].cast(pl.String).fill_null(MISSING)
    names = there.unique(maintain_order=True).to_list()
    taken = wanted if wanted is not None else names[0] if len(names) == 1 else default
    if taken not in names:
        asked = "several are there" if wanted is None else f"{wanted!r} is not there"
        raise InputError(f"predictions: {column}: {asked}; choose {column}= one of {_listed(names)}")
    return frame.filter(there == taken), taken


def default_model(frame: pl.DataFrame) -> str | None:
    """The first model that is no control, by a boolean column `control` if there is one, else by name."""
    if "model" not in frame.columns:
        return None
    own = frame.filter(~pl.col("control").fill_null(False)) if "control" in frame.columns else frame
    names = own["model"].cast(pl.String).drop_nulls().unique(maintain_order=True).to_list()
    return next((name for name in names if not re.search("control|shuffled", name, re.IGNORECASE)), None)


def default_cell(frame: pl.DataFrame) -> str | None:
    """The cell of seen users with unseen items or prompts: the name that says `seen` first and `unseen`
    second.
    """
    if "cell" not in frame.columns:
        return None
    names = frame["cell"].cast(pl.String).drop_nulls().unique(maintain_order=True).to_list()
    words = {name: re.findall("unseen|seen", name.lower()) for name in names}
    return next((name for name in names if words[name] == ["seen", "unseen"]), None)


def attributes_of(
    users: pl.DataFrame | None, ids: tuple[str, ...], by: Sequence[str] | None
) -> tuple[pl.DataFrame, Notes]:
    """Levels of each attribute as strings, a row for each of `ids` in that order, and notes.

    A null is the level "(missing)"; a user whom the table does not list has "(not in users table)"
    everywhere.
    """
    if users is None:
        if by:
            raise InputError(f"by: {_listed(by)} asked for without a users table; give users=")
        return pl.DataFrame(), []
    users = user_column(users, "users")
    twice = users.filter(users["user_id"].is_duplicated())["user_id"]
    if len(twice):
        raise InputError(f"users: user_id {twice[0]!r} stands on {(twice == twice[0]).sum()} rows; keep one row a user")
    columns, notes = _usable(users, by)
    listed = users.select("user_id", *[_levels(users[c]) for c in columns])
    rows = pl.DataFrame({"user_id": list(ids)}, schema={"user_id": pl.String})
    joined = rows.join(listed, on="user_id", how="left", maintain_order="left").drop("user_id")
    absent = int((~rows["user_id"].is_in(listed["user_id"].implode())).sum())
    if absent == len(ids):
        raise InputError("users: none of the users in predictions is listed; check that user_id means the same in both")
    if absent:
        notes.append(f"{absent} of {len(ids)} users are not in the users table; they are the level {NOT_LISTED!r}.")
    return joined.select(pl.all().fill_null(NOT_LISTED)), notes


def _levels(column: pl.Series) -> pl.Series:
    return column.cast(pl.String).fill_null(MISSING).replace("", MISSING)


def _usable(users: pl.DataFrame, by: Sequence[str] | None) -> tuple[list[str], Notes]:
    """Columns to slice by: those asked for, or all with few enough levels, and which were passed over."""
    if by is not None:
        names = [by] if isinstance(by, str) else list(dict.fromkeys(by))
        for name in names:
            if name not in users.columns or name == "user_id":
                rest = [c for c in users.columns if c != "user_id"]
                raise InputError(f"by: {name!r} is no attribute of the users table; it has {_listed(rest)}")
            if users[name].dtype.is_float() or users[name].dtype.is_nested():
                raise InputError(f"users: {name} is {users[name].dtype}; cut it into named bands to slice by it")
        return names, []
    kept, passed = [], []
    for name in (c for c in users.columns if c != "user_id"):
        dtype, levels = users[name].dtype, users[name].n_unique()
        most = MAX_INTEGERS if dtype.is_integer() else MAX_LEVELS
        sliceable = dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Boolean)
        if sliceable and 2 <= levels <= most:
            kept.append(name)
        else:
            passed.append(f"{name} ({levels} levels)" if sliceable else f"{name} ({dtype})")
    return kept, [f"Columns not sliced by: {', '.join(passed)}; name them in by= to do so."] if passed else []


def _rows(bad: NDArray[np.intp]) -> str:
    shown = ", ".join(str(row) for row in bad[:5])
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    return f"row{'s' if len(bad) > 1 else ''} {shown}{more} (first row is 0)"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(str(n)) for n in names) or "none"
