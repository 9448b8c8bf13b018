"""Splits by key, so that they do not depend on row order, and never by row unless one insists.

Where items recur, comparisons of seen items flatter every personalised model: item identity and
transitivity stand in for taste. A test comparison here has items (or a prompt) the user was not trained on.
"""

import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from plurality.data.comparisons import Comparisons
from plurality.data.keys import Keys, combine, text_keys, uniform
from plurality.data.times import moments
from plurality.deprecation import renamed
from plurality.errors import InputError, InputWarning, check_whole

Mask = NDArray[np.bool_]
NewItemsFor = Literal["anybody", "user"]
ANYBODY = ("new_items_for", {True: "anybody", False: "user"})  # how `anybody=` was said before 0.2
ENOUGH_SETS = 40
FEW_GROUPS = 5  # of which a fifth can hardly be held out
TIME = "time"
UNITS = ("prompt", "group", "item", "user", "row", "time")


@dataclass(frozen=True, eq=False)
class Cells:
    """A training part, the unseen users' supports, and tests keyed by cell name.

    Cells are {seen, unseen} user × {seen, unseen} unit. A seen unit is in the training part (of items, both).
    An unseen prompt or group is in no training comparison, an unseen item in none of that user's. No
    comparison is in two parts; some are in none. `support` holds what unseen users are adapted on, no unseen
    unit of theirs among it.
    """

    train: Comparisons
    support: Comparisons
    tests: dict[str, Comparisons]
    unit: str


@renamed(by="split", test="test_size", anybody=ANYBODY)
def split(
    data: Comparisons,
    *,
    split: str,
    test_size: float = 0.2,
    seed: int = 0,
    fold: int = 0,
    new_items_for: NewItemsFor = "user",
) -> tuple[Comparisons, Comparisons]:
    """Train and test part of `data`, the units of `split` on one side only.

    split = "prompt" or "group": whole prompts, or whole groups of siblings. split = "user": whole users.
    Where a person's answers to two prompts are compared (ratings, say), those with one of them held out are dropped.
    split = "item": a share `test_size` of items is held out, of each user's items where new_items_for = "user" (the
    default), of all users' where it is "anybody"; a test comparison has both items held out, a training one neither,
    the mixed ones are dropped. With "anybody", data that fall apart into small sets of connected items are split by
    those sets, dropping nothing.
    split = "time": the last rows by the attribute `time` (numbers, dates, ISO 8601, other text that sorts); fold k
    holds out those before the last k shares, and what comes later is dropped.
    split = "row" leaks wherever siblings or items recur, and warns. Folds 0 … 1/test_size − 1 of one seed are disjoint.
    Raises InputError for an unknown unit, a share outside (0, 1) or an empty part.
    """
    train, held = _masks(data, split, test_size, seed, fold, new_items_for)
    return _part(data, train, "training", split), _part(data, held, "test", split)


@renamed(by="split", test="test_size")
def cells(
    data: Comparisons,
    *,
    split: str,
    test_size: float = 0.2,
    unseen_users: float = 0.2,
    support: int = 20,
    seed: int = 0,
    fold: int = 0,
) -> Cells:
    """Four test cells, {seen, unseen user} × {seen, unseen unit}, with a training part and supports.

    A share `test_size` of units is held out as in `split`, and a share `unseen_users` of users. A tenth of the seen
    users' remaining comparisons are for their cell of seen units. An unseen user keeps up to `support`
    comparisons of units not held out for adaptation. Raises InputError as `split` does.
    """
    if split == "user":
        raise InputError("cells are user × unit already: split by prompt, group or item")
    if not 0 <= unseen_users < 1:
        raise InputError(f"share of unseen users {unseen_users} must lie between 0 and 1")
    if support < 0:
        raise InputError(f"support {support} is negative; give a number of comparisons per unseen user")
    seen_unit, unseen_unit = _masks(data, split, test_size, seed, fold, "user")
    keys = data.user_keys()
    new_user = _unseen_users(keys, data.present, unseen_users, seed, fold)[data.user]
    row = uniform(_row_keys(data), seed + 1)
    held = ~new_user & seen_unit & (row < 0.1)
    in_support = np.zeros(len(data), dtype=bool)
    pool = np.flatnonzero(new_user & seen_unit)
    in_support[pool[rank_within(data.user[pool], row[pool]) < support]] = True
    in_train = ~new_user & seen_unit & ~held
    train = _part(data, in_train, "training", split)
    met = _met(data, in_train, split)
    tests = {
        f"seen user, unseen {split}": data.take(~new_user & unseen_unit),
        f"unseen user, unseen {split}": data.take(new_user & unseen_unit),
        f"seen user, seen {split}": data.take(held & met),
        f"unseen user, seen {split}": data.take(new_user & seen_unit & ~in_support & met),
    }
    if not any(len(t) for t in tests.values()):
        raise InputError(f"{data.source}: the split by {split} leaves no test comparison; give a larger test share")
    return Cells(train, data.take(in_support), tests, split)


