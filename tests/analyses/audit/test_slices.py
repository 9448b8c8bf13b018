"""Slices against polars, and suppression against an attacker who adds and subtracts."""

import numpy as np
import polars as pl
import pytest
from scipy.linalg import null_space

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.slices import COMPLEMENT, SHOWN, TOO_FEW, Disclosure, slices
from plurality.analyses.audit.withholding import determined, sums_of, withheld
from plurality.errors import InputError


def population(users, levels, seed):
    """Attributes with levels of very unequal size."""
    rng = np.random.default_rng(seed)
    columns = {}
    for k, n in enumerate(levels):
        share = rng.dirichlet(np.full(n, 0.5))
        columns[f"a{k}"] = [f"v{v}" for v in rng.choice(n, users, p=share)]
    return pl.DataFrame(columns)


def can_be_computed(groups, state):
    """Withheld slices whose number follows from the shown ones, by dense linear algebra."""
    hidden = np.flatnonzero(state != SHOWN)
    system = np.zeros((len(groups.sums), len(state)))
    for row, (whole, parts) in enumerate(groups.sums):
        system[row, whole] = 1
        system[row, list(parts)] -= 1
    free = null_space(system[:, hidden])
    return hidden[np.linalg.norm(free, axis=1) < 1e-9] if free.size else hidden


def test_slices_are_those_of_a_group_by():
    users = population(300, (3, 4, 2), 0)
    groups = slices(users, 300)
    found = {(a, v): n for a, v, n in zip(groups.attribute, groups.level, groups.n_users.tolist(), strict=True)}
    assert found[("(overall)", "(all users)")] == 300
    for name in users.columns:
        for level, n in users.group_by(name).len().iter_rows():
            assert found[(name, level)] == n
    for left, right in (("a0", "a1"), ("a0", "a2"), ("a1", "a2")):
        pairs = users.group_by(left, right).len()
        for a, b, n in pairs.iter_rows():
            assert found[(f"{left} × {right}", f"{a} × {b}")] == n
        assert sum(attribute == f"{left} × {right}" for attribute in groups.attribute) == pairs.height


def test_three_attributes_crossed():
    users = population(300, (3, 2, 2, 2), 4)
    groups = slices(users, 300, ways=3)
    found = {(a, v): n for a, v, n in zip(groups.attribute, groups.level, groups.n_users.tolist(), strict=True)}
    for crossed in (("a0", "a1", "a2"), ("a1", "a2", "a3")):
        for *levels, n in users.group_by(crossed).len().iter_rows():
            assert found[(" × ".join(crossed), " × ".join(levels))] == n
    assert groups.order.max() == 3
    for whole, parts in groups.sums:
        assert groups.n_users[whole] == groups.n_users[list(parts)].sum()
        assert groups.order[list(parts)].tolist() == [groups.order[whole] + 1] * len(parts)
    with pytest.raises(InputError, match="4 attributes to cross; give 1 to 3"):
        slices(users, 300, ways=4)


def test_members_of_a_slice():
    users = pl.DataFrame({"g": ["b", "a", "b"], "h": ["x", "x", "y"]})
    groups = slices(users, 3)
    at = {(a, v): s for s, (a, v) in enumerate(zip(groups.attribute, groups.level, strict=True))}
    assert groups.users(at[("g", "b")]).tolist() == [0, 2]
    assert groups.users(at[("g × h", "b × x")]).tolist() == [0]
    assert groups.users(0).tolist() == [0, 1, 2]
    assert len(slices(users, 3, ways=1).level) == 5
    assert slices(pl.DataFrame(), 3).level == ("(all users)",)


def test_levels_stand_in_the_order_a_reader_expects():
    levels = ["65+", "(missing)", "18-24", "<18", "9-10", "25-34", "(not in users table)"]
    groups = slices(pl.DataFrame({"age": levels}), len(levels))
    expected = ("9-10", "<18", "18-24", "25-34", "65+", "(missing)", "(not in users table)")
    assert groups.level[1:] == expected
    words = slices(pl.DataFrame({"g": ["Woman", "Man", "Prefer not to say"]}), 3)
    assert words.level[1:] == ("Man", "Prefer not to say", "Woman")


def test_every_sum_adds_up():
    groups = slices(population(200, (3, 4, 5), 1), 200)
    for whole, parts in groups.sums:
        assert groups.n_users[whole] == groups.n_users[list(parts)].sum()


def test_one_small_group_takes_its_smallest_neighbour_along():
    users = pl.DataFrame({"g": ["a"] * 50 + ["b"] * 30 + ["c"] * 7})
    groups = slices(users, 87)
    assert withheld(groups, Disclosure()).tolist() == [SHOWN, SHOWN, COMPLEMENT, TOO_FEW]
    assert withheld(groups, Disclosure(complementary=False)).tolist() == [SHOWN, SHOWN, SHOWN, TOO_FEW]


