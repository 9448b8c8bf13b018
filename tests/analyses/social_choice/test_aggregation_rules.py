"""Rules of choice against the welfare functions of one crowd, textbook profiles, and properties they are known by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plurality.analyses.social_choice.aggregation_rules import (
    RULES,
    approval,
    borda,
    choices,
    column_means,
    maximin,
    mean,
    power,
    weighted,
    worst_share,
)
from plurality.analyses.welfare.inequality import cvar, power_mean
from plurality.analyses.welfare.normalisations import normalise_sets
from plurality.errors import InputError

utilities = st.tuples(
    arrays(float, (5, 2, 3), elements=st.integers(0, 8).map(lambda v: v / 8)),
    arrays(int, 5, elements=st.integers(0, 3)),
    st.lists(st.booleans(), min_size=10, max_size=10),
)


def as_arrays(data):
    """Utilities of five users, two prompts and three candidates, weights, and membership of two groups."""
    u, w, known = data
    u = np.where(np.reshape(known, (5, 2, 1)), u, np.nan)
    return u, w.astype(float), (np.arange(5)[:, None] % 2 == np.arange(2)) * w[:, None].astype(float)


@settings(max_examples=50, deadline=None)
@given(utilities)
def test_rules_are_their_welfare_functions_by_column(data):
    u, w, member = as_arrays(data)
    rules = [(mean, lambda x, v, _: np.average(x, weights=v))]
    rules += [(power(p), lambda x, v, _, p=p: power_mean(x, p, v)) for p in (-np.inf, -2, 0, 0.5, 1, 3, np.inf)]
    rules += [(worst_share(s), lambda x, v, _, s=s: cvar(x, s, v)) for s in (0.2, 0.6, 1.0)]
    rules += [(approval(0.5), lambda x, v, _: np.average(x >= 0.5, weights=v))]
    rules += [(maximin, lambda x, v, g: min(np.average(x[g == h], weights=v[g == h]) for h in np.unique(g)))]
    for rule, own in rules:
        found = rule(u, w, member)
        assert found.shape == (2, 3)
        for p in range(2):
            for k in range(3):
                used = ~np.isnan(u[:, p, k]) & (w > 0)
                expected = own(u[used, p, k], w[used], np.arange(5)[used] % 2) if used.any() else np.nan
                assert found[p, k] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    rank = normalise_sets(u, "percentile").value
    np.testing.assert_array_equal(borda(u, w, member), mean(rank, w, member))
    np.testing.assert_array_equal(weighted(w)(u, np.ones(5), member), mean(u, w, member))


@settings(max_examples=50, deadline=None)
@given(utilities, st.permutations(range(5)), st.permutations(range(3)))
def test_a_weight_is_as_many_users_and_names_do_not_matter(data, users, candidates):
    u, w, member = as_arrays(data)
    times = w.astype(int)
    one = (member > 0).astype(float)
    for rule in RULES.values():
        base = rule(u, w, member)
        repeated = rule(np.repeat(u, times, 0), np.ones(times.sum()), np.repeat(one, times, 0))
        np.testing.assert_allclose(repeated, base, atol=1e-12)
        moved = rule(u[users][:, :, candidates], w[users], member[users][:, ::-1])
        np.testing.assert_allclose(moved, base[:, candidates], atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(utilities, st.integers(0, 4), st.integers(1, 8))
def test_nobody_gains_from_a_rule_by_losing(data, user, gain):
    """Raising one person's utility of a candidate never lowers its welfare, nor raises that of another."""
    u, w, member = as_arrays(data)
    more = u.copy()
    more[user, :, 0] += gain / 8
    for rule in (*RULES.values(), power(-np.inf), power(2.0)):
        before, after = rule(u, w, member), rule(more, w, member)
        known = ~np.isnan(before)
        assert (after[known[:, 0], 0] >= before[known[:, 0], 0] - 1e-12).all()
        assert (after[:, 1:][known[:, 1:]] <= before[:, 1:][known[:, 1:]] + 1e-12).all()


