"""Axes are what moves utilities, whatever the code they are written in."""

import numpy as np
import pytest

from plurality.analyses.explaining import code_axes
from plurality.errors import InputError


@pytest.fixture
def world():
    rng = np.random.default_rng(0)
    prompt = np.sort(rng.integers(0, 25, 150))
    return rng.standard_normal((80, 3)) * [2, 1, 0.5] + 3, rng.standard_normal((3, 150)), prompt


def deviations(codes, values, prompt):
    """Utilities less those of the mean user, and less the mean of the item's prompt, by loops."""
    u = (codes - codes.mean(0)) @ values
    for q in np.unique(prompt):
        u[:, prompt == q] -= u[:, prompt == q].mean(1, keepdims=True)
    return u


@pytest.mark.parametrize("turned", [False, True])
def test_they_make_all_that_differs(world, turned):
    axes = code_axes(*world, turned=turned)
    u = deviations(*world)
    np.testing.assert_allclose(axes.position @ axes.value, u, atol=1e-10)
    np.testing.assert_allclose(axes.position.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(axes.position.std(0), 1)
    if turned:
        assert np.sum(axes.movement**2) == pytest.approx((u**2).mean())


def test_principal_axes_are_singular_vectors(world):
    axes = code_axes(*world, turned=True)
    singular = np.linalg.svd(deviations(*world), compute_uv=False)[:3]
    np.testing.assert_allclose(axes.movement, singular / np.sqrt(80 * 150))
    np.testing.assert_allclose(axes.position.T @ axes.position / 80, np.eye(3), atol=1e-10)
    across = axes.value @ axes.value.T
    np.testing.assert_allclose(across, np.diag(np.diag(across)), atol=1e-9)


def test_a_turned_code_has_the_same_axes_and_units_do_not_matter(world):
    codes, values, prompt = world
    turn = np.random.default_rng(1).standard_normal((3, 3))
    a, b = code_axes(*world, turned=True), code_axes(codes @ turn, np.linalg.inv(turn) @ values, prompt, turned=True)
    np.testing.assert_allclose(b.position, a.position, atol=1e-8)
    np.testing.assert_allclose(b.value, a.value, atol=1e-8)
    scale = np.array([10.0, 0.1, 3.0])
    c = code_axes(codes * scale, values / scale[:, None], prompt, turned=False)
    np.testing.assert_allclose(c.value, code_axes(*world, turned=False).value, atol=1e-10)


def test_what_nobody_differs_in_moves_nothing(world):
    codes, values, prompt = world
    codes[:, 1] = 2.0
    for turned in (False, True):
        axes = code_axes(codes, values, prompt, turned=turned)
        still = 2 if turned else 1
        assert axes.movement[still] == pytest.approx(0, abs=1e-9)
        np.testing.assert_allclose(axes.position @ axes.value, deviations(codes, values, prompt), atol=1e-9)
    with pytest.raises(InputError, match="two users or more"):
        code_axes(codes[:1], values, prompt, turned=True)
