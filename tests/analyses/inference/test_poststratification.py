"""MRP against quadrature, a planted population that the sample is unlike, and tables that do not fit."""

import warnings

import jax
import numpy as np
import polars as pl
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from plurality.analyses.inference import poststratification
from plurality.analyses.inference.poststratification import _groups, _matched, mrp, normal_average
from plurality.errors import InputError, InputWarning

REGION = {"east": 0.8, "island": 0.0, "north": 0.5, "south": -0.9, "west": -0.4}
AGE = {"old": -0.5, "young": 0.5}
SD = 0.8


def population():
    """Cells: most people are old or of the south, few of the island."""
    many = {"east": 100, "island": 10, "north": 100, "south": 300, "west": 100}
    rows = [(r, a, many[r] * (1 + (a == "old"))) for r in REGION for a in AGE]
    return pl.DataFrame(rows, schema=["region", "age", "count"], orient="row")


def sample(seed, users):
    """Users of whom most are young and of the east, and none of the island; wins and n, ties a half, one n of 0."""
    rng = np.random.default_rng(seed)
    region = rng.choice(list(REGION), users, p=[0.4, 0.0, 0.3, 0.1, 0.2])
    age = rng.choice(list(AGE), users, p=[0.2, 0.8])
    eta = 0.4 + np.array([REGION[r] + AGE[a] for r, a in zip(region, age, strict=True)]) + SD * rng.normal(size=users)
    n = np.append(rng.integers(4, 16, users - 1), 0)
    wins = rng.binomial(n, expit(eta)).astype(float)
    wins[0] = np.clip(wins[0], 0.5, n[0] - 0.5) // 1 + 0.5
    return wins, n, pl.DataFrame({"region": region, "age": age})


def truth():
    """The win rate of every cell, its integral by adaptive quadrature."""
    eta = [0.4 + REGION[r] + AGE[a] for r, a, _ in population().iter_rows()]
    return np.array([by_quadrature(e, SD) for e in eta])


def by_quadrature(eta, sd):
    return quad(lambda z: expit(eta + sd * z) * norm.pdf(z), -12, 12, epsabs=1e-13, limit=400)[0]


def of_sample(users, draws):
    wins, n, attributes = sample(0, users)
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - looked at, not drawn from
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # few draws, and another machine's may mix less well
        found = mrp(wins, n, attributes, population(), interactions=[("region", "age")], draws=draws, chains=2)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert not jax.config.read("jax_enable_x64")
    return found


@pytest.fixture(scope="module")
def fitted():
    return of_sample(120, 450)


@pytest.fixture(scope="module")
def few():
    """Few draws, of which only what is not random is asked."""
    return of_sample(120, 40)


def test_the_average_over_people_is_the_integral():
    for sd, error in ((0.0, 1e-15), (0.5, 1e-13), (1.0, 1e-12), (2.0, 1e-9), (3.0, 1e-6), (5.0, 1e-4)):
        eta = np.array([-4.0, -1.0, 0.0, 0.3, 2.0, 5.0])
        expected = [by_quadrature(e, sd) for e in eta]
        np.testing.assert_allclose(normal_average(eta, sd), expected, atol=error)
    # symmetric, ½ at 0, and nearer to ½ than the person in the middle
    np.testing.assert_allclose(normal_average([-1.7, 0.0], 2.5) + normal_average([1.7, 0.0], 2.5), 1, atol=1e-14)
    assert 0.5 < normal_average(1.0, 2.0) < expit(1.0)
    assert normal_average(np.zeros((3, 1)), np.ones((1, 4))).shape == (3, 4)


