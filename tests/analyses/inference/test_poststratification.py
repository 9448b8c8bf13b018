"""MRP against quadrature, a planted population that the sample is unlike, and tables that do not fit."""

import jax
import numpy as np
import polars as pl
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from plurality.analyses.inference import poststratification
from plurality.analyses.inference.laplace_draws import Multilevel, laplace_draws, smoothed
from plurality.analyses.inference.nuts_draws import nuts_draws
from plurality.analyses.inference.poststratification import (
    PRECISION,
    _columns,
    _groups,
    _matched,
    _multilevel,
    _terms,
    mrp,
    normal_average,
)
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


@pytest.fixture(scope="module")
def fitted():
    wins, n, attributes = sample(0, 120)
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - looked at, not drawn from
    found = mrp(wins, n, attributes, population(), interactions=[("region", "age")])
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    return found


def test_the_average_over_people_is_the_integral():
    for sd, error in ((0.0, 1e-15), (0.5, 1e-13), (1.0, 1e-12), (2.0, 1e-9), (3.0, 1e-6), (5.0, 1e-4)):
        eta = np.array([-4.0, -1.0, 0.0, 0.3, 2.0, 5.0])
        expected = [by_quadrature(e, sd) for e in eta]
        np.testing.assert_allclose(normal_average(eta, sd), expected, atol=error)
    # symmetric, ½ at 0, and nearer to ½ than the person in the middle
    np.testing.assert_allclose(normal_average([-1.7, 0.0], 2.5) + normal_average([1.7, 0.0], 2.5), 1, atol=1e-14)
    assert 0.5 < normal_average(1.0, 2.0) < expit(1.0)
    assert normal_average(np.zeros((3, 1)), np.ones((1, 4))).shape == (3, 4)


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


def test_users_and_people_are_counted(fitted):
    attributes = sample(0, 120)[2][:-1]  # the last has no data
    for row in fitted.estimates.iter_rows(named=True):
        if row["attribute"] == "region":
            assert row["n_users"] == (attributes["region"] == row["level"]).sum()
            assert row["population"] == population().filter(pl.col("region") == row["level"])["count"].sum()
    assert fitted.cells["population"].sum() == population()["count"].sum()
    assert fitted.cells["n_users"].sum() == 119
    assert fitted.estimates["population"][0] == 1830


def test_groups_are_means_of_their_cells_by_people(fitted):
    cells = fitted.cells
    overall = np.average(cells["estimate"], weights=cells["population"])
    assert fitted.estimates["estimate"][0] == pytest.approx(overall, abs=1e-12)
    south = cells.filter(pl.col("level").str.contains("south"))
    expected = np.average(south["estimate"], weights=south["population"])
    found = fitted.estimates.filter(pl.col("level") == "south")["estimate"][0]
    assert found == pytest.approx(expected, abs=1e-12)


def test_weights_of_draws_are_even_enough(fitted):
    assert fitted.reliable
    assert fitted.diagnostics["pareto_k"] < 0.7
    assert fitted.diagnostics["ess"] > 400


def small(users, seed):
    """A dozen people of two regions, as the sampler is given them."""
    rng = np.random.default_rng(seed)
    n = rng.integers(3, 30, users)
    region = np.arange(users) % 2
    design = np.hstack([np.ones((users, 1)), np.eye(2)[region]])
    return Multilevel(rng.binomial(n, 0.7).astype(float), n.astype(float), np.ones(users), design, np.array([-1, 0, 0]))


def test_draws_of_an_intercept_are_those_of_the_integral():
    """Without attributes: μ and the users' standard deviation on a grid, choices by quadrature of their own."""
    wins, n = np.array([3.0, 9.0, 5.0, 1.0]), np.array([4.0, 10.0, 9.0, 6.0])
    data = Multilevel(wins, n, np.array([1.0, 2.0, 1.0, 3.0]), np.ones((4, 1)), np.array([-1]))
    effects, sd, _ = laplace_draws(data, 1.5**-2, 8000, 0)
    mu, s = np.linspace(-5, 5, 201), np.linspace(1e-3, 4, 160)
    node, weight = np.polynomial.hermite_e.hermegauss(64)
    rate = expit(mu[:, None, None] + s[:, None] * node)
    log_density = norm.logpdf(mu, 0, 1.5)[:, None] + norm.logpdf(s)
    for k, m, people in zip(wins, n, data.people, strict=True):
        log_density += people * np.log((rate**k * (1 - rate) ** (m - k)) @ weight)
    mass = np.exp(log_density - log_density.max())
    mass /= mass.sum()
    for drawn, value, share in ((effects[:, 0], mu, mass.sum(axis=1)), (sd[:, 0], s, mass.sum(axis=0))):
        mean = value @ share
        deviation = np.sqrt((value - mean) ** 2 @ share)
        assert drawn.mean() == pytest.approx(mean, abs=0.05 * deviation)
        assert drawn.std() == pytest.approx(deviation, rel=0.05)
        grid = np.quantile(drawn, [0.05, 0.5, 0.95])
        assert np.interp(grid, value, np.cumsum(share) - share / 2) == pytest.approx([0.05, 0.5, 0.95], abs=0.015)


