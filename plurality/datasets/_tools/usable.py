"""Which comparisons are left out of every set: blank texts, equal texts, and ties where they are not wanted."""

from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools.conversion import one_of

Ties = Literal["drop", "keep"]


def blank(text: str | pl.Expr) -> pl.Expr:
    """Whether a text is missing or holds nothing but white space."""
    expr = pl.col(text) if isinstance(text, str) else text
    return ~expr.str.contains(r"\S").fill_null(False)


def unusable(ties: Ties = "keep") -> dict[str, pl.Expr]:
    """The reasons for `sieve` to leave out a pair of texts `chosen`, `rejected`, and with `drop` a `label` of 1/2.

    Raises InputError for another value of `ties`.
    """
    one_of("ties", ties, get_args(Ties))
    reasons = {
        "pairs with a blank text": blank("chosen") | blank("rejected"),
        "pairs of equal texts": pl.col("chosen") == pl.col("rejected"),
    }
    return reasons | ({"ties": pl.col("label") == 0.5} if ties == "drop" else {})
