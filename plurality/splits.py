"""Splits by key, so that they do not depend on row order, and never by row unless one insists.

Where items recur, comparisons of seen items flatter every personalised model: item identity and
transitivity stand in for taste. A test comparison here has items (or a prompt) the user was not trained on.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from plurality.comparisons import Comparisons
from plurality.errors import InputError, InputWarning
from plurality.keys import Keys, combine, text_keys, uniform

Mask = NDArray[np.bool_]
UNITS = ("prompt", "group", "item", "user", "row")


@dataclass(frozen=True, eq=False)
class Cells:
    """A training part, the unseen users' supports, and tests keyed by cell name.

    Cells are {seen, unseen} user × {seen, unseen} unit. A seen unit is one that training users met;
    no comparison is in two parts. `support` holds what unseen users are adapted on, seen units only.
    """

    train: Comparisons
    support: Comparisons
    tests: dict[str, Comparisons]
    unit: str


def split(
    data: Comparisons,
    *,
    by: str,
    test: float = 0.2,
    seed: int = 0,
    fold: int = 0,
    anybody: bool = False,
) -> tuple[Comparisons, Comparisons]:
    """Train and test part of `data`, the units of `by` on one side only.

    by = "prompt" or "group": whole prompts, or whole groups of siblings. by = "user": whole users.
    by = "item": a share `test` of each user's items is held out (of everybody's with `anybody`); a test
    comparison has both items held out, a training one neither, the mixed ones are dropped. With `anybody`,
    data that fall apart into small sets of connected items are split by those sets, dropping nothing.
    by = "row" leaks wherever siblings or items recur, and warns. Folds 0 … 1/test − 1 of one seed are disjoint.
    Raises InputError for an unknown unit, a share outside (0, 1) or an empty part.
    """
    train, held = _masks(data, by, test, seed, fold, anybody)
    return _part(data, train, "training", by), _part(data, held, "test", by)


def cells(
    data: Comparisons,
    *,
    by: str,
    test: float = 0.2,
    unseen_users: float = 0.2,
    support: int = 20,
    seed: int = 0,
    fold: int = 0,
) -> Cells:
    """Four test cells, {seen, unseen user} × {seen, unseen unit}, with a training part and supports.

    A share `test` of units is held out as in `split`, and a share `unseen_users` of users. A seen user's cell of
    seen units is a tenth of that user's remaining comparisons. An unseen user keeps up to `support` comparisons
    of seen units for adaptation. Raises InputError as `split` does.
    """
    if by == "user":
        raise InputError("cells are user × unit already: split by prompt, group or item")
    seen_unit, unseen_unit = _masks(data, by, test, seed, fold, False)
    keys = data.user_keys()
    new_user = _unseen_users(keys, data.present, unseen_users, seed, fold)[data.user]
    row = uniform(_row_keys(data), seed + 1)
    held = ~new_user & seen_unit & (row < 0.1)
    in_support = np.zeros(len(data), dtype=bool)
    pool = np.flatnonzero(new_user & seen_unit)
    in_support[pool[_rank_within(data.user[pool], row[pool]) < support]] = True
    unit = "row" if by == "row" else by
    tests = {
        f"seen user, unseen {unit}": data.take(~new_user & unseen_unit),
        f"unseen user, unseen {unit}": data.take(new_user & unseen_unit),
        f"seen user, seen {unit}": data.take(held),
        f"unseen user, seen {unit}": data.take(new_user & seen_unit & ~in_support),
    }
    train = _part(data, ~new_user & seen_unit & ~held, "training", by)
    if not any(len(t) for t in tests.values()):
        raise InputError(f"{data.source}: the split by {by} leaves no test comparison; give a larger test share")
    return Cells(train, data.take(in_support), tests, unit)


def folds_apart(data: Comparisons, share: float, seed: int, *, anybody: bool) -> tuple[Mask, Mask]:
    """Rows to train on and rows to choose settings on, by item: the held-out items are new to the user who compares
    them, with `anybody` to everybody. Where items hardly recur, whole sets of connected items are held out.
    """
    held = _by_component(data, share, seed, 0)
    return (~held, held) if held is not None else _masks(data, "item", share, seed, 0, anybody)


def items_recur(data: Comparisons) -> bool:
    """Whether the items of the typical comparison are also in other groups, so that prompts do not separate them."""
    pairs = np.concatenate([data.first, data.second])
    groups = np.concatenate([data.group, data.group])
    unique = np.unique(np.stack([pairs.astype(np.uint64), groups]), axis=1)[0]
    return bool(np.mean(np.bincount(unique.astype(np.int64))[pairs] > 1) > 0.5)


def _masks(data: Comparisons, by: str, test: float, seed: int, fold: int, anybody: bool) -> tuple[Mask, Mask]:
    if by not in UNITS:
        raise InputError(f"split by {by!r} is unknown; choose one of {', '.join(UNITS)}")
    if not 0 < test < 1:
        raise InputError(f"test share {test} must lie between 0 and 1")
    if not 0 <= fold <= round(1 / test) - 1:
        raise InputError(f"fold {fold} does not exist: a test share of {test} has folds 0 to {round(1 / test) - 1}")
    if by in ("prompt", "group", "row") and items_recur(data):
        warnings.warn(
            f"{data.source}: items recur in many comparisons, so a split by {by} lets item identity leak "
            "into the test; by='item' does not",
            InputWarning,
            stacklevel=4,
        )
    if by == "item" and not anybody:
        return _by_item(data, data.user_keys()[data.user], test, seed, fold)
    if by == "item":
        held = _by_component(data, test, seed, fold)
        if held is not None:
            return ~held, held
        return _by_item(data, None, test, seed, fold)
    keys = {
        "prompt": lambda: data.prompt_keys[data.prompt[data.first]],
        "group": lambda: data.group,
        "user": lambda: data.user_keys()[data.user],
        "row": lambda: _row_keys(data),
    }[by]()
    held = _held_share(keys, test, seed, fold)
    return ~held, held


def _held_share(keys: Keys, test: float, seed: int, fold: int) -> Mask:
    """Rows whose key falls in the fold, keys dealt out evenly: the share of units is exact."""
    unit, inverse = np.unique(keys, return_inverse=True)
    rank = np.empty(len(unit))
    rank[np.argsort(uniform(unit, seed))] = np.arange(len(unit)) + 0.5
    place = rank / len(unit)
    return ((place >= fold * test) & (place < (fold + 1) * test))[inverse]


def _by_item(data: Comparisons, owner: Keys | None, test: float, seed: int, fold: int) -> tuple[Mask, Mask]:
    """(neither item held out, both held out); items are held out per owner where one is given."""

    def held(rows: NDArray[np.int64]) -> Mask:
        keys = data.item_keys[rows]
        u = uniform(keys if owner is None else combine(owner, keys), seed)
        return (u >= fold * test) & (u < (fold + 1) * test)

    a, b = held(data.first), held(data.second)
    return ~a & ~b, a & b


def _by_component(data: Comparisons, test: float, seed: int, fold: int) -> Mask | None:
    """Hold out whole sets of connected items, or None where one set holds more than a tenth of the rows."""
    m = len(data.items)
    graph = coo_matrix((np.ones(len(data), dtype=np.int8), (data.first, data.second)), shape=(m, m))
    component = connected_components(graph, directed=False)[1][data.first]
    if len(data) == 0 or np.bincount(component).max() > 0.1 * len(data):
        return None
    keys = np.full(component.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(keys, component, data.item_keys[data.first])  # a name that row order does not change
    return _held_share(keys[component], test, seed, fold)


def _row_keys(data: Comparisons) -> Keys:
    pair = combine(data.item_keys[data.first], data.item_keys[data.second])
    return combine(combine(data.user_keys()[data.user], pair), data.group)


def _unseen_users(keys: Keys, present: NDArray[np.int64], share: float, seed: int, fold: int) -> Mask:
    mask = np.zeros(len(keys), dtype=bool)
    if share > 0:
        turn = fold % max(1, round(1 / share))
        mask[present] = _held_share(combine(keys, text_keys(["unseen"]))[present], share, seed, turn)
    return mask


def _rank_within(owner: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rank of each value among those of the same owner, from 0."""
    order = np.lexsort((value, owner))
    start = np.r_[True, owner[order][1:] != owner[order][:-1]] if len(order) else np.zeros(0, bool)
    position = np.arange(len(order))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = position - np.maximum.accumulate(np.where(start, position, 0))
    return rank


def _part(data: Comparisons, mask: Mask, name: str, by: str) -> Comparisons:
    if not mask.any():
        raise InputError(
            f"{data.source}: the split by {by} leaves the {name} part empty; "
            "change the test share or split by another unit"
        )
    return data.take(mask)
