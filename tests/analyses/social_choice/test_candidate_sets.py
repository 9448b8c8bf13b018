"""Candidates in sets against loops over users and prompts, and labels of every kind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plurality.analyses.social_choice.candidate_sets import CandidateSets, coded, reference_table
from plurality.errors import InputError

rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=15)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_sets_are_those_of_a_loop(data):
    reward, user, prompt = (np.array(column) for column in zip(*data, strict=True))
    sets = CandidateSets.of(reward, user, prompt, reward + 1)
    found = set()
    for k in range(len(sets.start)):
        members = sets.order[sets.start[k] : sets.start[k] + sets.size[k]]
        of = (user[members[0]], prompt[members[0]])
        same = (user == of[0]) & (prompt == of[1])
        assert sorted(members) == np.flatnonzero(same).tolist()
        assert (sets.code[same] == k).all()
        assert (np.diff(reward[members]) >= 0).all()
        assert sets.least[k] == reward[same].min()
        assert sets.greatest[k] == reward[same].max()
        assert sets.mass[k] == (reward[same] + 1).sum()
        assert sets.users[sets.owner[k]] == str(of[0])
        found.add(of)
    assert found == set(zip(user.tolist(), prompt.tolist(), strict=True))
    alone = CandidateSets.of(reward, user, None)
    assert len(alone.start) == len(alone.users) == len(np.unique(user))
    np.testing.assert_array_equal(alone.owner, np.arange(len(alone.users)))


@settings(max_examples=40, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_order_and_names_of_labels_do_not_matter(data, shuffle):
    reward, user, prompt = (np.array(column) for column in zip(*data, strict=True))
    order = np.array(shuffle.sample(range(len(reward)), len(reward)))
    base, moved = CandidateSets.of(reward, user, prompt), CandidateSets.of(reward[order], user[order], prompt[order])
    for name in ("least", "greatest", "mass", "owner", "size"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(base, name))
    np.testing.assert_array_equal(moved.code, base.code[order])
    named = CandidateSets.of(reward, np.array(["x", "y", "z"])[user], prompt.astype(object))
    np.testing.assert_array_equal(named.code, base.code)


@pytest.mark.parametrize(
    ("labels", "names", "codes"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([10, 9, 10], ("9", "10"), [1, 0, 1]),
        ([True, False], ("False", "True"), [1, 0]),
        ([2.5, 0.5], ("0.5", "2.5"), [1, 0]),
        (np.array(["b", 1, "b"], dtype=object), ("1", "b"), [1, 0, 1]),
        ([], (), []),
    ],
)
def test_labels_are_numbered_in_their_order(labels, names, codes):
    found, code = coded(labels, "group")
    assert found == names
    np.testing.assert_array_equal(code, codes)


def test_nothing_has_no_sets():
    sets = CandidateSets.of([], [], [])
    assert (len(sets.start), len(sets.users)) == (0, 0)
    for values in (sets.mass, sets.least, sets.greatest, sets.owner):
        assert values.shape == (0,)


def test_values_of_users_and_references():
    sets = CandidateSets.of([0.0, 1, 2], ["u", "v", "u"], [0, 0, 0])
    assert sets.per_user(["x", "y", "x"], "group").tolist() == ["x", "y"]
    assert sets.per_user(np.array([2.5, 1, 2.5]), "weights").tolist() == [2.5, 1]
    np.testing.assert_array_equal(reference_table([1, 2, 3], sets), [[1], [2], [3]])
    assert reference_table([[1, np.nan], [2, 3], [np.nan, 4]], sets).shape == (3, 2)


SETS = CandidateSets.of([0.0, 1.0], ["u", "u"], [0, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coded(["a", None], "group"), "group: row 1 has no label"),
        (lambda: coded([1.0, np.nan], "group"), "group: row 1 has no label"),
        (lambda: coded([["a"]], "group"), r"group: shape \(1, 1\)"),
        (lambda: CandidateSets.of([0.0, np.inf], [1, 1], [1, 1]), "reward: row 1 is inf"),
        (lambda: CandidateSets.of([[0.0]], [1], [1]), "lengths differ"),
        (lambda: CandidateSets.of([0.0], [1], [1, 1]), "1 rewards, 1 users, 2 prompts, 1 weights"),
        (lambda: CandidateSets.of([0.0], [1], [1], [np.nan]), "weights: row 0 is nan"),
        (lambda: SETS.per_user(["x", "y"], "group"), "group: row 1 differs from others of user 'u'"),
        (lambda: SETS.per_user(["x"], "group"), r"group: shape \(1,\) for 2 rows"),
        (lambda: SETS.per_user([["x"], ["x"]], "group"), r"group: shape \(2, 1\) for 2 rows"),
        (lambda: reference_table([1.0], SETS), r"reference: shape \(1, 1\) for 2"),
        (lambda: reference_table([1.0, np.nan], SETS), "reference: row 1 has no finite reward"),
        (lambda: reference_table([[1.0, np.inf], [1, 2]], SETS), "reference: row 0 has no finite reward"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