@renamed(anybody=ANYBODY)
def folds_apart(
    data: Comparisons, share: float, seed: int, fold: int = 0, *, new_items_for: NewItemsFor
) -> tuple[Mask, Mask]:
    """Rows to train on and rows to choose settings on, by item: the held-out items are new to the user who compares
    them or, with new_items_for = "anybody", to all users. Where items hardly recur, whole sets of connected items are
    held out.
    """
    held = _by_component(data, share, seed, fold)
    return (~held, held) if held is not None else _masks(data, "item", share, seed, fold, new_items_for)


def items_recur(data: Comparisons) -> bool:
    """Whether groups cannot keep items apart: most sides show an item that other groups show too or, where there are
    hardly any groups to hold out, other comparisons."""
    size = np.unique(data.group, return_counts=True)[1] / max(len(data), 1)
    few = np.square(size).sum() > 1 / FEW_GROUPS  # 1 / Σ share² is their effective number
    return _recur(data, np.arange(len(data)) if few else data.group)


def _masks(
    data: Comparisons, unit: str, test_size: float, seed: int, fold: int, new_items_for: NewItemsFor
) -> tuple[Mask, Mask]:
    if unit not in UNITS:
        raise InputError(f"split by {unit!r} is unknown; choose one of {', '.join(UNITS)}")
    if new_items_for not in ("anybody", "user"):
        raise InputError(f'new_items_for={new_items_for!r} is not a valid option; choose "anybody" or "user"')
    if not isinstance(test_size, Real) or not 0 < test_size < 1:
        raise InputError(f"test share {test_size!r} must lie between 0 and 1")
    check_whole("seed", seed)
    check_whole("fold", fold)
    if fold > round(1 / test_size) - 1:
        last = round(1 / test_size) - 1
        raise InputError(f"fold {fold} does not exist: a test share of {test_size} has folds 0 to {last}")
    # a prompt keeps its items to itself: the same text under another prompt is another item
    if unit in ("group", "row") and _recur(data, data.group if unit == "group" else np.arange(len(data))):
        warnings.warn(
            f"{data.source}: items recur in many comparisons, so a split by {unit} lets item identity leak "
            "into the test; split='item' does not",
            InputWarning,
            stacklevel=6,
        )
    if unit == "item" and new_items_for == "user":
        return _by_item(data, data.user_keys()[data.user], test_size, seed, fold)
    if unit == "item":
        held = _by_component(data, test_size, seed, fold)
        if held is not None:
            return ~held, held
        return _by_item(data, None, test_size, seed, fold)
    if unit == "time":
        return _by_time(data, test_size, fold)
    held, other = held_share(np.stack(_unit_keys(data, unit)), test_size, seed, fold)
    return ~held & ~other, held & other


def _by_time(data: Comparisons, test_size: float, fold: int) -> tuple[Mask, Mask]:
    """(rows before, rows within) the share of rows that is `fold` shares from the end; rows of one
    time stay together."""
    if data.attributes is None or TIME not in data.attributes.columns:
        raise InputError(f"{data.source}: a split by time needs a column {TIME}; add it to the table that is read")
    said = data.attributes[TIME]
    time = moments(said)
    if time is None:
        raise InputError(
            f"{data.source}: {TIME} is text like {said.drop_nulls()[0]!r}, which does not sort by what is later; "
            "give numbers, dates, or text like 2026-01-31T10:00:00+00:00, with a zone everywhere or nowhere"
        )
    if time.null_count():
        raise InputError(f"{data.source}: {time.null_count():,} rows have no {TIME}; fill it in or drop them")
    rank = time.rank("min").to_numpy() - 1
    place = rank / len(data)
    start, end = 1 - (fold + 1) * test_size, 1 - fold * test_size
    return place < start - 1e-9, (place >= start - 1e-9) & (place < end - 1e-9)


