"""Means of groups against loops, and their intervals against resampling person by person."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plurality.analyses.inference.bootstrap import interval, resample_counts
from plurality.analyses.welfare.group_utilities import (
    group_means,
    group_membership,
    group_table,
    mean_draws,
    user_means,
)
from plurality.errors import InputError

people = st.tuples(
    arrays(float, (2, 6), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0, np.nan])),
    arrays(int, 6, elements=st.integers(0, 2)),
    arrays(int, 6, elements=st.integers(0, 3)),
)


@settings(max_examples=50, deadline=None)
@given(people)
def test_means_are_those_of_people_written_out(data):
    per_user, groups, weights = data
    names, member = group_membership(groups, 6, weights)
    mean, lo, hi = group_means(per_user, member, level=0.9, draws=30, seed=0)
    for g, name in enumerate(names):
        of = np.ones(6, bool) if g == 0 else groups == int(name)
        for s in range(2):
            values = np.repeat(per_user[s][of], weights[of])
            values = values[~np.isnan(values)]
            expected = values.mean() if len(values) else np.nan
            assert mean[s, g] == pytest.approx(expected, abs=1e-12, nan_ok=True)
            users = (of & (weights > 0) & ~np.isnan(per_user[s])).sum()
            assert np.isnan(lo[s, g]) == np.isnan(hi[s, g])
            if users < 2:
                assert np.isnan(lo[s, g])


def test_draws_resample_users_with_all_they_have():
    rng = np.random.default_rng(0)
    per_user, groups = rng.random((3, 20)), np.arange(20) % 3
    per_user[1, 4] = np.nan
    _, member = group_membership(groups, 20, None)
    drawn = mean_draws(per_user, member, draws=15, seed=7)
    for k, counts in enumerate(resample_counts(20, 15, seed=7).astype(int)):
        for s in range(3):
            for g in range(4):
                of = np.repeat(np.arange(20), counts)
                of = of if g == 0 else of[groups[of] == g - 1]
                expected = np.nanmean(per_user[s, of]) if len(of) else np.nan
                assert drawn[k, s, g] == pytest.approx(expected, abs=1e-6, nan_ok=True)
    _, lo, hi = group_means(per_user, member, level=0.8, draws=15, seed=7)
    users = (~np.isnan(per_user)).astype(int) @ (member > 0)
    np.testing.assert_array_equal([lo, hi], interval(drawn, 0.8, n_users=users))


def test_users_average_over_the_prompts_they_saw():
    np.testing.assert_allclose(user_means(np.array([[1.0, np.nan, 3.0], [np.nan] * 3])), [2, np.nan])
    assert np.isnan(user_means(np.zeros((4, 0)))).all()


def test_table_has_errors_and_ranks_from_the_worst():
    value, people = np.array([0.2, 0.4, 0.9, 0.3]), np.array([1.0, 3, 2, 1])
    table = group_table(("x", "y", "z"), np.array([0, 0, 1, 0]), value, people, np.array([2, 1, 5, 4]))
    crowd = np.repeat(value[[0, 1, 3]], [1, 3, 1])
    assert table["mean"].to_list()[:2] == pytest.approx([crowd.mean(), 0.9])
    assert table["se"][0] == pytest.approx(crowd.std(ddof=1) / np.sqrt(5))
    assert table["rank"].to_list() == [1, 2, None]
    assert table["worst"].to_list() == [True, False, False]
    assert table["n_users"].to_list() == [3, 1, 0]
    assert table["n_sets"].to_list() == [7, 5, 0]
    assert np.isnan(table["mean"][2])


def test_membership_is_checked_and_nobody_has_nothing():
    names, member = group_membership(["b", "a"], 2, [1, 2])
    assert names == ("(all users)", "a", "b")
    np.testing.assert_array_equal(member, [[1, 0, 1], [2, 2, 0]])
    names, member = group_membership([], 0, None)
    assert member.shape == (0, 1)
    assert np.isnan(mean_draws(np.zeros((2, 0)), member, draws=3, seed=0)).all()
    for groups, weights, message in (
        (["a"], None, "1 labels and"),
        (["a", "b"], [1], r"\(1,\) weights for 2"),
        (["a", "b"], [1, np.inf], "weights: row 1 is inf"),
        (["a", None], None, "groups: row 1 has no label"),
    ):
        with pytest.raises(InputError, match=message):
            group_membership(groups, 2, weights)
