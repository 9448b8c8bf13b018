"""Splits by brute force: what must not be on both sides is on one, whatever the order of rows."""

import warnings
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plurality.data.comparisons import Comparisons
from plurality.data.keys import text_keys
from plurality.data.read import read
from plurality.data.splits import Cells, folds_apart, items_recur
from plurality.errors import InputError, InputWarning


def crossed(seed: int = 0, n: int = 3000, n_users: int = 30, per_prompt: int = 12, n_prompts: int = 20) -> Comparisons:
    """Everybody compares items of every prompt, as in a consultation: items recur."""
    rng = np.random.default_rng(seed)
    prompt = rng.integers(n_prompts, size=n)
    first = rng.integers(per_prompt, size=n)
    second = (first + rng.integers(1, per_prompt, size=n)) % per_prompt
    columns = {"user_id": rng.integers(n_users, size=n), "prompt": prompt, "group_id": rng.integers(n // 3, size=n)}
    sides = {"first": prompt * per_prompt + first, "second": prompt * per_prompt + second, "label": rng.random(n)}
    vectors = rng.standard_normal((per_prompt * n_prompts, 2)).astype(np.float32)
    return read(pl.DataFrame({**columns, **sides}), embeddings=vectors)


def private(seed: int = 0, n_users: int = 40, prompts_each: int = 12) -> Comparisons:
    """Everybody has prompts of their own, with three answers each, as in chats: items do not recur."""
    rng = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(n_users * prompts_each), 3)
    sides = {"first": prompt * 3 + np.tile([0, 0, 1], len(prompt) // 3)}
    sides |= {"second": prompt * 3 + np.tile([1, 2, 2], len(prompt) // 3), "label": rng.random(len(prompt))}
    vectors = rng.standard_normal((3 * n_users * prompts_each, 2)).astype(np.float32)
    frame = pl.DataFrame({"user_id": prompt // (3 * prompts_each), "prompt": prompt, **sides})
    with warnings.catch_warnings():
        return read(frame.with_columns(prompt=pl.col("prompt").cast(pl.String)), embeddings=vectors)


def rows(data: Comparisons) -> set[tuple]:
    """Each comparison as what it is, not where it stands; labels are unique here."""
    items = zip(data.item_keys[data.first], data.item_keys[data.second], strict=True)
    ids = data.users["user_id"].gather(data.user)
    return {(u, int(a), int(b), float(p)) for u, (a, b), p in zip(ids, items, data.label, strict=True)}


def items_of(data: Comparisons, *, by_user: bool) -> set[tuple[int, int]]:
    sides = np.concatenate([data.first, data.second])
    users = np.concatenate([data.user, data.user]) if by_user else np.zeros_like(sides)
    return set(zip(users.tolist(), sides.tolist(), strict=True))


def units(data: Comparisons, by: str) -> set[int]:
    return set({"prompt": data.prompt[data.first], "group": data.group, "user": data.user}[by].tolist())


def quietly(data: Comparisons, **settings: object) -> tuple[Comparisons, Comparisons]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return data.split(**settings)


@pytest.mark.parametrize("by", ["prompt", "group", "user"])
@pytest.mark.parametrize("seed", [0, 1])
def test_units_are_on_one_side_and_in_their_share(by, seed):
    data = crossed()
    train, test = quietly(data, split=by, test_size=0.2, seed=seed)
    assert units(train, by).isdisjoint(units(test, by))
    assert units(train, by) | units(test, by) == units(data, by)
    assert len(units(test, by)) == pytest.approx(0.2 * len(units(data, by)), abs=1)
    assert rows(train) | rows(test) == rows(data)
    assert len(train) + len(test) == len(data)
    assert train.items is test.items is data.items


@pytest.mark.parametrize("test_share", [0.1, 0.2, 1 / 3, 0.3, 0.5])
@pytest.mark.parametrize("by", ["prompt", "group", "user", "row"])
def test_folds_are_disjoint_and_cover(by, test_share):
    data = crossed()
    n_folds = round(1 / test_share)
    tests = [rows(quietly(data, split=by, test_size=test_share, seed=3, fold=fold)[1]) for fold in range(n_folds)]
    assert sum(map(len, tests)) == len(set().union(*tests))
    if abs(n_folds * test_share - 1) < 1e-9:
        assert set().union(*tests) == rows(data)
    with pytest.raises(InputError, match=f"fold {n_folds} does not exist: .* has folds 0 to {n_folds - 1}"):
        quietly(data, split=by, test_size=test_share, fold=n_folds)


@pytest.mark.parametrize("new_items_for", ["user", "anybody"])
@pytest.mark.parametrize("fold", [0, 2])
def test_test_items_are_in_no_training_comparison(new_items_for, fold):
    data = crossed()
    train, test = data.split("item", test_size=0.3, seed=0, fold=fold, new_items_for=new_items_for)
    by_user = new_items_for == "user"
    assert items_of(train, by_user=by_user).isdisjoint(items_of(test, by_user=by_user))
    if by_user:  # others may train on them
        assert not items_of(train, by_user=False).isdisjoint(items_of(test, by_user=False))


def test_share_of_held_out_items():
    """A test comparison needs two held-out items of 0.3, a training one two of 0.7: squares, within 4 sd."""
    data = crossed(n=20_000)
    train, test = data.split("item", test_size=0.3, seed=0)
    assert len(test) / len(data) == pytest.approx(0.09, abs=0.012)
    assert len(train) / len(data) == pytest.approx(0.49, abs=0.03)


def test_item_folds_are_disjoint():
    data = crossed()
    tests = [rows(data.split("item", test_size=0.25, fold=fold)[1]) for fold in range(4)]
    assert sum(map(len, tests)) == len(set().union(*tests))


def test_small_sets_of_items_are_held_out_whole_and_nothing_is_dropped():
    data = private()
    train, test = data.split("item", test_size=0.2, new_items_for="anybody")
    assert rows(train) | rows(test) == rows(data)
    assert units(train, "prompt").isdisjoint(units(test, "prompt"))  # here the sets are the prompts
    assert len(test) == pytest.approx(0.2 * len(data), abs=3)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["prompt", "group", "user", "row", "item", "anybody"]), st.integers(0, 5), st.integers(0, 1))
def test_the_order_of_rows_does_not_matter(by, seed, kind):
    data = (crossed, private)[kind]()
    order = np.random.default_rng(seed).permutation(len(data))
    new_items_for, by = ("anybody", "item") if by == "anybody" else ("user", by)
    parts = quietly(data, split=by, seed=seed, new_items_for=new_items_for)
    moved = quietly(data.take(order), split=by, seed=seed, new_items_for=new_items_for)
    assert [rows(part) for part in parts] == [rows(part) for part in moved]


def test_the_seed_decides():
    data = crossed()
    one, again, other = (rows(data.split("item", seed=seed)[1]) for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_a_user_keeps_the_side_when_others_come_and_go():
    data = crossed()
    some = data.of_users(data.user_ids[:10])
    whole, part = (data.split("item", seed=0)[1], some.split("item", seed=0)[1])
    assert rows(part) == rows(whole.of_users(data.user_ids[:10]))


@pytest.mark.parametrize("by", ["group", "row"])
def test_leaks_are_announced(by):
    data = crossed()
    assert items_recur(data)
    with pytest.warns(InputWarning, match=f"items recur .* split by {by} lets item identity .*split='item' does not"):
        data.split(by)


def test_one_prompt_cannot_be_held_out():
    """A consultation under one prompt: no group keeps items apart."""
    votes = crossed(n_prompts=1)
    votes = replace(votes, group=votes.prompt_keys[votes.prompt[votes.first]])
    assert items_recur(votes)
    assert not any(len(test) for name, test in votes.cells("prompt").tests.items() if "unseen prompt" in name)
    assert any(len(test) for name, test in votes.cells("item").tests.items() if "unseen item" in name)


@pytest.mark.parametrize("by", ["prompt", "group", "user", "item"])
def test_no_false_alarm(by):
    assert not items_recur(private())
    private().split(by)  # a warning would be an error
    if by == "prompt":
        crossed().split(by)  # every item is under one prompt


def test_siblings_make_rows_leak():
    """Items of one prompt recur within it, so rows leak though prompts do not."""
    with pytest.warns(InputWarning, match="split by row lets item identity leak"):
        private().split("row")


def without_labels(data: Comparisons) -> Comparisons:
    return replace(data, label=np.zeros(len(data)))


def test_labels_have_no_say():
    data = crossed()
    for by in ("prompt", "item", "user"):
        assert len(data.split(by)[1]) == len(without_labels(data).split(by)[1])


# cells


def cells_of(data: Comparisons, **settings: object) -> Cells:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return data.cells(**settings)


@pytest.mark.parametrize("by", ["prompt", "group", "item"])
@pytest.mark.parametrize("make", [crossed, private])
def test_cells_are_what_they_are_called(by, make):
    data = make()
    cells = cells_of(data, split=by, test_size=0.3, unseen_users=0.25, support=7, seed=1)
    names = [f"{u} user, {i} {by}" for i in ("unseen", "seen") for u in ("seen", "unseen")]
    assert list(cells.tests) == names
    parts = [rows(part) for part in (cells.train, cells.support, *cells.tests.values())]
    assert sum(map(len, parts)) == len(set().union(*parts))
    assert set().union(*parts) <= rows(data)

    trained = set(cells.train.user_ids)
    unseen = {u for name, part in cells.tests.items() if name.startswith("unseen") for u in part.user_ids}
    unseen |= set(cells.support.user_ids)
    assert trained.isdisjoint(unseen)
    assert len(unseen) == pytest.approx(0.25 * len(data.user_ids), abs=1)
    for name, part in cells.tests.items():
        if name.startswith("seen"):
            assert set(part.user_ids) <= trained
    for user in cells.support.user_ids:
        assert len(cells.support.of_users([user])) <= 7

    def sides(part: Comparisons) -> set:
        return items_of(part, by_user=False) if by == "item" else units(part, by)

    for user in ("seen", "unseen"):
        assert sides(cells.tests[f"{user} user, seen {by}"]) <= sides(cells.train)
        new = cells.tests[f"{user} user, unseen {by}"]
        if by == "item":
            for known in (cells.train, cells.support):
                assert items_of(new, by_user=True).isdisjoint(items_of(known, by_user=True))
        else:
            assert sides(new).isdisjoint(sides(cells.train) | sides(cells.support))


def test_cells_use_every_comparison_where_units_recur_widely():
    data = crossed()
    cells = cells_of(data, split="prompt", test_size=0.3, unseen_users=0.25, support=7)
    parts = [cells.train, cells.support, *cells.tests.values()]
    assert sum(map(len, parts)) == len(data)
    assert all(len(part) for part in parts)
    counts = [len(cells.support.of_users([user])) for user in cells.support.user_ids]
    assert set(counts) == {7}  # everybody has more than that to give
    seen = len(cells.train) + len(cells.tests["seen user, seen prompt"])
    assert len(cells.tests["seen user, seen prompt"]) / seen == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / seen))


def test_private_prompts_leave_no_seen_prompt_to_unseen_users():
    cells = cells_of(private(), split="prompt")
    assert len(cells.tests["unseen user, seen prompt"]) == 0
    assert len(cells.tests["unseen user, unseen prompt"]) > 0
    assert len(cells.support) > 0


def test_cell_folds_give_other_users_and_units():
    data = crossed()
    folds = [cells_of(data, split="prompt", test_size=0.25, unseen_users=0.25, fold=fold) for fold in range(4)]
    for name in ("unseen user, unseen prompt", "seen user, unseen prompt"):
        tests = [rows(cells.tests[name]) for cells in folds]
        assert sum(map(len, tests)) == len(set().union(*tests))
    users = [set(cells.support.user_ids) for cells in folds]
    assert set().union(*users) == set(data.user_ids)
    assert sum(map(len, users)) == len(data.user_ids)


def test_cells_do_not_depend_on_row_order():
    data = crossed()
    order = np.random.default_rng(0).permutation(len(data))
    one, other = (cells_of(d, split="item", seed=4) for d in (data, data.take(order)))
    assert rows(one.train) == rows(other.train)
    assert rows(one.support) == rows(other.support)
    assert {k: rows(v) for k, v in one.tests.items()} == {k: rows(v) for k, v in other.tests.items()}


@pytest.mark.parametrize("new_items_for", ["user", "anybody"])
@pytest.mark.parametrize("make", [crossed, private])
def test_folds_apart_share_no_item(make, new_items_for):
    data = make()
    masks = folds_apart(data, 0.3, seed=0, new_items_for=new_items_for)
    assert not (masks[0] & masks[1]).any()
    train, held = (items_of(data.take(mask), by_user=new_items_for == "user") for mask in masks)
    assert train
    assert held
    assert train.isdisjoint(held)


# bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "moon"}, "split by 'moon' is unknown; choose one of prompt, group, item, user, row"),
        ({"split": "user", "test_size": 0.0}, "test share 0.0 must lie between 0 and 1"),
        ({"split": "user", "test_size": 1.0}, "test share 1.0 must lie between 0 and 1"),
        ({"split": "user", "test_size": 0.5, "fold": -1}, "fold=-1 is no whole number of 0 or more"),
        (
            {"split": "prompt", "test_size": 0.001},
            "the split by prompt leaves the test part empty; change the test share",
        ),
    ],
)
def test_impossible_splits(settings, message):
    with pytest.raises(InputError, match=message):
        crossed().split(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "user"}, "cells are user × unit already"),
        ({"split": "item", "unseen_users": 1.0}, r"share of unseen users 1\.0 must lie between 0 and 1"),
        ({"split": "item", "unseen_users": -0.1}, r"share of unseen users -0\.1 must lie"),
        ({"split": "item", "support": -1}, "support -1 is negative"),
    ],
)
def test_impossible_cells(settings, message):
    with pytest.raises(InputError, match=message):
        crossed().cells(**settings)


def test_group_keys_are_of_the_ids():
    data = crossed(n=200)
    assert set(data.group.tolist()) <= set(text_keys([str(i) for i in range(200)]).tolist())
