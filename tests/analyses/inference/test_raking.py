"""Raking against closed forms, a log-linear model by statsmodels, and direct minimisation of its distance."""

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from plurality.analyses.inference.raking import kish, rake
from plurality.errors import InputError, InputWarning


def people(seed=0, n=300):
    """Users of a lopsided sample with three attributes."""
    rng = np.random.default_rng(seed)
    region = rng.choice(["north", "south", "west"], n, p=[0.6, 0.3, 0.1])
    age = rng.choice(["young", "old"], n, p=[0.7, 0.3])
    sex = np.where(rng.random(n) < np.where(age == "old", 0.7, 0.4), "f", "m")
    return pl.DataFrame({"region": region, "age": age, "sex": sex})


MARGINS = {
    "region": {"north": 0.4, "south": 0.35, "west": 0.25},
    "age": {"young": 0.45, "old": 0.55},
    "sex": {"f": 0.51, "m": 0.49},
}


def share(users, weights, column, level):
    return weights[(users[column] == level).to_numpy()].sum() / weights.sum()


def test_one_margin_is_post_stratification():
    users = pl.DataFrame({"a": ["x"] * 8 + ["y"] * 2})
    raked = rake(users, {"a": {"x": 0.5, "y": 0.5}})
    np.testing.assert_allclose(raked.weights, [0.5 / 0.8] * 8 + [0.5 / 0.2] * 2, atol=1e-12)
    assert raked.ess == pytest.approx(100 / (8 * 0.625**2 + 2 * 2.5**2))
    assert raked.deff == pytest.approx(10 / raked.ess)
    assert raked.converged


def test_two_margins_in_closed_form_keep_the_odds_ratio():
    counts = np.array([[40, 10], [20, 30]])
    users = pl.DataFrame({"a": np.repeat([0, 0, 1, 1], counts.ravel()), "b": np.repeat([0, 1, 0, 1], counts.ravel())})
    row, column = 0.3, 0.55
    raked = rake(users, {"a": {"0": row, "1": 1 - row}, "b": {"0": column, "1": 1 - column}})
    # with x the share of cell (0, 0): x(1 − row − column + x) = θ (row − x)(column − x), θ = 40·30/(10·20)
    theta = 6.0
    a, b, c = 1 - theta, 1 - row - column + theta * (row + column), -theta * row * column
    roots = np.roots([a, b, c])
    x = roots[(roots > 0) & (roots < min(row, column))][0]
    expected = np.array([[x, row - x], [column - x, 1 - row - column + x]]) * 100 / counts
    for cell, weight in np.ndenumerate(expected):
        found = raked.weights[((users["a"] == cell[0]) & (users["b"] == cell[1])).to_numpy()]
        np.testing.assert_allclose(found, weight, atol=1e-8)


def test_independent_margins_multiply():
    users = pl.DataFrame({"a": ["x", "x", "x", "y"] * 3, "b": np.repeat(["p", "p", "q"], 4)})
    raked = rake(users, {"a": {"x": 0.5, "y": 0.5}, "b": {"p": 0.2, "q": 0.8}})
    expected = np.where(users["a"] == "x", 0.5 / 0.75, 0.5 / 0.25) * np.where(users["b"] == "p", 0.2 / (2 / 3), 2.4)
    np.testing.assert_allclose(raked.weights, expected, atol=1e-9)


def test_raking_is_the_log_linear_model_that_statsmodels_fits():
    users = people()
    raked = rake(users, MARGINS)
    cells = users.with_columns(w=raked.weights).group_by("region", "age", "sex").agg(pl.len(), pl.sum("w"))
    # a Poisson model with main effects reproduces the margins of its outcome and keeps the interactions of its offset;
    # any outcome with the margins asked for will do, such as their product over the cells that occur
    assert len(cells) == 12
    target = np.prod([cells[c].replace_strict(MARGINS[c]).to_numpy() for c in MARGINS], axis=0) * len(users)
    design = cells.select(*MARGINS).to_dummies(drop_first=True).to_numpy().astype(float)
    fit = sm.GLM(
        target, sm.add_constant(design), family=sm.families.Poisson(), offset=np.log(cells["len"].to_numpy())
    ).fit(tol=1e-14, maxiter=200)
    np.testing.assert_allclose(cells["w"], fit.fittedvalues, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.floats(0.05, 1), min_size=5, max_size=5))
def test_margins_are_met(seed, parts):
    users = people(seed, 400)
    shares = np.array(parts)
    region, age = shares[:3] / shares[:3].sum(), shares[3:] / shares[3:].sum()
    margins = {
        "region": dict(zip(["north", "south", "west"], region.tolist(), strict=True)),
        "age": dict(zip(["young", "old"], age.tolist(), strict=True)),
        "sex": {"f": 0.6, "m": 0.4},
    }
    design = np.random.default_rng(seed).uniform(0.5, 2, 400)
    raked = rake(users, margins, weights=design)
    assert raked.converged
    assert raked.weights.mean() == pytest.approx(1, abs=1e-12)
    for column, levels in margins.items():
        for level, expected in levels.items():
            assert share(users, raked.weights, column, level) == pytest.approx(expected, abs=1e-9)
    # the order of margins, of users and the scale of the design weights do not matter
    order = np.random.default_rng(seed + 1).permutation(400)
    again = rake(users[order], dict(reversed(margins.items())), weights=7 * design[order])
    np.testing.assert_allclose(again.weights, raked.weights[order], atol=1e-6)


