"""The walk over settings: brute force where it should agree with it, and past the edges of a grid."""

import math

import numpy as np
import pytest

from plurality.fitting.objective import FitPlan
from plurality.fitting.search import BEYOND, descend, vertex, walk, weaker_then_stronger


def bowl(optimum):
    return lambda decay: math.log(decay / optimum) ** 2


@pytest.mark.parametrize("optimum", [0.06, 2.0, 35.0, 2e4])
def test_on_the_grid_it_finds_what_trying_all_finds(optimum):
    grid = FitPlan.decays
    assert descend(bowl(optimum), grid, 20.0) == min(grid, key=bowl(optimum))


@pytest.mark.parametrize("optimum", [1e-4, 3e-3, 3e5, 1e7])
def test_where_the_best_is_beyond_the_grid_it_is_walked_to(optimum):
    found, tried = walk(bowl(optimum), 20.0, weaker_then_stronger(FitPlan.decays, 20.0))
    edge = FitPlan.decays[0] if optimum < 1 else FitPlan.decays[-1]
    assert abs(math.log(found / optimum)) <= math.log(3.4) / 2 < abs(math.log(edge / optimum))
    assert vertex(tried, found) == pytest.approx(optimum, rel=1e-9)  # of a parabola


def test_a_walk_without_end_ends():
    weak, strong = (descend(lambda decay, sign=sign: sign * decay, FitPlan.decays, 20.0) for sign in (1, -1))
    assert weak == pytest.approx(0.06 * (0.06 / 0.2) ** BEYOND)
    assert strong == pytest.approx(2e4 * (2e4 / 6e3) ** BEYOND)


def test_paths_are_monotone_and_a_grid_of_one_is_a_given_setting():
    down, up = weaker_then_stronger(FitPlan.decays, 5.0)
    assert (np.diff(down) < 0).all()
    assert (np.diff(up) > 0).all()
    assert down[0] == 2.0
    assert up[0] == 6.0
    assert weaker_then_stronger((3.0,), 3.0) == ([], [])