def test_people_who_are_alike_are_counted_and_order_is_nothing():
    data = small(12, 3)
    twice = Multilevel(
        *(np.concatenate([part] * 2) for part in (data.wins, data.n, data.people, data.design)), data.term
    )
    counted = Multilevel(data.wins, data.n, 2 * data.people, data.design, data.term)
    np.testing.assert_allclose(laplace_draws(twice, 0.4, 200, 0)[0], laplace_draws(counted, 0.4, 200, 0)[0], atol=1e-8)


def test_weights_of_a_pareto_tail_have_its_shape():
    rng = np.random.default_rng(0)
    for k in (0.3, 0.9):
        weight = rng.pareto(1 / k, 20_000) + 1
        log_weight, found = smoothed(np.log(weight))
        assert found == pytest.approx(k, abs=0.15)
        assert len(log_weight) == 20_000
        assert log_weight.max() <= 0
    assert smoothed(np.zeros(100))[1] == -np.inf


@pytest.mark.slow
def test_both_samplers_draw_from_one_posterior():
    """Importance sampling beside long chains of NUTS, on the sample of 120 with interactions."""
    wins, n, attributes = sample(0, 120)
    table, _, at = _matched(attributes, population())
    terms = _terms(table, at, [("region", "age")])
    data = _multilevel(wins, np.asarray(n, float), terms)
    effects, sd, _ = laplace_draws(data, PRECISION, 6000, 1)
    chained, chained_sd, state = nuts_draws(data, PRECISION, 4000, 1)
    assert state["rhat_max"] < 1.02
    assert not jax.config.read("jax_enable_x64")
    cells = _columns(terms.levels, terms.of_cell)
    for one, other in ((effects @ cells.T, chained @ cells.T), (sd, chained_sd)):
        deviation = other.std(axis=0)
        assert np.abs(one.mean(axis=0) - other.mean(axis=0)).max() < 0.12 * deviation.min() + 0.06 * deviation.max()
        np.testing.assert_allclose(one.std(axis=0), deviation, rtol=0.12)
        for q in (0.025, 0.975):
            off = np.quantile(one, q, axis=0) - np.quantile(other, q, axis=0)
            assert (np.abs(off) < 0.35 * deviation).all()


def test_chains_are_drawn_where_weights_are_few(monkeypatch):
    bad = {"pareto_k": 0.9, "ess": 12.0, "draws": 100.0}
    chained = {"rhat_max": 1.0, "ess_min": 900.0, "divergences": 0.0}
    monkeypatch.setattr(poststratification, "laplace_draws", lambda *_: (None, None, bad))
    for change, sure in (
        ({}, True),
        ({"rhat_max": 1.2}, False),
        ({"ess_min": 9.0}, False),
        ({"divergences": 1.0}, False),
    ):
        monkeypatch.setattr(poststratification, "nuts_draws", lambda *_, c=change: ("effects", "sd", chained | c))
        assert poststratification._drawn(small(12, 0), 160, 0) == ("effects", "sd", chained | change, sure)


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
    effects = np.array([[0.0, 1.0, -1.0, 0.0, 0.2], [1.0, 0.0, 0.5, 0.3, 0.0]])
    state = {"rhat_max": 1.2, "ess_min": 7.0, "divergences": 3.0}
    monkeypatch.setattr(poststratification, "_drawn", lambda *_: (effects, np.array([[0.0], [2.0]]), state, False))
    attributes = pl.DataFrame({"a": ["x", "x", "y", "y"], "user": [1, 2, 1, 1]})
    cells = pl.DataFrame({"a": ["x", "x", "y", "y"], "user": [1, 2, 1, 2], "count": [1, 2, 3, 0]})
    with pytest.warns(InputWarning, match=r"mrp: draws are not .*rhat_max 1\.2, ess_min 7, divergences 3"):
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
    with pytest.raises(InputError, match="9 draws"):
        mrp([1, 1], [2, 2], ONE, CELLS, draws=9)
    with pytest.raises(InputError, match="level 95"):
        mrp([1, 1], [2, 2], ONE, CELLS, level=95)
