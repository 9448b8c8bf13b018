"""When rows are from, as something that sorts: numbers, dates, or text."""

import datetime as dt

import polars as pl

from plurality.data.readers.columns import TEXT, as_numbers

START = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NAMES = (
    "jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?|"
    "dec(ember)?|mon(day)?|tue(sday)?|wed(nesday)?|thu(rsday)?|fri(day)?|sat(urday)?|sun(day)?"
)
OTHER_ORDER = rf"(?i)^\s*\d{{1,2}}[./-]\d{{1,2}}[./-]\d{{2,4}}|\b({NAMES})\b"
"""Dates as text that does not sort: the day or month first, or by name."""


def moments(time: pl.Series) -> pl.Series | None:
    """What rows (N,) are ordered by, null where nothing is known; None of text that does not sort as time does.

    Text is numbers, ISO 8601 (with zones, or all without) or, if it is no date, sorted as it stands.

    time    column of a table
    """
    number = as_numbers(time)
    if number is not None and number.null_count() == time.null_count():
        return number.fill_nan(None)  # "10" comes after "9"
    if not isinstance(time.dtype, TEXT) or isinstance(time.dtype, pl.Enum):  # an Enum has an order of its own
        return time
    text = time.cast(pl.String)
    values = text.drop_nulls().unique()
    read = [_iso(value) for value in values]
    known = [moment for moment in read if moment is not None]
    if known and len(known) == len(read):
        zoned = {moment.tzinfo is not None for moment in known}
        since = [(moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)) - START for moment in known]
        at = [gap // dt.timedelta(microseconds=1) for gap in since]
        return (
            None if len(zoned) > 1 else text.replace_strict(values, pl.Series(at), default=None, return_dtype=pl.Int64)
        )
    other = values.str.contains(OTHER_ORDER).any() or any(moment.tzinfo for moment in known)
    return None if other else text


def _iso(value: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(value.strip())
    except ValueError:
        return None
