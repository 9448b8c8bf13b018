"""Users who are described in words: a column of text in the users table, embedded for families that go by it."""

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from plurality.data.readers import columns
from plurality.data.readers.tables import open_frame
from plurality.errors import InputError

if TYPE_CHECKING:
    from plurality.encoders import Encoder

__all__ = ["embed_users"]


def embed_users(users: Any, column: str, encoder: "Encoder", *, progress: bool = False) -> pl.DataFrame:
    """The users table with a column of text as vectors, which a hierarchical model takes for what users are like.

    The prior of a user's code is then z ~ N(μ + B e, Σ), e the vector along the main directions of all users', each
    standardised: a persona that nobody has heard of has a reward before its first answer. The words themselves are
    replaced, and no model keeps them. A user without text, or white space alone, has null, and counts as the average.

    users       table with `user_id` and the column: a frame, or a path
    column      its name: a self-description, a persona, a principle
    encoder     what embeds it, (d,) a text; the one of the comparisons, `data.encoder`, serves
    progress    show a progress bar; off by default

    Raises InputError where the column is missing or not of text, and where nobody has any.
    """
    frame, place = open_frame(users, "users")
    if column not in frame.columns or column == "user_id":
        raise InputError(f"{place}: there is no column {column!r}; it has {', '.join(frame.columns)}")
    text = columns.texts(frame[column].fill_null(""), place, blank_too=True)
    there = np.flatnonzero(~columns.blank(text).to_numpy())
    if not len(there):
        raise InputError(f"{place}: nobody has a text in {column!r}; name another column")
    words = text.gather(there).to_list()
    found = encoder.encode([""] * len(words), words, progress=progress)
    vectors: list[list[float] | None] = [None] * frame.height
    for row, vector in zip(there.tolist(), found.tolist(), strict=True):
        vectors[row] = vector
    return frame.with_columns(pl.Series(column, vectors, dtype=pl.List(pl.Float32)))