def test_withheld_groups_are_enough_people_together():
    users = pl.DataFrame({"g": ["a"] * 50 + ["b"] * 30 + ["c"] * 4 + ["d"] * 3})
    # c and d hide one another, but their 7 users together would be given away
    assert withheld(slices(users, 87), Disclosure()).tolist() == [SHOWN, SHOWN, COMPLEMENT, TOO_FEW, TOO_FEW]
    more = pl.DataFrame({"g": ["a"] * 50 + ["b"] * 30 + ["c"] * 8 + ["d"] * 7})
    assert withheld(slices(more, 95), Disclosure()).tolist() == [SHOWN, SHOWN, SHOWN, TOO_FEW, TOO_FEW]


@pytest.mark.parametrize("seed", range(30))
def test_no_withheld_slice_can_be_computed_from_the_shown(seed):
    rng = np.random.default_rng(seed)
    users = population(int(rng.integers(60, 500)), tuple(rng.integers(2, 6, 3)), seed)
    groups = slices(users, users.height, ways=2 + seed // 25)
    state = withheld(groups, Disclosure())
    assert len(can_be_computed(groups, state)) == 0
    assert (state[groups.n_users < 11][1:] != SHOWN).all()
    assert state[0] == SHOWN
    for whole, parts in groups.sums:
        hidden = [s for s in parts if state[s] != SHOWN]
        if state[whole] == SHOWN and hidden:
            assert groups.n_users[hidden].sum() >= 11


def test_without_complements_small_groups_can_be_computed():
    users = population(200, (3, 4), 3)
    groups = slices(users, 200)
    state = withheld(groups, Disclosure(complementary=False))
    exposed = can_be_computed(groups, state)
    assert len(exposed)
    np.testing.assert_array_equal(determined(sums_of(groups), state), exposed)


def test_a_bridge_between_two_cycles_is_found():
    # every line of this table hides two cells or none, but the cell that joins the two blocks is still determined
    block = [
        ("r0", "c0"),
        ("r0", "c1"),
        ("r1", "c0"),
        ("r1", "c1"),
        ("r2", "c2"),
        ("r2", "c3"),
        ("r3", "c2"),
        ("r3", "c3"),
    ]
    rows, columns = [f"r{i}" for i in range(4)], [f"c{i}" for i in range(4)]
    small = {*block, ("r1", "c2")}
    cells = [(r, c, 6 if (r, c) in small else 30) for r in rows for c in columns]
    users = pl.DataFrame(
        {"r": [r for r, _, n in cells for _ in range(n)], "c": [c for _, c, n in cells for _ in range(n)]}
    )
    groups = slices(users, users.height)
    alone = withheld(groups, Disclosure(complementary=False))
    bridge = [groups.level[s] for s in determined(sums_of(groups), alone)]
    assert bridge == ["r1 × c2"]
    assert len(can_be_computed(groups, withheld(groups, Disclosure()))) == 0


def test_a_policy_that_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="min_users_show 20, min_users_flag 10"):
        Disclosure(min_users_flag=10, min_users_show=20)


def test_what_determines_a_slice_is_withheld_and_little_else():
    """Of seven slices that shown ones determine, each costs the few that its sums go through."""
    users = population(6000, (4, 5, 6, 7), 5)
    groups = slices(users, users.height, ways=3)
    few = (groups.n_users < 11).sum()
    state = withheld(groups, Disclosure())
    assert len(can_be_computed(groups, state)) == 0
    assert (state == COMPLEMENT).sum() < few


def test_names_that_the_audit_keeps_for_itself_are_errors(planted):
    predictions, users = planted
    for name, words in (("(overall)", "everybody together"), ("region × group", "combinations of attributes")):
        with pytest.raises(InputError, match=words):
            audit(predictions, users.rename({"group": name}), n_bootstrap=0)


def test_combinations_of_levels_that_hold_the_sign_have_names_of_their_own():
    people = pl.DataFrame({"a": ["x × y", "x"] * 15, "b": ["z", "y × z"] * 15})
    groups = slices(people, 30)
    assert sorted(n for n, order in zip(groups.level, groups.order, strict=True) if order == 2) == [
        "x × “y × z”",
        "“x × y” × z",
    ]


@pytest.mark.parametrize("keys", [(True, False), ("true", "false"), (np.True_, np.False_)])
def test_margins_may_be_keyed_by_what_stands_in_the_column(planted, keys):
    predictions, users = planted
    people = users.select(
        "user_id", flag=pl.col("group") == "a", age=pl.when(pl.col("group") == "a").then(18.0).otherwise(30.0)
    )
    flags = audit(
        predictions, people, by=["flag"], margins={"flag": dict(zip(keys, (0.4, 0.6), strict=True))}, n_bootstrap=20
    )
    ages = audit(predictions, people, by=["age"], margins={"age": {18.0: 0.4, 30: 0.6}}, n_bootstrap=20)
    one, other = (a.sections["population"].frame.filter(kind="mean")["population"].to_list() for a in (flags, ages))
    assert one == pytest.approx(other, abs=1e-12)
    table = {"attribute": ["age"] * 2, "level": [18.0, 30.0], "share": [0.4, 0.6]}
    again = audit(predictions, people, by=["age"], margins=table, n_bootstrap=20).sections["population"].frame
    assert again.filter(kind="mean")["population"].to_list() == pytest.approx(other, abs=1e-12)
