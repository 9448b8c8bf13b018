"""Lists and conversations inside published tables, taken apart, with the row of the file kept for messages."""

import polars as pl

from plurality.datasets._tools.schema import TEXT
from plurality.errors import InputError

MESSAGES = [{"role": TEXT, "content": TEXT}]
CONTENT, ROLE = pl.element().struct.field("content"), pl.element().struct.field("role")


def each(frame: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """A row for every object in a list column, its fields as columns; `row` is the row it stood in, from 0.

    Empty lists and nulls give none.
    """
    if "row" not in frame.collect_schema():
        frame = frame.with_row_index("row")
    return frame.explode(column, empty_as_null=False, keep_nulls=False).unnest(column)


def raise_for_value(exploded: pl.LazyFrame, bad: pl.Expr, value: str, place: str, belongs: str) -> None:
    """Raise InputError for the first row of the file for which `bad` holds in `each`; a null does not."""
    found = exploded.filter(bad.fill_null(False)).select("row", value).bottom_k(1, by="row").collect()
    if found.height:
        row, what = found.row(0)
        raise InputError(
            f"{place}: row {row + 1}: {value} is {what!r} where {belongs} belongs; correct the row or leave it out"
        )


def plain(conversation: pl.Expr) -> pl.Expr:
    """Messages with role and content alone, a model's role being called assistant."""
    role = ROLE.replace({"model": "assistant"}).alias("role")
    return conversation.list.eval(pl.struct(role, CONTENT.alias("content")))


def silent(conversation: pl.Expr) -> pl.Expr:
    """Whether a conversation is missing, has no message, or has one without text."""
    none = conversation.list.eval(~CONTENT.str.contains(r"\S").fill_null(False)).list.any()
    return none.fill_null(True) | (conversation.list.len() == 0)