@pytest.mark.slow
def test_a_lopsided_sample_is_off_and_mrp_covers(fitted):
    cells = population()
    count, theta = cells["count"].to_numpy(), truth()
    overall = fitted.estimates.row(0, named=True)
    expected = count @ theta / count.sum()
    assert overall["attribute"] == "(overall)"
    assert overall["raw"] - expected > 0.12
    assert overall["lo"] <= expected <= overall["hi"]
    assert overall["hi"] - overall["lo"] < 0.2
    assert overall["raw"] > overall["hi"]
    inside = 0
    for row in fitted.estimates.iter_rows(named=True):
        if row["attribute"] in cells.columns:
            member = (cells[row["attribute"]] == row["level"]).to_numpy()
            inside += row["lo"] <= (count * theta)[member].sum() / count[member].sum() <= row["hi"]
    assert inside >= 6  # of seven
    assert abs(fitted.user_sd - SD) < 0.35


def test_users_and_people_are_counted(few):
    attributes = sample(0, 120)[2][:-1]  # the last has no data
    for row in few.estimates.iter_rows(named=True):
        if row["attribute"] == "region":
            assert row["n_users"] == (attributes["region"] == row["level"]).sum()
            assert row["population"] == population().filter(pl.col("region") == row["level"])["count"].sum()
    assert few.cells["population"].sum() == population()["count"].sum()
    assert few.cells["n_users"].sum() == 119
    assert few.estimates["population"][0] == 1830


def test_groups_are_means_of_their_cells_by_people(few):
    cells = few.cells
    overall = np.average(cells["estimate"], weights=cells["population"])
    assert few.estimates["estimate"][0] == pytest.approx(overall, abs=1e-12)
    south = cells.filter(pl.col("level").str.contains("south"))
    expected = np.average(south["estimate"], weights=south["population"])
    found = few.estimates.filter(pl.col("level") == "south")["estimate"][0]
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_draws_mix_and_are_judged_by_their_diagnostics(fitted):
    state = fitted.diagnostics
    assert state["rhat_max"] < 1.1
    assert state["ess_min"] > 40
    assert state["divergences"] <= 3
    good = state["rhat_max"] <= 1.01 and state["ess_min"] >= 200 and state["divergences"] == 0
    assert fitted.reliable == good


@pytest.mark.slow
def test_a_level_without_users_is_as_uncertain_as_the_others_differ(fitted):
    rows = {row["level"]: row for row in fitted.estimates.iter_rows(named=True) if row["attribute"] == "region"}
    assert rows["island"]["n_users"] == 0
    assert np.isnan(rows["island"]["raw"])
    width = {level: row["hi"] - row["lo"] for level, row in rows.items()}
    assert width["island"] > 1.3 * max(width[level] for level in width if level != "island")
    pairs = fitted.estimates.filter(pl.col("attribute") == "region × age")
    assert len(pairs) == 10
    np.testing.assert_allclose(pairs["estimate"].sort(), fitted.cells["estimate"].sort(), atol=1e-12)


def test_draws_become_estimates_by_hand(monkeypatch):
    # two draws of the effects, spelled out; the diagnostics are bad and say so
    found = {
        "mu": np.array([0.0, 1.0]),
        "sd_user": np.array([0.0, 2.0]),
        "effect_0": np.array([[1.0, -1.0], [0.0, 0.5]]),
        "effect_1": np.array([[0.0, 0.2], [0.3, 0.0]]),
    }
    state = {"rhat_max": 1.2, "ess_min": 7.0, "divergences": 3.0}
    monkeypatch.setattr(poststratification, "_sampled", lambda *_: (found, state))
    attributes = pl.DataFrame({"a": ["x", "x", "y", "y"], "user": [1, 2, 1, 1]})
    cells = pl.DataFrame({"a": ["x", "x", "y", "y"], "user": [1, 2, 1, 2], "count": [1, 2, 3, 0]})
    with pytest.warns(InputWarning, match=r"mrp: draws are not .*R-hat up to 1\.200.* size from 7, 3 divergences"):
        result = mrp([2.5, 1, 0, 0], [5, 4, 2, 0], attributes, cells, level=0.5)
    assert not result.reliable
    theta = np.array([expit([1.0, 1.2, -1.0, -0.8]), [by_quadrature(e, 2.0) for e in (1.3, 1.0, 1.8, 1.5)]])
    count = np.array([1, 2, 3, 0])
    row = {(r["attribute"], r["level"]): r for r in result.estimates.iter_rows(named=True)}
    for key, member in {
        ("(overall)", "(all users)"): [1, 1, 1, 1],
        ("a", "x"): [1, 1, 0, 0],
        ("user", "1"): [1, 0, 1, 0],
    }.items():
        drawn = theta @ (count * member) / (count @ member)
        assert row[key]["estimate"] == pytest.approx(drawn.mean(), abs=1e-9)
        assert (row[key]["lo"], row[key]["hi"]) == pytest.approx(tuple(np.quantile(drawn, [0.25, 0.75])), abs=1e-9)
    assert row["(overall)", "(all users)"]["raw"] == pytest.approx((0.5 + 0.25 + 0) / 3)
    assert row["a", "y"]["n_users"] == 1  # the other has no data
    assert row["user", "2"]["population"] == 2
    empty = result.cells.row(3, named=True)  # no people, so no mean of them
    assert np.isnan([empty["raw"], empty["estimate"], empty["lo"]]).all()


