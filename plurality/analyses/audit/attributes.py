"""The attributes of users as levels: strings, with what is missing as a level of its own."""

from collections.abc import Mapping, Sequence

import polars as pl

from plurality.analyses.audit.slices import CROSS, OVERALL
from plurality.analyses.inputs import Notes, user_column
from plurality.analyses.inputs import listed as quoted
from plurality.analyses.levels import MISSING, NOT_LISTED, level_name, levels_of, with_levels
from plurality.errors import InputError

Levels = Mapping[str, Sequence[object] | Mapping[object, str]]
MAX_LEVELS = 50  # of a text column that is sliced by default
MAX_INTEGERS = 20  # of an integer column that is sliced by default


def attributes_of(
    users: pl.DataFrame | None, ids: tuple[str, ...], by: Sequence[str] | None
) -> tuple[pl.DataFrame, Notes]:
    """Levels of each attribute, text or Enums, a row for each of `ids` in that order, and notes.

    A null is the level "(missing)"; a user whom the table does not list has "(not in users table)"
    everywhere.
    """
    if users is None:
        if by:
            raise InputError(f"by: {quoted(by)} asked for without a users table; give users=")
        return pl.DataFrame(), []
    users = user_column(users, "users")
    twice = users.filter(users["user_id"].is_duplicated())["user_id"]
    if len(twice):
        raise InputError(f"users: user_id {twice[0]!r} stands on {(twice == twice[0]).sum()} rows; keep one row a user")
    users = _whole_numbers(users)
    columns, notes = _usable(users, by)
    for name in (c for c in columns if c == OVERALL[0] or CROSS in c):
        kept = "everybody together" if name == OVERALL[0] else "combinations of attributes"
        raise InputError(f"users: a column is called {name!r}, as {kept}; rename it, or leave it out of by=")
    listed = users.select("user_id", *[_levels(users[c]) for c in columns])
    rows = pl.DataFrame({"user_id": list(ids)}, schema={"user_id": pl.String})
    joined = rows.join(listed, on="user_id", how="left", maintain_order="left").drop("user_id")
    absent = int((~rows["user_id"].is_in(listed["user_id"].implode())).sum())
    if absent == len(ids):
        raise InputError("users: none of the users in predictions is listed; check that user_id means the same in both")
    if absent:
        notes.append(f"Users who are not in the users table are the level {NOT_LISTED!r}.")
    return joined.select(pl.all().fill_null(NOT_LISTED)), notes


def relabelled(attributes: pl.DataFrame, levels: Levels) -> pl.DataFrame:
    """The attributes with levels in the order given, under the labels given; levels that are not named stand after.

    A label that several levels have makes one group of them. Raises InputError for an attribute or a level that is not
    there.

    attributes    levels of each user
    levels        {attribute: levels in order} or {attribute: {level: label}}
    """
    for name, wanted in levels.items():
        if name not in attributes.columns:
            raise InputError(f"levels: {name!r} is not sliced by; there are {quoted(attributes.columns)}")
        pairs = wanted.items() if isinstance(wanted, Mapping) else ((level, level) for level in wanted)
        label = {level_name(level): str(new) for level, new in pairs}
        found, _ = levels_of(attributes[name])
        missing = [level for level in label if level not in found]
        if len(missing) == len(label):
            raise InputError(f"levels: {name}: {quoted(missing)} are not there; it has {quoted(found)}")
        order = list(dict.fromkeys([*label.values(), *(level for level in found if level not in label)]))
        named = attributes[name].cast(pl.String).replace(label).cast(pl.Enum(order))
        attributes = attributes.with_columns(named.alias(name))
    return attributes


def _levels(column: pl.Series) -> pl.Series:
    column = with_levels(column, (MISSING, NOT_LISTED))
    text = column.cast(pl.String).fill_null(MISSING).replace("", MISSING)
    return text.cast(column.dtype) if isinstance(column.dtype, pl.Enum) else text


def _usable(users: pl.DataFrame, by: Sequence[str] | None) -> tuple[list[str], Notes]:
    """Columns to slice by: those asked for, or all with few enough levels, and which were passed over."""
    if by is not None:
        names = [by] if isinstance(by, str) else list(dict.fromkeys(by))
        for name in names:
            if name not in users.columns or name == "user_id":
                rest = [c for c in users.columns if c != "user_id"]
                raise InputError(f"by: {name!r} is no attribute of the users table; it has {quoted(rest)}")
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


def _whole_numbers(users: pl.DataFrame) -> pl.DataFrame:
    """Whole numbers that were stored as floats, as pandas does beside a missing value, are integers again."""
    whole = [c for c in users.columns if users[c].dtype.is_float() and _is_whole(users[c])]
    return users.with_columns(pl.col(whole).fill_nan(None).cast(pl.Int64))


def _is_whole(column: pl.Series) -> bool:
    known = column.fill_nan(None).drop_nulls()
    return bool((known.is_finite() & (known == known.round())).all())
