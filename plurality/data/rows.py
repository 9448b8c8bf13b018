"""Whether the rows of comparisons make sense: what a reader checks in a table, checked again where arrays come back."""

from typing import TYPE_CHECKING

import numpy as np

from plurality.errors import InputError

if TYPE_CHECKING:
    from plurality.arrays import Array
    from plurality.data.comparisons import Comparisons


def check_rows(data: "Comparisons", remedy: str) -> None:
    """Raise InputError naming the first row (from 0) that is out of range, compares an item with itself, or repeats.

    data      comparisons whose arrays have matching lengths
    remedy    what to do about it, for the message

    Labels lie in [0, 1], weights are positive and finite, user ids and the keys of items are there once each.
    """
    ids = data.users["user_id"]
    if ids.null_count() or ids.n_unique() < len(ids):
        raise InputError(f"{data.source}: a user_id is missing or stands twice in the users table; {remedy}")
    if len(np.unique(data.item_keys)) < len(data.item_keys):
        raise InputError(f"{data.source}: two items have one key; {remedy}")
    limits = {"first": len(data.items), "second": len(data.items), "user": data.users.height}
    columns: dict[str, Array] = {"first": data.first, "second": data.second, "user": data.user}
    if data.objective is not None:
        columns["objective"], limits["objective"] = data.objective, len(data.objectives)
    for name, limit in limits.items():
        _refuse(data, (columns[name] < 0) | (columns[name] >= limit), f"{name} is out of range", remedy)
    prompts = (data.prompt < 0) | (data.prompt >= len(data.prompt_keys))
    _refuse(data, prompts, "the prompt of an item is out of range", remedy, "item")
    _refuse(data, ~np.isfinite(data.base_gap), "a base score is not a number", remedy)
    if data.grade is not None:
        _refuse(data, (data.grade < 0) | np.isinf(data.grade), "the grade is negative or infinite", remedy)
    _refuse(data, data.first == data.second, "first and second are the same item", remedy)
    _refuse(data, ~((data.label >= 0) & (data.label <= 1)), "the label is not in [0, 1]", remedy)
    _refuse(data, ~((data.weight > 0) & (data.weight < np.inf)), "the weight is not positive and finite", remedy)


def _refuse(data: "Comparisons", bad: "Array", cause: str, remedy: str, what: str = "comparison") -> None:
    if bad.any():
        raise InputError(f"{data.source}: {what} {int(np.argmax(bad))} (from 0): {cause}; {remedy}")