def test_cells_are_matched_and_summed():
    attributes = pl.DataFrame({"a": ["x", "y", "x"], "b": [1, 2, 2]})
    cells = pl.DataFrame({"b": [2, 1, 2, 2], "a": ["x", "x", "y", "x"], "count": [1, 2, 3, 4]})
    table, count, at = _matched(attributes, cells)
    assert table.rows() == [("x", "1"), ("x", "2"), ("y", "2")]
    assert count.tolist() == [2, 5, 3]
    assert at.tolist() == [0, 2, 1]
    names, member = _groups(table, [("a", "b")])
    assert names[1:] == [("a", "x"), ("a", "y"), ("b", "1"), ("b", "2")] + [
        ("a × b", level) for level in ("x × 1", "x × 2", "y × 2")
    ]
    np.testing.assert_array_equal(count @ member, [10, 7, 3, 2, 8, 2, 5, 3])


ONE = pl.DataFrame({"a": ["x", "y"]})
CELLS = pl.DataFrame({"a": ["x", "y"], "count": [1, 1]})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([3, 1], [2, 2], ONE, CELLS), r"wins: row 0 has 3\.0 of 2\.0"),
        (([1, np.nan], [2, 2], ONE, CELLS), "wins: row 1"),
        (([0, 0], [0, 0], ONE, CELLS), "n: nobody has a comparison"),
        (([1], [2], ONE, CELLS), r"\(1,\) wins, \(1,\) n, 2 users"),
        (([1, 1], [2, 2], pl.DataFrame({"a": ["x", "z"]}), CELLS), r"attributes: row 1 \(z\) is in no cell"),
        (([1, 1], [2, 2], pl.DataFrame({"a": ["x", None]}), CELLS), "attributes: row 1 lacks a"),
        (([1, 1], [2, 2], ONE, CELLS.rename({"count": "n"})), r"cells: columns a, n; give the attributes \(a\)"),
        (([1, 1], [2, 2], ONE, CELLS.with_columns(count=pl.lit(-1))), r"cells: row 0 has the count -1\.0"),
        (([1, 1], [2, 2], ONE, CELLS.with_columns(count=pl.lit(0))), "nobody lives there"),
    ],
)
def test_tables_that_do_not_fit_are_named(arguments, text):
    with pytest.raises(InputError, match=text):
        mrp(*arguments)


def test_bad_settings_are_named():
    for pairs in ([("a", "a")], [("a", "b")]):
        with pytest.raises(InputError, match=r"interactions: .*give pairs of a, each once"):
            mrp([1, 1], [2, 2], ONE, CELLS, interactions=pairs)
    with pytest.raises(InputError, match="1 chains"):
        mrp([1, 1], [2, 2], ONE, CELLS, chains=1)
    with pytest.raises(InputError, match="level 95"):
        mrp([1, 1], [2, 2], ONE, CELLS, level=95)
