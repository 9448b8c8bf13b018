"""Agreement and triads against loops over people, pairs and triples."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import polars as pl
import pytest

from plurality.data.comparisons import Comparisons
from plurality.data.read import read
from plurality.data_checks.consistency import AGREE, CYCLIC, DIVIDED, SELF, SHARED, consistency
from plurality.data_checks.counts import count
from plurality.datasets.simulated import populations as planted


def of(rows: list[tuple[str, int, int, float]], n_items: int) -> Comparisons:
    """Comparisons (user, first, second, label) of items without texts, every row a group of its own."""
    user, first, second, label = zip(*rows, strict=True)
    columns = {"user_id": user, "first": first, "second": second, "label": label}
    frame = pl.DataFrame({**columns, "group_id": [f"g{i}" for i in range(len(rows))]})
    return read(frame, embeddings=np.random.default_rng(0).normal(size=(n_items, 3)).astype(np.float32))


def at_random(seed: int, n_users: int = 6, n_items: int = 9, n: int = 700) -> Comparisons:
    rng = np.random.default_rng(seed)
    first = rng.integers(n_items, size=n)
    second = (first + rng.integers(1, n_items, size=n)) % n_items
    rows = zip([f"u{i}" for i in rng.integers(n_users, size=n)], first, second, rng.integers(2, size=n), strict=True)
    return of([(u, int(a), int(b), float(y)) for u, a, b, y in rows], n_items)


def value(data: Comparisons, what: str, **settings: object) -> float:
    table = consistency(data, n_bootstrap=20, **settings).table
    return float(table.filter(pl.col("what") == what)["estimate"][0])


def answers(data: Comparisons) -> dict[tuple[int, int], dict[int, list[float]]]:
    """(first, second) -> user -> answers."""
    by: dict[tuple[int, int], dict[int, list[float]]] = {}
    for u, a, b, y in zip(data.user, data.first, data.second, data.label, strict=True):
        by.setdefault((int(a), int(b)), {}).setdefault(int(u), []).append(float(y))
    return by


@pytest.mark.parametrize("seed", range(3))
def test_agreement_is_that_of_loops(seed):
    data = at_random(seed)
    by = answers(data)
    own, between, divided = [], [], []
    for people in by.values():
        own += [a * b + (1 - a) * (1 - b) for ys in people.values() for a, b in combinations(ys, 2)]
        means = [float(np.mean(ys)) for ys in people.values()]
        if len(means) > 1:
            pairs = [a * b + (1 - a) * (1 - b) for a, b in combinations(means, 2)]
            between += [np.mean(pairs)] * len(means)
            p, n = np.mean(means), len(means)
            divided.append(4 * p * (1 - p) * n / (n - 1))
    assert value(data, SELF) == pytest.approx(np.mean(own))
    assert value(data, AGREE) == pytest.approx(np.mean(between))
    assert value(data, DIVIDED) == pytest.approx(np.mean(divided))
    assert value(data, SHARED) == pytest.approx(np.mean([len(people) > 1 for people in by.values()]))


@pytest.mark.parametrize("seed", range(3))
def test_cyclic_triads_are_those_of_loops(seed):
    data = at_random(seed, n=400)
    wins: dict[int, set[tuple[int, int]]] = {}
    for (a, b), people in answers(data).items():
        for user, ys in people.items():
            if (mean := np.mean(ys)) != 0.5:
                wins.setdefault(user, set()).add((a, b) if mean > 0.5 else (b, a))
    cyclic = triads = 0
    for beaten in wins.values():
        for three in combinations(range(9), 3):
            edges = [e for e in beaten if e[0] in three and e[1] in three]
            if len(edges) == 3:
                triads += 1
                cyclic += sorted(w for w, _ in edges) == sorted(three)  # everybody wins once
    assert triads > 30
    assert value(data, CYCLIC) == pytest.approx(cyclic / triads)


def test_orders_have_no_cycle_and_coins_a_quarter():
    order = of([(f"u{u}", a, b, float(a < b)) for u in range(8) for a, b in combinations(range(7), 2)], 7)
    assert value(order, CYCLIC) == 0.0
    rng = np.random.default_rng(0)
    coins = of([(f"u{u}", a, b, float(rng.integers(2))) for u in range(60) for a, b in combinations(range(9), 2)], 9)
    triads = 60 * 84
    assert value(coins, CYCLIC) == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / triads))


def test_tastes_are_told_from_noise():
    tastes = planted.low_rank(40, rank=2, width=6, seed=0)[0].sample(150, seed=1, items=20).data
    said = " ".join(consistency(tastes, n_bootstrap=100).sentences)
    assert "there are tastes, and not noise alone" in said
    noise = replace(tastes, label=np.random.default_rng(0).integers(2, size=len(tastes)).astype(float))
    assert "noise alone may explain" in " ".join(consistency(noise, n_bootstrap=100).sentences)


def test_dropped_repeats_are_not_taken_for_inconsistency():
    data = at_random(0)
    found = consistency(replace(data, duplicates=5), n_bootstrap=20)
    assert SELF not in found.table["what"].to_list()
    assert any('repeats="keep"' in s for s in found.sentences)
    assert SELF in consistency(replace(data, duplicates=5), n_bootstrap=20, repeats_kept=True).table["what"].to_list()


def test_counts_by_hand():
    rows = [("a", 0, 1, 1.0), ("a", 0, 2, 0.5), ("b", 0, 1, 0.0), ("b", 3, 4, 1.0)]
    found = count(of(rows, 6))
    by = dict(found.table.iter_rows())
    expected = {"comparisons": 4, "users": 2, "comparisons a user, median": 2, "items": 5}
    expected |= {"items in several comparisons": 2, "share of ties": 0.25, "groups": 4, "comparisons with siblings": 0}
    assert {name: by[name] for name in expected} == expected
    assert found.recur  # five of the eight sides show items 0 and 1
    assert any("split by item" in s for s in found.sentences)


def test_siblings_are_announced():
    frame = pl.DataFrame(
        {"user_id": ["a"] * 4, "first": [0, 0, 3, 3], "second": [1, 2, 4, 5], "label": 1.0, "group_id": list("xxyy")}
    )
    found = count(read(frame, embeddings=np.eye(6, dtype=np.float32)))
    assert dict(found.table.iter_rows())["comparisons with siblings"] == 4
    assert any("siblings: split by group or prompt" in s for s in found.sentences)
