"""Words and the numbers beside them never contradict one another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurality.analyses.inference.bootstrap import interval
from plurality.analyses.wording import ALPHA, FAINT, beyond_chance, correlated, direction, gain, leaning, named, p_value

NUMBER = st.floats(-1, 1) | st.just(0.0)
ENDS = st.tuples(NUMBER, NUMBER).map(lambda ends: (min(ends), max(ends)))
PROBABILITY = st.floats(0, 1) | st.floats(0.0495, 0.0505)


def points(value):
    return f"{100 * value:.1f} points"


@given(ENDS)
def test_a_gain_is_claimed_only_above_zero(ends):
    said = gain([ends], points)
    lo, hi = ends
    assert (said == "a gain") == (lo > 0)
    assert (said == "a loss") == (hi < 0)
    if lo <= 0 <= hi:
        assert said.startswith("no gain shown")
        assert (points(hi) in said) == (hi > 0)


@given(ENDS, ENDS)
def test_two_measures_that_disagree_are_no_gain(first, second):
    said = gain([first, second], points)
    ways = {direction(*first), direction(*second)}
    assert (said == "a gain in one and a loss in the other") == ({1, -1} <= ways)
    assert ("a gain" in said) == (1 in ways)
    assert ("loss" in said) == (-1 in ways)


@given(st.floats(-1, 1), ENDS)
def test_a_side_is_picked_only_where_the_interval_is_on_it(estimate, ends):
    said = leaning(*ends, "more", "less", "neither")
    assert said == ("more" if ends[0] > 0 else "less" if ends[1] < 0 else "neither")


@pytest.mark.parametrize("ends", [(0.0, 0.0), (None, None), (float("nan"), float("nan")), (-0.1, 0.0)])
def test_a_gap_of_zero_has_no_side(ends):
    assert leaning(*ends, "more", "less", "neither") == "neither"


@given(PROBABILITY)
def test_a_p_value_reads_as_its_words_say(p):
    text = p_value(p, "")
    shown = 0.001 if text.startswith("≤") else float(text)
    assert (shown < ALPHA) == (p < ALPHA) or abs(p - ALPHA) < 1e-8
    assert beyond_chance(p) == ("beyond chance" if p < ALPHA else "not shown to be beyond chance")


def test_unknown_is_said_to_be_unknown():
    assert gain([(float("nan"), float("nan"))], points) == "no gain can be shown"
    assert beyond_chance(None) == beyond_chance(float("nan")) == "not tested"
    assert p_value(None) == "p unknown"


@given(st.floats(0, 2), st.integers(0, 1000))
def test_an_interval_holds_its_estimate(estimate, seed):
    draws = np.random.default_rng(seed).gamma(4, 0.5, (50, 1))  # a range, which no resample makes small
    lo, hi = interval(draws, n_users=30, estimate=[estimate])
    assert lo[0] <= estimate <= hi[0]
    assert lo[0] < hi[0]


@given(PROBABILITY, ENDS, NUMBER)
def test_what_is_named_is_beyond_chance_and_not_faint(p, ends, r):
    assert named(p) == (beyond_chance(p) == "beyond chance")
    assert correlated(r, *ends, p) == (named(p) and abs(r) >= FAINT and not ends[0] <= 0 <= ends[1])
    assert not any(named(unknown) for unknown in (None, np.nan))
    assert not correlated(1.0, np.nan, np.nan, 0.001)
