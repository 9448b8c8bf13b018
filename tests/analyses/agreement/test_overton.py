"""Overton coverage by hand, by brute force over cells, and the coverage of its interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plurality.analyses.agreement.overton_coverage import overton
from plurality.errors import InputError


def test_overton_coverage_by_hand():
    # cell "left" (2 people) accepts r1, "right" (1) accepts neither, "other prompt" (1) accepts its one response
    user = ["a", "b", "a", "b", "c", "c", "a"]
    cell = ["left"] * 4 + ["right"] * 2 + ["other"]
    response = ["r1", "r1", "r2", "r2", "r1", "r2", "r3"]
    accepts = np.array([1, 0, 0, 0, 0, 0.4, 1])
    found = overton(user, cell, response, accepts)
    assert (found.coverage, found.unweighted, found.n_cells, found.n_users) == (3 / 4, 2 / 3, 3, 3)
    assert overton(user, cell, response, accepts, threshold=0.6).coverage == pytest.approx(1 / 4)
    assert overton(user, cell, response, accepts, threshold=0.4).coverage == 1
    weighted = overton(user, cell, response, accepts, weights=[3, 1, 3, 1, 1, 1, 3], threshold=0.6)
    assert weighted.coverage == pytest.approx((4 + 3) / 8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_overton_is_brute_force_and_a_weight_is_as_many_rows(seed):
    rng = np.random.default_rng(seed)
    n = 60
    user, cell, response = rng.integers(0, 12, n), rng.integers(0, 5, n), rng.integers(0, 3, n)
    accepts, times = rng.integers(0, 2, n), rng.integers(0, 4, n)
    found = overton(user, cell, response, accepts, weights=times, n_bootstrap=20)
    covered = mass = 0.0
    for c in np.unique(cell[times > 0]):
        held = [(times * ((cell == c) & (response == r))) for r in range(3)]
        best = max((w @ accepts / w.sum() for w in held if w.sum()), default=0)
        # each person by the most rows on one response
        most = sum(max(w[user == u].sum() for w in held) for u in range(12))
        covered, mass = covered + most * (best >= 0.5), mass + most
    assert found.coverage == pytest.approx(covered / mass)
    again = (np.repeat(x, times) for x in (user, cell, response, accepts))
    assert overton(*again, n_bootstrap=20).coverage == pytest.approx(found.coverage)
    assert found.lo <= found.hi


def test_the_interval_of_coverage_covers_where_people_are_many():
    # acceptance is far from the threshold, so that coverage is the share of people whose view is served
    hits, trials = 0, 150
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        view = rng.choice(5, 100, p=[0.3, 0.25, 0.2, 0.15, 0.1])
        accepts = rng.random(100) < np.where(view < 2, 0.95, 0.05)
        found = overton(np.arange(100), view, np.zeros(100), accepts, n_bootstrap=200, seed=seed)
        hits += found.lo <= 0.55 <= found.hi
    assert 0.88 <= hits / trials <= 0.99


def test_overton_of_nothing_is_nan_and_bad_rows_are_named():
    nothing = overton([], [], [], [])
    assert np.isnan(nothing.coverage)
    assert np.isnan(overton([0], [0], [0], [1], weights=[0]).coverage)
    one = overton([0], [0], [0], [1], n_bootstrap=20)
    assert one.coverage == 1
    assert np.isnan(one.lo)
    for threshold in (0, 1.5, np.nan):
        with pytest.raises(InputError, match="threshold"):
            overton([0], [0], [0], [1], threshold=threshold)
    with pytest.raises(InputError, match=r"row \[1\] is not in \[0, 1\]"):
        overton([0, 1], [0, 0], [0, 0], [1, 5])
    with pytest.raises(InputError, match="align the rows"):
        overton([0], [0, 0], [0, 0], [1, 1])


def test_a_cell_counts_by_its_people_whichever_responses_they_judge():
    # three people of "left" each judge a response of their own, of which one is liked; "right" is one person
    found = overton([0, 1, 2, 3], ["left"] * 3 + ["right"], ["x", "y", "z", "x"], [1, 0, 0, 0], n_bootstrap=20)
    assert (found.coverage, found.unweighted) == (3 / 4, 1 / 2)
    # names do not matter, nor do rows without weight, nor their users for the interval
    again = overton(
        list("bcda" * 2), list("ppqr" * 2), list("zyxz" * 2), [0] * 8, weights=[1, 1, 1, 1, 0, 0, 0, 0], n_bootstrap=20
    )
    assert (again.coverage, again.n_cells, again.n_users) == (0, 3, 4)
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, k, 200) for k in (30, 6, 3, 2)]
    more = [np.append(x, [40, 9, 7, 1][i]) for i, x in enumerate(rows)]
    first = overton(*rows, n_bootstrap=50)
    assert first == overton(*more, weights=np.append(np.ones(200), 0), n_bootstrap=50)
    assert first.coverage == overton(-rows[0], 5 - rows[1], 7 - rows[2], rows[3], n_bootstrap=20).coverage
