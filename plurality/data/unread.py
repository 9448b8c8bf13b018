"""Columns of a comparisons table that nothing is made of, so that nobody believes they count."""

from collections.abc import Sequence

import polars as pl

from plurality.errors import close_to

OPTIONAL = ("label", "weight", "strength", "group_id", "objective")
SCORES = ("score_chosen", "score_rejected", "score_first", "score_second")  # of a base reward
PAIRS = ("user_id", "prompt", "chosen", "rejected", "first", "second", *OPTIONAL, *SCORES)
OTHERS = ("completions", "completion", "ranking", "rating", "score", "scores")  # of answers other than pairs
SCALES = ("scale", "rating_scale", "scale_max", "scale_min", "max_rating", "min_rating")
TIES = ("tie", "ties", "tied", "is_tie")
LIKE = 0.8  # similarity from which a name is a slip: "wieght" has .83, "length" only .71 of "strength"


def unread(frame: pl.DataFrame, pairs: bool = True) -> tuple[str, ...]:
    """Names of the columns that `read` does not look at, in the order of the table.

    frame    rows of comparisons
    pairs    whether all rows are pairs
    """
    read = PAIRS if pairs else PAIRS + OTHERS
    return tuple(name for name in frame.columns if name not in read)


def mistaken(frame: pl.DataFrame, place: str) -> list[str]:
    """A note on each unread column that was probably meant to count: a slip in an optional name, a mark of ties, or the
    scale that ratings are on.

    frame    rows of comparisons
    place    file, or word for a frame

    Only names that are missing can have been meant: beside `weight`, `weight_2` is somebody's own.
    """
    absent = [name for name in OPTIONAL if name not in frame.columns]
    notes = []
    for name in unread(frame):
        meant = close_to(name, absent, LIKE)
        if meant is not None:
            notes.append(f"{place}: column {name} is not read; rename it if you mean {meant}")
        elif "label" in absent and name.lower() in TIES:
            notes.append(f"{place}: column {name} is not read; a tie is a row with a label of 1/2")
        elif "rating" in frame.columns and "objective" in absent and name.lower() in SCALES:
            why = "a person's ratings are all compared, so where they are on several scales say which in objective"
            notes.append(f"{place}: column {name} is not read; {why}")
    return notes


def few_of(names: Sequence[str], most: int = 4) -> str:
    """The first names, and how many more there are.

    names    what to list
    most     names that are listed
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
