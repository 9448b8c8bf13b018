"""Published splits by what must hold of them, counted by hand on planted dialogues."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from plurality.data.comparisons import Comparisons
from plurality.data.read import read
from plurality.datasets.protocols.published import lore_prism, p_rlhf_prism, personal_reward_bench, sizes, vpl_uf_p
from plurality.errors import InputError

SEEN, UNSEEN = "seen user, unseen group", "unseen user, unseen group"


def chats(n_users: int = 40, each: int = 8) -> Comparisons:
    """User i has `each` dialogues of three comparisons (the last ten users only four dialogues)."""
    rows = [
        (f"u{u}", f"{u}/{g}") for u in range(n_users) for g in range(each if u < n_users - 10 else 4) for _ in range(3)
    ]
    user, group = zip(*rows, strict=True)
    n = len(rows)
    frame = pl.DataFrame({"user_id": user, "group_id": group, "first": range(n), "second": range(n, 2 * n), "label": 1})
    return read(frame, embeddings=np.random.default_rng(0).normal(size=(2 * n, 3)).astype(np.float32))


def groups(part: Comparisons) -> set[int]:
    return set(part.group.tolist())


def users(part: Comparisons) -> set[str]:
    return set(part.user_ids) if len(part) else set()


@pytest.mark.parametrize("unseen", [0.5, 0.2])
def test_lore(unseen):
    data = chats()
    cells = lore_prism(data, unseen_users=unseen)
    seen, new = users(cells.train), users(cells.support)
    assert len(seen) + len(new) == 30  # those of more than five dialogues
    assert len(new) == round(unseen * 30)
    assert seen.isdisjoint(new)
    assert users(cells.tests[SEEN]) == seen
    assert users(cells.tests[UNSEEN]) == new
    for part in (cells.train, cells.support, *cells.tests.values()):
        assert {len(groups(part.of_users([u]))) for u in part.user_ids} == {4}  # half of eight
    assert groups(cells.train).isdisjoint(groups(cells.tests[SEEN]))
    assert groups(cells.support).isdisjoint(groups(cells.tests[UNSEEN]))
    with pytest.raises(InputError, match="no user has 9 groups or more"):
        lore_prism(data, least=9)


def test_p_rlhf():
    data = chats()
    cells = p_rlhf_prism(data)
    assert len(users(cells.tests[UNSEEN])) == 4
    assert len(cells.support) == 0
    assert users(cells.tests[UNSEEN]).isdisjoint(users(cells.train))
    held, kept = groups(cells.tests[SEEN]), groups(cells.train)
    assert held.isdisjoint(kept)
    assert len(held) == pytest.approx(0.1 * len(held | kept), abs=1)
    assert len(cells.train) + sum(map(len, cells.tests.values())) == len(data)
    table = sizes(cells)
    assert table.filter(pl.col("part") == UNSEEN)["users"].item() == 4
    assert table["comparisons"].sum() == len(data)


@pytest.mark.parametrize("protocol", [lore_prism, p_rlhf_prism])
def test_the_draw_is_of_keys_not_of_rows(protocol):
    data = chats()
    order = np.random.default_rng(1).permutation(len(data))
    one, other = protocol(data), protocol(data.take(order))
    assert groups(one.train) == groups(other.train)
    assert groups(protocol(data, seed=1).train) != groups(one.train)


def test_personal_reward_bench_takes_the_published_rows():
    data = chats(20, 6)
    names = np.array(["train", "val", "test"])[np.arange(len(data)) % 3]
    names[data.user == data.user[0]] = np.array(["val", "test"])[np.arange((data.user == data.user[0]).sum()) % 2]
    order = ("test", "train", "val")
    split = replace(data, objective=np.searchsorted(order, names).astype(np.int64), objectives=order)
    cells = personal_reward_bench(split)
    assert len(cells.train) == (names == "train").sum()
    assert users(cells.support) == {data.user_ids[0]} == users(cells.tests[UNSEEN])
    assert len(cells.support) == 9
    assert sum(map(len, cells.tests.values())) == (names == "test").sum()
    for bad in (data, replace(split, objectives=("a", "b", "c"))):
        with pytest.raises(InputError, match="where a row's split"):
            personal_reward_bench(bad)


def test_vpl_keeps_pairs_that_divide_users():
    """Two aspects judge the same 300 pairs; they agree on every third."""
    pairs = np.arange(300)
    label = np.concatenate([np.ones(300), np.where(pairs % 3 == 0, 1.0, 0.0)])
    frame = pl.DataFrame(
        {
            "user_id": ["helpful"] * 300 + ["honest"] * 300,
            "prompt": [f"p{i}" for i in pairs] * 2,
            "first": np.tile(pairs, 2),
            "second": np.tile(pairs + 300, 2),
            "label": label,
        }
    )
    data = read(frame, embeddings=np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32))
    cells = vpl_uf_p(data, survey=25, test_size=0.25)
    test = cells.tests["seen user, unseen prompt"]
    assert len(cells.train) + len(test) == 400
    assert len(test) == 100
    assert len(cells.support) == 50  # 25 pairs, both users
    assert set(cells.support.first.tolist()) <= set(cells.train.first.tolist())
    assert set(test.first.tolist()).isdisjoint(cells.train.first.tolist())
    with pytest.raises(InputError, match="no pair divides its users"):
        vpl_uf_p(replace(data, label=np.ones(600)))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_impossible_shares(share):
    with pytest.raises(InputError, match="must lie between 0 and 1"):
        p_rlhf_prism(chats(), unseen_users=share)