def test_a_weight_is_as_many_users():
    users = people(1, 60)
    times = np.random.default_rng(0).integers(1, 5, 60)
    weighted = rake(users, MARGINS, weights=times)
    rows = rake(users[np.repeat(np.arange(60), times)], MARGINS)
    per_row = weighted.weights / times
    np.testing.assert_allclose(np.repeat(per_row / (per_row @ times / times.sum()), times), rows.weights, atol=1e-7)


def test_the_cap_is_kept_and_is_the_nearest():
    users = people(3, 24)
    margins = {k: MARGINS[k] for k in ("age", "sex")}
    cap = 1.35
    free, capped = rake(users, margins), rake(users, margins, trim=cap)
    assert free.weights.max() > cap
    assert capped.converged
    assert capped.weights.max() <= cap + 1e-8
    assert capped.ess > free.ess
    rows, target = [], []
    for column, levels in margins.items():
        for level, expected in levels.items():
            rows.append((users[column] == level).to_numpy().astype(float))
            target.append(expected * 24)
    found = minimize(
        lambda w: (w * np.log(w) - w).sum(),
        np.ones(24),
        jac=lambda w: np.log(w),
        bounds=[(1e-6, cap)] * 24,
        constraints={
            "type": "eq",
            "fun": lambda w: (np.array(rows) @ w - target)[:3],
            "jac": lambda w: np.array(rows)[:3],
        },
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.success
    np.testing.assert_allclose(capped.weights, found.x, atol=1e-4)


def test_what_cannot_be_met_is_flagged():
    users = pl.DataFrame({"a": ["x", "x", "y"], "b": ["p", "p", "q"]})  # the two columns are one
    with pytest.warns(InputWarning, match=r"a share is off by .*merge thin levels"):
        raked = rake(users, {"a": {"x": 0.5, "y": 0.5}, "b": {"p": 0.3, "q": 0.7}}, iterations=50)
    assert not raked.converged
    assert raked.error > 0.01
    assert np.isfinite(raked.weights).all()
    thin = pl.DataFrame({"a": ["x"] * 95 + ["y"] * 5})
    with pytest.warns(InputWarning, match=r"weights up to 2 may not meet"):
        assert not rake(thin, {"a": {"x": 0.5, "y": 0.5}}, trim=2).converged


def test_a_sample_like_its_population_keeps_equal_weights():
    users = people()
    own = {c: dict(users[c].value_counts(normalize=True).iter_rows()) for c in users.columns}
    raked = rake(users, own)
    np.testing.assert_allclose(raked.weights, 1, atol=1e-12)
    assert raked.ess == pytest.approx(300)
    assert raked.iterations == 1


def test_kish_by_hand():
    assert kish([1, 1, 1, 1]) == 4
    assert kish([3, 1]) == pytest.approx(16 / 10)
    assert kish([5, 0, 0]) == 1
    assert kish([1e-200, 1e-200]) == pytest.approx(2)
    assert np.isnan(kish([]))
    assert np.isnan(kish([0, 0]))
    with pytest.raises(InputError, match=r"row 1 is -1\.0"):
        kish([1, -1])


@pytest.mark.parametrize(
    ("margins", "text"),
    [
        ({"town": {"a": 1.0}}, "town: no such column, found region, age, sex"),
        ({"age": {"young": 0.5}}, r"age: shares add up to 0\.5"),
        ({"age": {"young": 0.5, "old": 0.3, "other": 0.2}}, "age: level 'other' has the share 0.2 and no users"),
        ({"sex": {"f": 1.0}}, "sex: users of level 'm' have no share"),
        ({"sex": {"f": 1.0, "m": 0.0}}, "sex: level 'm' has the share 0 and users"),
        ({"sex": {"f": 1.5, "m": -0.5}}, r"sex: level 'm' has the share -0\.5"),
        ({}, "300 users and 0 margins"),
    ],
)
def test_margins_that_do_not_fit_are_named(margins, text):
    with pytest.raises(InputError, match=text):
        rake(people(), margins)


def test_users_that_do_not_fit_are_named():
    users = pl.DataFrame({"a": ["x", None, "y"]})
    with pytest.raises(InputError, match="a: row 1 is missing"):
        rake(users, {"a": {"x": 0.5, "y": 0.5}})
    users = pl.DataFrame({"a": ["x", "x", "y"]})
    half = {"a": {"x": 0.5, "y": 0.5}}
    with pytest.raises(InputError, match=r"level 'y' .* no users of positive weight"):
        rake(users, half, weights=[1, 1, 0])
    with pytest.raises(InputError, match="weights: row 2 is nan"):
        rake(users, half, weights=[1, 1, np.nan])
    with pytest.raises(InputError, match="weights: all are 0"):
        rake(users, half, weights=[0, 0, 0])
    with pytest.raises(InputError, match=r"shape \(2,\) for 3 users"):
        rake(users, half, weights=[1, 1])
    with pytest.raises(InputError, match="trim: 1; give a cap above 1"):
        rake(users, half, trim=1)
    with pytest.raises(InputError, match="0 users"):
        rake(users.clear(), half)
    # a user without weight stays without, whatever its level
    raked = rake(users, {"a": {"x": 1.0, "y": 0.0}}, weights=[1, 1, 0])
    np.testing.assert_allclose(raked.weights, [1.5, 1.5, 0])