def test_scale_and_shift_change_no_choice_where_promised():
    rng = np.random.default_rng(0)
    u, w = rng.random((7, 20, 4)), np.ones(7)
    member = np.eye(2)[np.arange(7) % 2]
    nash, utilitarian, least = (RULES[name] for name in ("nash", "mean", "maximin"))
    rescaled = u * rng.uniform(0.1, 10, (7, 1, 1))
    np.testing.assert_array_equal(choices(nash(rescaled, w, member)), choices(nash(u, w, member)))
    assert (choices(utilitarian(rescaled, w, member)) != choices(utilitarian(u, w, member))).any()
    shifted = u + rng.normal(size=(7, 20, 1))
    np.testing.assert_array_equal(choices(utilitarian(shifted, w, member)), choices(utilitarian(u, w, member)))
    np.testing.assert_array_equal(borda(shifted, w, member), borda(u, w, member))
    assert (choices(least(shifted, w, member)) != choices(least(u, w, member))).any()
    # power means go from the worst-off person to the mean to the best-off
    ladder = [power(p)(u, w, member) for p in (-np.inf, -400.0, -1.0, 0.0, 0.5, 1.0, 2.0, np.inf)]
    assert (np.diff(ladder, axis=0) >= -1e-12).all()
    np.testing.assert_array_equal(ladder[0], u.min(axis=0))
    np.testing.assert_allclose(ladder[5], utilitarian(u, w, member))
    np.testing.assert_array_equal(ladder[-1], u.max(axis=0))
    np.testing.assert_allclose(worst_share(1.0)(u, w, member), utilitarian(u, w, member))
    np.testing.assert_allclose(worst_share(1e-6)(u, w, member), u.min(axis=0))


def test_borda_and_others_choose_what_they_should():
    # three people: two rank x > y > z, one z > y > x: Borda gives x 4 of 6 points, y 3, z 2
    u = np.array([[[0.6, 0.5, 0.1]], [[0.6, 0.5, 0.1]], [[0.0, 0.5, 1.0]]])
    everyone, groups = np.ones(3), np.array([[1.0, 0], [1, 0], [0, 1]])
    np.testing.assert_allclose(borda(u, everyone, groups), [[4 / 6, 3 / 6, 2 / 6]])
    chosen = {name: choices(rule(u, everyone, groups)).argmax() for name, rule in RULES.items()}
    assert chosen["borda"] == 0
    assert chosen["mean"] == 1
    assert chosen["maximin"] == chosen["nash"] == chosen["cvar(0.2)"] == 1
    assert chosen["approval(0.5)"] == 1
    assert choices(mean(u - 1, everyone, groups)).argmax() == 1


def test_choices_share_ties_and_know_nothing_of_the_unknown():
    np.testing.assert_allclose(choices(np.array([[0.1 + 0.2, 0.3, 0.1, np.nan]])), [[0.5, 0.5, 0, 0]])
    assert np.isnan(choices(np.full((2, 3), np.nan))).all()
    np.testing.assert_allclose(choices(np.array([-1e9, -1e9 - 1])), [1, 0])
    assert choices(np.zeros((2, 0))).shape == (2, 0)


def test_nobody_and_nothing():
    for rule in (*RULES.values(), power(-np.inf), power(np.inf), worst_share(0.5)):
        for u in (np.zeros((0, 2, 3)), np.full((4, 2, 3), np.nan)):
            users = len(u)
            assert np.isnan(rule(u, np.ones(users), np.ones((users, 1)))).all()
        assert np.isnan(rule(np.ones((4, 2, 3)), np.zeros(4), np.zeros((4, 1)))).all()
        assert rule(np.ones((4, 0, 3)), np.ones(4), np.ones((4, 1))).shape == (0, 3)
    # an empty group has no say, and maximin without groups knows nothing
    u = np.array([[[0.2, 0.7]], [[0.6, 0.1]]])
    np.testing.assert_allclose(maximin(u, np.ones(2), np.array([[1.0, 0], [1, 0]])), [[0.4, 0.4]])
    assert np.isnan(maximin(u, np.ones(2), np.zeros((2, 0)))).all()
    np.testing.assert_allclose(column_means(u, np.eye(2)), u)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda u: power(np.nan), "p: nan"),
        (lambda u: power(2.0)(-u, np.ones(3), np.ones((3, 1))), "power mean: a utility is negative"),
        (lambda u: worst_share(0.0), "share: 0"),
        (lambda u: worst_share(1.5), "share: 1.5"),
        (lambda u: approval(np.nan), "threshold: nan"),
        (lambda u: weighted([1.0, -1.0]), "seats: row 1 is -1"),
        (lambda u: weighted([1.0, np.nan]), "seats: row 1 is nan"),
        (lambda u: weighted([1.0, 2.0])(u, np.ones(3), np.ones((3, 1))), r"seats: shape \(2,\) for 3 users"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(np.ones((3, 1, 2)))
