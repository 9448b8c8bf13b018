"""Reference completions that utilities are normalised against: a pool, or a column with each row's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from plurality.arrays import Array
from plurality.errors import InputError
from plurality.io.visible import THOUGHT_TAGS, Tags
from plurality.rl.messages import Pairs
from plurality.rl.scales import Normalise


@dataclass(frozen=True, eq=False)
class Reference:
    """What was given as reference; at most one of the three is there.

    column   name of the column with a reference completion to each row's prompt
    texts    a pool, still to be embedded
    items, prompts   a pool of embeddings (R, d), and of their prompts (R, d) for heads that look at them
    """

    column: str | None = None
    texts: Pairs | None = None
    items: Array | None = None
    prompts: Array | None = None

    @staticmethod
    def of(given: Any, how: Normalise, tags: Tags = THOUGHT_TAGS) -> "Reference":
        """A column's name, (prompts, completions), embeddings, or (embeddings, prompts' embeddings).

        Thoughts between `tags` are left out of completions.

        Raises InputError where the normalisation needs a reference and has none, or has one and needs none.
        """
        if how not in get_args(Normalise):
            raise InputError(f"normalise={how!r} is not a valid option; give one of {', '.join(get_args(Normalise))}")
        if given is None:
            if how != "raw":
                raise InputError(f"normalise={how!r} is relative to reference completions; give some as reference=")
            return Reference()
        if how == "raw":
            raise InputError('a reference is for normalise="win" or "z", raw utilities need none; leave one out')
        reference = Reference._read(given, tags)
        if how == "z" and reference.column is not None:
            raise InputError('normalise="z" needs a pool of reference completions, not one a row; give texts')
        pool = reference.texts.row if reference.texts is not None else reference.items
        if pool is not None and len(pool) < (2 if how == "z" else 1):
            raise InputError(f"normalise={how!r}: there are too few reference completions; give more")
        return reference

    @staticmethod
    def _read(given: Any, tags: Tags) -> "Reference":
        if isinstance(given, str):
            return Reference(column=given)
        if isinstance(given, np.ndarray):
            return Reference(items=given)
        if not isinstance(given, tuple) or len(given) != 2:
            raise InputError(
                f"reference of type {type(given).__name__} cannot be read; give (prompts, completions), embeddings, "
                "or the name of a column"
            )
        first, second = given
        if isinstance(first, np.ndarray) and first.dtype.kind == "f":
            return Reference(items=first, prompts=np.asarray(second))
        pairs = Pairs.of(first, second, tags)
        if pairs.odd:
            raise InputError(f"reference: {next(iter(pairs.odd.values()))}")
        if (pairs.row < 0).any():
            raise InputError(f"reference completion {int(np.argmin(pairs.row))} (from 0) is empty; leave it out")
        return Reference(texts=pairs)

    def opponents(self, columns: dict[str, Any], count: int) -> Sequence[Any]:
        """The reference completion of each row, where there is a column of them, else none."""
        return [] if self.column is None else column(columns, self.column, count)


def column(columns: dict[str, Any], name: str, count: int) -> Sequence[Any]:
    """A column that the trainer hands over, of `count` rows; one string stands for every row.

    Raises InputError when it is missing.
    """
    values = columns.get(name)
    if values is None:
        there = ", ".join(k for k, v in columns.items() if isinstance(v, list)) or "none"
        raise InputError(
            f"column {name} does not reach the reward (there are: {there}); add it to the training set, and with TRL "
            "set remove_unused_columns=False"
        )
    if isinstance(values, str):
        return [values] * count
    if len(values) != count:
        raise InputError(f"column {name} has {len(values)} values for {count} completions; give one a completion")
    return list(values)