def _unit_keys(data: Comparisons, unit: str) -> tuple[Keys, Keys]:
    """The unit of either side, (N,) each: one, but where a person's answers to two prompts are compared."""
    match unit:
        case "prompt":
            return data.prompt_keys[data.prompt[data.first]], data.prompt_keys[data.prompt[data.second]]
        case "group":
            return data.group, data.group
        case "user":
            own = data.user_keys()[data.user]
            return own, own
    rows = _row_keys(data)
    return rows, rows


def _met(data: Comparisons, train: Mask, unit: str) -> Mask:
    """Rows whose unit the training rows have; of items, both sides."""
    if unit == "item":
        item = np.zeros(len(data.items), dtype=bool)
        item[data.first[train]] = item[data.second[train]] = True
        return item[data.first] & item[data.second]
    if unit == "time":
        return np.ones(len(data), dtype=bool)
    one, other = _unit_keys(data, unit)
    known = np.concatenate([one[train], other[train]])
    return np.isin(one, known) & np.isin(other, known)


def _recur(data: Comparisons, unit: NDArray[np.integer]) -> bool:
    """Whether most sides (2N) show an item that is in more than one unit (N,)."""
    code = np.unique(unit, return_inverse=True)[1]
    pairs = np.concatenate([data.first, data.second])
    places = np.unique(pairs * (code.max(initial=0) + 1) + np.concatenate([code, code]))
    units_of_item = np.bincount(places // (code.max(initial=0) + 1), minlength=len(data.items))
    return bool(np.mean(units_of_item[pairs] > 1) > 0.5) if len(data) else False


def held_share(keys: Keys, test_size: float, seed: int, fold: int) -> Mask:
    """Rows whose key falls in the fold, keys (any shape) dealt out evenly: the share of units is exact."""
    unit, inverse = np.unique(keys, return_inverse=True)
    rank = np.empty(len(unit))
    rank[np.argsort(uniform(unit, seed))] = np.arange(len(unit)) + 0.5
    place = rank / len(unit)
    return ((place >= fold * test_size) & (place < (fold + 1) * test_size))[inverse].reshape(keys.shape)


def _by_item(data: Comparisons, owner: Keys | None, test_size: float, seed: int, fold: int) -> tuple[Mask, Mask]:
    """(neither item held out, both held out); items are held out per owner where one is given."""

    def held(rows: NDArray[np.int64]) -> Mask:
        keys = data.item_keys[rows]
        u = uniform(keys if owner is None else combine(owner, keys), seed)
        return (u >= fold * test_size) & (u < (fold + 1) * test_size)

    a, b = held(data.first), held(data.second)
    return ~a & ~b, a & b


def _by_component(data: Comparisons, test_size: float, seed: int, fold: int) -> Mask | None:
    """Hold out whole sets of connected items, or None where there are too few sets of any size to deal out."""
    m = len(data.items)
    graph = coo_matrix((np.ones(len(data), dtype=np.int8), (data.first, data.second)), shape=(m, m))
    component = connected_components(graph, directed=False)[1][data.first]
    sizes = np.bincount(component) / max(len(data), 1)
    if np.square(sizes).sum() > 1 / ENOUGH_SETS:  # 1 / Σ share² is their effective number
        return None
    keys = np.full(component.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    for side in (data.first, data.second):  # a name that neither row order nor the order of sides changes
        np.minimum.at(keys, component, data.item_keys[side])
    return held_share(keys[component], test_size, seed, fold)


def _row_keys(data: Comparisons) -> Keys:
    pair = combine(data.item_keys[data.first], data.item_keys[data.second])
    return combine(combine(data.user_keys()[data.user], pair), data.group)


def _unseen_users(keys: Keys, present: NDArray[np.int64], share: float, seed: int, fold: int) -> Mask:
    mask = np.zeros(len(keys), dtype=bool)
    if share > 0:
        turn = fold % max(1, round(1 / share))
        mask[present] = held_share(combine(keys, text_keys(["unseen"]))[present], share, seed, turn)
    return mask


def rank_within(owner: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rank of each value among those of the same owner, from 0."""
    order = np.lexsort((value, owner))
    start = np.r_[True, owner[order][1:] != owner[order][:-1]] if len(order) else np.zeros(0, bool)
    position = np.arange(len(order))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = position - np.maximum.accumulate(np.where(start, position, 0))
    return rank


def _part(data: Comparisons, mask: Mask, name: str, unit: str) -> Comparisons:
    if not mask.any():
        raise InputError(
            f"{data.source}: the split by {unit} leaves the {name} part empty; "
            "change the test share or split by another unit"
        )
    return data.take(mask)
