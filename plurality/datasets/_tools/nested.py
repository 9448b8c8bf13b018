"""Lists and conversations inside published tables, taken apart, with the row of the file kept for messages."""

from typing import Any

import polars as pl

from plurality.datasets._tools.schema import SAID, TEXT, Kind, numbered
from plurality.errors import InputError

MESSAGE = {"role": TEXT, "content": SAID}
MESSAGES = [MESSAGE]
CONTENT, ROLE = pl.element().struct.field("content"), pl.element().struct.field("role")


def each(frame: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """A row for every object in a list column, its fields as columns; `row` is the row it stood in, from 0.

    Empty lists and nulls give none.
    """
    return numbered(frame).explode(column, empty_as_null=False, keep_nulls=False).unnest(column)


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


def kind_of_reply(dtype: Any) -> Kind:
    """The kind of a column that holds replies: texts, messages, or lists of them."""
    if isinstance(dtype, pl.List):
        return MESSAGES
    return MESSAGE if isinstance(dtype, pl.Struct) else TEXT


def reply(column: str, kind: Kind) -> pl.Expr:
    """The text of replies of one of these kinds; null where a list does not hold one message."""
    given = pl.col(column)
    if isinstance(kind, list):
        return pl.when(given.list.len() == 1).then(given.list.first().struct.field("content"))
    return given.struct.field("content") if isinstance(kind, dict) else given


def silent(conversation: pl.Expr) -> pl.Expr:
    """Whether a conversation is missing, has no message, or has one without text."""
    none = conversation.list.eval(~CONTENT.str.contains(r"\S").fill_null(False)).list.any()
    return none.fill_null(True) | (conversation.list.len() == 0)
