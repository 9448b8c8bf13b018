"""The two sides of every comparison as item rows, from texts or from row numbers of ready-made embeddings."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.arrays import Float, Int
from plurality.data.items import Items, by_key, unique_items
from plurality.data.keys import mix, text_keys
from plurality.data.readers import chats, columns
from plurality.data.readers.columns import raise_where
from plurality.errors import InputError

Sides = tuple[str, str]
CHOSEN: Sides = ("chosen", "rejected")
FIRST: Sides = ("first", "second")


def side_names(frame: pl.DataFrame, place: str) -> Sides:
    """Which two columns hold the sides: chosen, rejected or first, second."""
    there = [sides for sides in (CHOSEN, FIRST) if any(name in frame.columns for name in sides)]
    if len(there) == 2:
        raise InputError(f"{place} has columns of both kinds, chosen/rejected and first/second; drop those of one kind")
    if not there:
        raise InputError(
            f"{place}: columns chosen and rejected (or first, second and label; or of choices, rankings or ratings) "
            f"are missing, the columns are {', '.join(frame.columns)}; add or rename them"
        )
    return there[0]


def side_scores(frame: pl.DataFrame, place: str) -> Float | None:
    """Base scores of all first sides, then of all second ones, (2N,); None if the table has none."""
    sides = side_names(frame, place)
    names = [f"score_{side}" for side in sides]
    for other in {*CHOSEN, *FIRST} - {*sides}:
        if columns.given(frame, f"score_{other}"):
            remedy = f"rename it to {' or '.join(names)}"
            remedy = f"rename it to {' or '.join(names)}"
            raise InputError(f"{place}: column score_{other} goes with a column {other}; {remedy}")
    if not any(columns.given(frame, name) for name in names):
        return None
    return np.concatenate([columns.numbers(frame, name, place).to_numpy() for name in names])


def text_pairs(
    frame: pl.DataFrame, place: str, *, blank_too: bool = False, drop: bool = False
) -> tuple[Items, Int, Int, NDArray[np.bool_]]:
    """Unique items of prompts and completions, the item rows (n,) of both sides, and which of N rows those are of.

    A text of white space only is an error unless it is taken too, or else its row is left out.
    """
    blank_too |= drop
    sides = side_names(frame, place)
    left, right = (columns.column(frame, name, place) for name in sides)
    if "prompt" in frame.columns:
        prompt = columns.column(frame, "prompt", place)
        chat = chats.is_chat(prompt)
        prompt = chats.prompts(prompt, place, blank_too=blank_too)
        left, right = (chats.completions(side, place, blank_too=blank_too) for side in (left, right))
    elif chats.is_chat(left) and chats.is_chat(right):
        chat = True
        prompt, left, right = chats.whole_conversations(left, right, place, blank_too=blank_too)
    else:
        raise InputError(
            f"{place}: column prompt is missing, the columns are {', '.join(frame.columns)}; add it (only where "
            f"{sides[0]} and {sides[1]} are whole conversations, as message lists, is it found in them)"
        )
    kept = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
    if drop:
        kept = ~(chats.silent(prompt, chat) | columns.blank(left) | columns.blank(right))
        if not kept.any():
            raise InputError(f"{place}: each row has an empty text; give comparisons of texts")
    _raise_for_same((left == right) & kept, sides, place)
    items, (first, second) = unique_items(prompt.filter(kept), [left.filter(kept), right.filter(kept)], chat)
    return items, first, second, kept.to_numpy()


def thing_texts(
    frame: pl.DataFrame, place: str, what: pl.Series, row: Int, *, drop: bool
) -> tuple[Items, Int, NDArray[np.bool_]]:
    """Unique items of what answers are about, the item row of each thing that is kept, and which of the n are.

    frame    table with a column `prompt`
    place    its name
    what     (n,) completions
    row      (n,) row of the table of each
    drop     whether those without text are left out
    """
    prompt = columns.column(frame, "prompt", place)
    chat = chats.is_chat(prompt)
    prompt = chats.prompts(prompt, place, blank_too=drop)[row]
    kept = pl.repeat(True, len(row), dtype=pl.Boolean, eager=True)
    if drop:
        kept = ~(chats.silent(prompt, chat) | columns.blank(what))
        if not kept.any():
            raise InputError(f"{place}: each row has an empty text; give answers about texts")
    items, (shown,) = unique_items(prompt.filter(kept), [what.filter(kept)], chat)
    return items, shown, kept.to_numpy()


def row_pairs(frame: pl.DataFrame, place: str, n_items: int, n_prompts: int | None) -> tuple[Items, Int, Int]:
    """Items that are rows of ready-made embeddings, used or not, and the item rows (N,) of both sides.

    `prompt` is a row number below `n_prompts` where that is given, else any id, and may be missing.
    """
    sides = side_names(frame, place)
    first, second = (columns.row_numbers(frame, name, place, n_items, "embeddings") for name in sides)
    _raise_for_same(pl.Series(first == second), sides, place)
    rows = np.arange(frame.height)
    return ready_items(frame, place, n_items, n_prompts, [(first, rows), (second, rows)]), first, second


def ready_items(
    frame: pl.DataFrame, place: str, n_items: int, n_prompts: int | None, shown: Sequence[tuple[Int, Int]]
) -> Items:
    """Items that are rows of ready-made embeddings, each under the prompt of the rows that show it.

    frame        table whose column `prompt`, if there, is a row number below `n_prompts`, or any id where that is None
    place        its name
    n_items      items M
    n_prompts    prompts Q, or None
    shown        item rows and the rows of the table that show them, (n,) each
    """
    if n_prompts is not None:
        of_row = columns.row_numbers(frame, "prompt", place, n_prompts, "prompt_embeddings")
        prompt_keys = mix(np.arange(n_prompts))
    elif "prompt" in frame.columns:
        _, prompt_keys, of_row = by_key(columns.ids(frame, "prompt", place))
    else:
        prompt_keys, of_row = text_keys([""]), np.zeros(frame.height, dtype=np.int64)
    prompt = np.zeros(n_items, dtype=np.int64)
    for items, rows in shown:
        prompt[items] = of_row[rows]
    for items, rows in shown:
        raise_where(
            pl.Series(prompt[items] != of_row[rows]),
            columns.Part(place, rows),
            "an item of this row is also under another prompt",
            "give each pair of prompt and completion an embedding row of its own, or leave out the column "
            "prompt and name the siblings in group_id",
        )
    return Items(None, mix(np.arange(n_items)), prompt, prompt_keys)


def _raise_for_same(same: pl.Series, sides: Sides, place: str) -> None:
    raise_where(same, place, f"{sides[0]} and {sides[1]} are the same", "drop the row")
