"""Comparisons with differences of features, checked once and turned into arrays: of tables, and of bare arrays."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from plurality.analyses.calibration.binning import checked
from plurality.analyses.features import numeric, spread
from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.inputs import Table, listed, read_table, user_column
from plurality.analyses.levels import labels as as_labels
from plurality.arrays import floats
from plurality.errors import InputError

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class FactorRows:
    """Checked comparisons (n,) of positive weight, of the users `ids`; x (n, F) is in standard deviations."""

    ids: tuple[str, ...]
    names: list[str]
    x: Floats
    y: Floats
    w: Floats
    user: NDArray[np.intp]


def read_rows(
    frame: pl.DataFrame, differences: Table | NDArray[np.floating], label: str
) -> tuple[FactorRows, list[str]]:
    """Checked rows of one model, and what a reader should know of them."""
    frame = user_column(frame, "predictions")
    if label not in frame.columns:
        raise InputError(f"predictions: no column {label}, found {listed(frame.columns)}; add it, or name it in label=")
    if "model" in frame.columns and frame["model"].n_unique() > 1:
        raise InputError("predictions: several models are there; keep the rows of one, and of differences likewise")
    if isinstance(differences, np.ndarray):
        if differences.ndim != 2:
            raise InputError(f"differences: shape {differences.shape}; give a row a comparison and a column a feature")
        differences = pl.DataFrame(differences, schema=[f"feature {k}" for k in range(differences.shape[1])])
    table = read_table(differences, "differences")
    if table.height != frame.height or not table.width:
        raise InputError(
            f"differences: {table.height} rows and {table.width} columns for {frame.height} comparisons; "
            "give a row for each, in the same order"
        )
    x = numeric(table, "differences")
    y = _within(frame, label, 1.0)
    w = _within(frame, "weight", np.inf) if "weight" in frame.columns else np.ones(len(y))
    keep = w > 0
    if not keep.any():
        raise InputError("predictions: no row with a positive weight; there is nothing to explain")
    notes = [] if keep.all() else [f"{int((~keep).sum())} rows of weight 0 were left out."]
    x, y, w = x[keep], y[keep], w[keep]
    ids, user = np.unique(frame["user_id"].to_numpy()[keep], return_inverse=True)
    return FactorRows(tuple(ids.tolist()), table.columns, x / spread(x, w), y, w, user), notes


def _within(frame: pl.DataFrame, column: str, high: float) -> Floats:
    values = numeric(frame.select(column), "predictions")[:, 0]
    bad = np.flatnonzero((values < 0) | (values > high))
    if len(bad):
        bounds = f"in [0, {high:g}]" if np.isfinite(high) else ">= 0"
        raise InputError(
            f"predictions: {column} is {values[bad[0]]} in row {bad[0]} (first row is 0); it must lie {bounds}"
        )
    return values


@dataclass(frozen=True)
class Rows:
    """Comparisons (n,) of positive weight that belong to a group; `user` and `group` are codes from 0."""

    x: Floats
    y: Floats
    w: Floats
    user: Ints
    group: Ints
    n_groups: int


def grouped_rows(
    x: ArrayLike,
    y: ArrayLike,
    user: ArrayLike,
    group: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    n_groups: int | None = None,
) -> Rows:
    """Checked rows of x (n, F), y (n,) in [0, 1], users (n,) of any labels, group codes (n,), negative for no group.

    InputError names the first row that is wrong, and why.
    """
    y, w = checked(np.full(np.shape(y), 0.5), y, weights)[1:]
    table = floats(x)
    people = codes_of(user, "user")[1]
    codes = np.zeros(len(y), np.intp) if group is None else np.asarray(group)
    if table.ndim != 2 or not len(table) == len(y) == len(people) == len(codes):
        shapes = f"x: shape {table.shape} for {len(y)} labels, {len(people)} users and {len(codes)} groups"
        raise InputError(f"{shapes}; give a row a comparison and a column a feature")
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(bad):
        raise InputError(f"x: row {bad[0]} is missing, NaN or infinite; drop the comparison or fill it in")
    if len(codes) and codes.dtype.kind not in "iu":
        raise InputError(f"group: {codes.dtype}; give whole numbers from 0, negative for rows of no group")
    most = int(codes.max(initial=-1)) + 1
    if n_groups is not None and n_groups < most:
        raise InputError(f"group: code {most - 1} with n_groups={n_groups}; codes are below it")
    keep = (w > 0) & (codes >= 0)
    people = np.unique(people[keep], return_inverse=True)[1]
    kept = codes[keep].astype(np.intp)
    return Rows(table[keep], y[keep], w[keep], people, kept, most if n_groups is None else n_groups)


def codes_of(labels: ArrayLike, name: str) -> tuple[NDArray[np.generic], Ints]:
    """Different labels (K,), ascending, and which of them each row has (n,)."""
    values = as_labels(labels, name)
    kind = values.dtype.kind
    if kind == "O":
        missing = np.asarray(values == np.array(None), dtype=bool)
    else:  # a NaN among strings has become one
        missing = np.isnan(values) if kind == "f" else np.isin(values, ["nan", "NaN"] if kind == "U" else [])
    absent = np.flatnonzero(missing)
    if values.ndim != 1 or len(absent):
        where = f"row {absent[0]} is missing" if len(absent) else f"shape {values.shape}"
        raise InputError(f"{name}: {where} (first row is 0); give one label for each, and leave out what has none")
    try:
        found, codes = np.unique(values, return_inverse=True)
    except TypeError as error:
        raise InputError(f"{name}: labels of different types; give all as strings or all as numbers") from error
    return found, codes
