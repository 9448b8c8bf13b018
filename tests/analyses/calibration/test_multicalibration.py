"""Multicalibration against values of MCGrad, the single-slice functions, brute force and simulation."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plurality.analyses.audit.slices import slices
from plurality.analyses.calibration.calibration import debiased_l2, kuiper, reliability
from plurality.analyses.calibration.multicalibration_error import (
    multicalibration,
    segments_of_attributes,
    segments_of_matrix,
    segments_of_slices,
)
from plurality.errors import InputError


def simulate(users=60, rows=20, slope=1.0, seed=0, bad=None, own=0.0):
    """Probabilities, labels, users and their attributes; labels of users in the region `bad` are coin flips."""
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(users), rows)
    people = pl.DataFrame({"region": rng.choice(list("nesw"), users), "age": rng.choice(["old", "young"], users)})
    gap = rng.normal(0, 1.5, users * rows)
    true = slope * gap + own * rng.normal(size=users)[code] * np.sign(gap)
    true = np.where((people["region"].to_numpy() == bad)[code], 0.0, true)
    y = (rng.random(users * rows) < 1 / (1 + np.exp(-true))).astype(float)
    return 1 / (1 + np.exp(-gap)), y, code, people


# of mcgrad 0.1.5, MulticalibrationError on simulate(slope=0.6): max_depth=order, min_samples_per_segment=1,
# max_n_segments=None, precision_dtype="float64". The overall error and the largest one in deviations; then how many
# segments, and the least, median, greatest, sum and sum of squares of their errors, plain and in deviations.
MCGRAD = (0.06408989570941433, 5.253928093916469)
MCGRAD_SEGMENTS = {
    1: (
        10,
        (0.04614412180758228, 0.06798553028327436, 0.09560558157986807, 0.690817723213937, 0.04985530836789088),
        (2.3091759374143384, 3.010719001253622, 5.253928093916469, 34.36514145105058, 127.97013341771213),
    ),
    2: (
        36,
        (0.03563548453528509, 0.08144347530644017, 0.14624281532683528, 3.127627241699367, 0.2991165724649583),
        (0.9373920640348935, 2.7857508491070107, 5.253928093916469, 100.09644055642761, 308.42610840131505),
    ),
    3: (
        60,
        (0.03563548453528509, 0.0941226189634119, 0.23206298248654897, 5.878177319098008, 0.6598641982204039),
        (0.9025123679022892, 2.3905028607931484, 5.253928093916469, 146.06412987268448, 413.1831622005377),
    ),
}


@pytest.mark.parametrize("order", [1, 2, 3])
def test_errors_are_those_of_mcgrad(order):
    p, y, code, people = simulate(slope=0.6)
    rows = people[code].with_columns(topic=pl.Series(np.random.default_rng(1).choice(["x", "y", "z"], len(p))))
    found = multicalibration(p, y, segments_of_attributes(rows, order), orientation="presented", draws=2)
    table, (error, ratio) = found.segments, MCGRAD
    assert [found.mce, table["statistic"][0]] == pytest.approx([error, error], abs=1e-12)
    assert [found.mce_sigma, table["ratio"][0]] == pytest.approx([ratio, ratio], abs=1e-11)
    count, *expected = MCGRAD_SEGMENTS[order]
    for column, sums in zip(("statistic", "ratio"), expected, strict=True):
        values = table[column].to_numpy()
        assert len(values) == count
        ours = (values.min(), np.median(values), values.max(), values.sum(), (values**2).sum())
        assert ours == pytest.approx(sums, rel=1e-11)


@pytest.mark.parametrize("orientation", ["folded", "presented"])
@pytest.mark.parametrize("mass", ["width", "equal"])
def test_each_segment_is_what_the_single_functions_say(orientation, mass):
    p, y, code, people = simulate(slope=0.6)
    p[:40] = np.round(p[:40], 1)
    w = np.random.default_rng(2).integers(0, 4, len(p)).astype(float)
    segments = segments_of_slices(slices(people, 60), code)
    kind = {"orientation": orientation, "weights": w}
    found = multicalibration(p, y, segments, bins=4, mass="width", draws=2, **kind)
    for s, rows in enumerate(segments.rows):
        one = kuiper(p[rows], y[rows], orientation=orientation, weights=w[rows])
        row = found.segments.row(s, named=True)
        assert (row["statistic"], row["sigma"]) == pytest.approx((one.statistic, one.sigma), abs=1e-14)
        assert (row["ratio"], row["p_value"]) == pytest.approx((one.ratio, one.p_value), abs=1e-10)
        l2 = debiased_l2(p[rows], y[rows], bins=4, orientation=orientation, weights=w[rows])
        assert row["l2"] == pytest.approx(l2, abs=1e-14)
        curve = reliability(p[rows], y[rows], bins=4, mass="width", draws=2, orientation=orientation, weights=w[rows])
        cells = found.cells[4 * s : 4 * s + 4].filter(pl.col("weight") > 0)
        for column in ("left", "right", "weight", "predicted", "observed"):
            np.testing.assert_allclose(cells[column], curve[column], atol=1e-12)
    shared = multicalibration(p, y, segments, bins=4, mass=mass, draws=2, **kind)
    assert shared.cells["left"].n_unique() <= 4  # the bins are those of all comparisons


def test_conventions_by_brute_force():
    p, y, code, people = simulate(slope=0.5)
    segments = segments_of_slices(slices(people, 60), code)
    found = multicalibration(p, y, segments, least_mass=0.02, draws=2)
    c, z = np.maximum(p, 1 - p), np.where(p > 0.5, y, 1 - y)
    mass, conditional, l2 = [], [], []
    for rows in segments.rows:
        cells = [rows[(c[rows] > a / 10) & (c[rows] <= a / 10 + 0.1)] for a in (5, 6, 7, 8, 9)]
        gaps = np.array([z[cell].mean() - c[cell].mean() if len(cell) else 0 for cell in cells])
        share = np.array([len(cell) for cell in cells]) / len(p)
        mass.append(np.abs(share * gaps).max())
        conditional.append(np.abs(gaps[share >= 0.02]).max() if (share >= 0.02).any() else np.nan)
        l2.append((share * gaps**2).sum() / share.sum())
    np.testing.assert_allclose(found.segments["alpha_mass"], mass, atol=1e-14)
    np.testing.assert_allclose(found.segments["alpha_conditional"], conditional, atol=1e-14)
    np.testing.assert_allclose(found.segments["l2_plugin"], l2, atol=1e-14)
    assert found.alpha_mass == pytest.approx(max(mass))
    assert found.alpha_conditional == pytest.approx(np.nanmax(conditional))
    total = (mass[0], found.segments["n"][0], found.segments["n_users"][0])
    assert total == (pytest.approx(found.alpha_mass), 1200, 0)


def test_cell_errors_are_those_of_users():
    p, y, code, people = simulate(own=1.0)
    segments = segments_of_slices(slices(people, 60), code)
    found = multicalibration(p, y, segments, users=code, draws=2)
    c, z = np.maximum(p, 1 - p), np.where(p > 0.5, y, 1 - y)
    for s in (0, 2):
        rows = segments.rows[s]
        rows = rows[(c[rows] > 0.8) & (c[rows] <= 0.9)]
        gap = (z - c)[rows].mean()
        own = [((z - c)[rows][code[rows] == u] - gap).sum() for u in np.unique(code[rows])]
        cell = found.cells.row(5 * s + 3, named=True)
        assert cell["gap"] == pytest.approx(gap, abs=1e-14)
        assert cell["error"] == pytest.approx(np.std(own, ddof=1) * np.sqrt(len(own)) / len(rows), rel=1e-10)
        assert cell["sigma"] == pytest.approx(np.sqrt((c * (1 - c))[rows].sum()) / len(rows), rel=1e-10)
        assert cell["in_error"] == pytest.approx(cell["gap"] / cell["error"])
        assert cell["in_sigma"] == pytest.approx(cell["gap"] / cell["sigma"])
    by_rows = multicalibration(p, y, segments, draws=2).cells
    np.testing.assert_allclose(by_rows["error"], by_rows["sigma"])
    assert (found.cells["error"] / found.cells["sigma"]).mean() > 1.1


def test_three_ways_to_name_the_same_segments():
    p, y, code, people = simulate(slope=0.7)
    of_slices = segments_of_slices(slices(people, 60), code)
    crossed = segments_of_attributes(people[code], 2)
    assert of_slices.level == crossed.level
    assert of_slices.attribute == crossed.attribute
    for rows, others in zip(of_slices.rows, crossed.rows, strict=True):
        np.testing.assert_array_equal(rows, others)
    members = np.stack([np.isin(np.arange(len(p)), rows) for rows in of_slices.rows[1:]], axis=1)
    matrix = segments_of_matrix(members, of_slices.level[1:])
    assert matrix.level == of_slices.level
    found, other = (multicalibration(p, y, s, users=code, draws=20) for s in (of_slices, matrix))
    assert found.segments.drop("attribute").equals(other.segments.drop("attribute"))
    three = segments_of_attributes(people[code].with_columns(x=pl.lit("a")), 3)
    assert "region × age × x" in three.attribute
    assert sum(len(r) for a, r in zip(three.attribute, three.rows, strict=True) if a == "region × age × x") == len(p)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(3, 20).flatmap(
        lambda n: st.tuples(
            arrays(float, n, elements=st.sampled_from([0.0, 0.13, 0.3, 0.5, 0.55, 0.7, 0.92, 1.0])),
            arrays(float, n, elements=st.sampled_from([0.0, 0.5, 1.0])),
            arrays(int, n, elements=st.integers(0, 3)),
            arrays(bool, (n, 3)),
            arrays(bool, n),
        )
    )
)
def test_weights_are_rows_and_sides_and_order_do_not_matter(data):
    p, y, times, members, swap = data
    users = np.arange(len(p)) % 4
    found = multicalibration(p, y, segments_of_matrix(members), weights=times, users=users, draws=9)
    r = np.repeat(np.arange(len(p)), times)
    rows = multicalibration(p[r], y[r], segments_of_matrix(members[r]), users=users[r], draws=9)
    q, z = np.where(swap, 1 - p, p), np.where(swap, 1 - y, y)
    other = multicalibration(
        q[::-1], z[::-1], segments_of_matrix(members[::-1]), weights=times[::-1], users=users[::-1], draws=9
    )
    for one in (rows, other):
        for name in ("cells", "segments"):
            same, expected = getattr(one, name), getattr(found, name)
            for column in expected.columns:
                if expected[column].dtype == pl.Float64:
                    np.testing.assert_allclose(same[column], expected[column], atol=1e-9, err_msg=column)
        assert one.mce == pytest.approx(found.mce, abs=1e-9, nan_ok=True)


def test_a_cell_of_one_user_has_no_error_between_users():
    # 2·.3 and 3·.3 round so that the one user's residual differs from the cell's by a unit in the last place
    p, weights, users = np.array([0.3, 0.0, 0.0, 0.0, 0.3]), np.array([2, 3, 3, 3, 3]), np.array([0, 1, 2, 3, 0])
    found = multicalibration(
        p, np.ones(5), segments_of_matrix(np.zeros((5, 0), bool)), weights=weights, users=users, draws=9
    )
    assert found.cells.filter(pl.col("left").is_between(0.55, 0.75) & (pl.col("weight") > 0))["error"].is_nan().all()


def test_a_bad_slice_is_found_among_many():
    p, y, code, people = simulate(users=200, bad="s")
    found = multicalibration(p, y, segments_of_slices(slices(people, 200), code), users=code, draws=200)
    worst = found.segments.row(found.worst, named=True)
    assert worst["level"].startswith("s")
    assert worst["p_adjusted"] < 0.02
    assert found.p_value < 0.02
    assert found.mce_sigma > 3 * found.null_mean
    assert found.mce == pytest.approx(found.mce_sigma * found.segments["sigma"][0])
    others = found.segments.filter(~pl.col("level").str.contains("s|all|old|young"))
    assert (others["p_adjusted"] > 0.05).all()
    heat = found.cells.filter(pl.col("level") == "s").sort("left")["in_sigma"]
    assert heat[4] < heat[1] < 0  # the surer, the wronger


def test_one_segment_has_the_null_of_kuiper():
    p, y, code, _ = simulate(slope=0.8, own=0.5)
    everybody = segments_of_matrix(np.zeros((len(p), 0), bool))
    found = multicalibration(p, y, everybody, users=code, draws=1000)
    one = kuiper(p, y, users=code, draws=1000)
    assert found.p_value == one.p_value
    assert found.null_mean == pytest.approx(one.null_mean, abs=1e-10)
    assert multicalibration(p, y, everybody, draws=2000).null_mean == pytest.approx(1.596, abs=0.12)


def test_label_null_by_brute_force():
    p, _, code, people = simulate(users=30, rows=10)
    segments = segments_of_slices(slices(people, 30), code)
    rng = np.random.default_rng(4)
    largest = []
    for _ in range(200):
        y = (rng.random(len(p)) < p).astype(float)
        largest.append(max(kuiper(p[rows], y[rows]).ratio for rows in segments.rows))
    found = multicalibration(p, np.round(p), segments, draws=1000)
    assert found.null_mean == pytest.approx(np.mean(largest), abs=4 * np.std(largest) * np.sqrt(1 / 200 + 1 / 1000))


def test_p_value_holds_its_level_over_all_slices_where_users_share():
    # users lean by chance, not the model: rows are far from independent, and the worst of many slices is chosen
    rejected = {"users": 0, "rows": 0, "one at a time": 0}
    trials = 120
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        code = np.repeat(np.arange(80), 15)
        people = pl.DataFrame({c: rng.choice(["a", "b", "c"], 80) for c in "xyz"})
        p, y = np.full(1200, 0.7), (rng.random(1200) < rng.beta(4.2, 1.8, 80)[code]).astype(float)
        segments = segments_of_slices(slices(people, 80, ways=1), code)
        by_user = multicalibration(p, y, segments, users=code, draws=199, seed=seed)
        rejected["users"] += by_user.p_value <= 0.1
        rejected["rows"] += multicalibration(p, y, segments, draws=99, seed=seed).p_value <= 0.1
        rejected["one at a time"] += by_user.segments["p_value"].min() <= 0.1
    assert rejected["users"] / trials < 0.17
    assert rejected["rows"] / trials > 0.4
    assert rejected["one at a time"] / trials > 0.5


def test_edges():
    nothing = multicalibration([], [], segments_of_matrix(np.zeros((0, 2), bool)), users=[])
    assert np.isnan([nothing.mce_sigma, nothing.mce, nothing.p_value, nothing.alpha_mass, nothing.null_mean]).all()
    assert nothing.worst == -1
    assert nothing.segments["ratio"].is_nan().all()
    assert np.isnan(multicalibration([], [], segments_of_matrix(np.zeros((0, 2), bool))).p_value)
    weightless = multicalibration([0.7], [1], segments_of_matrix([[True]]), weights=[0], draws=5)
    assert np.isnan(weightless.mce_sigma)
    certain = multicalibration([1.0, 1.0], [1, 0], segments_of_matrix([[True], [False]]), draws=5)
    assert np.isnan(certain.mce_sigma)
    members = np.array([[True, False, False], [True, True, False], [True, True, False], [True, False, False]])
    found = multicalibration(
        [0.7, 0.8, 0.6, 0.9], [1, 0, 1, 1], segments_of_matrix(members), users=list("abbc"), draws=9
    )
    assert np.isnan(found.segments["p_adjusted"].to_numpy()).tolist() == [False, False, True, True]
    assert found.segments["n_users"].to_list() == [3, 3, 1, 0]
    assert found.segments["n"].to_list() == [4, 4, 2, 0]
    assert np.isnan(found.segments["ratio"][3])
    assert np.isnan(found.segments["alpha_mass"][3])
    single = multicalibration([0.7, 0.8], [1, 0], segments_of_matrix([[True], [True]]), users=["a", "a"], draws=9)
    assert np.isnan([single.p_value, single.null_mean]).all()
    assert single.mce_sigma > 0


def test_bad_input_is_named():
    one = segments_of_matrix([[True], [True]])
    with pytest.raises(InputError, match="symmetrised gaps cancel"):
        multicalibration([0.7, 0.2], [1, 0], one, orientation="symmetrised")
    with pytest.raises(InputError, match="segments: of 2 rows for 1 comparisons"):
        multicalibration([0.7], [1], one)
    with pytest.raises(InputError, match="users: 1 for 2"):
        multicalibration([0.7, 0.2], [1, 0], one, users=["a"])
    with pytest.raises(InputError, match="winner stored first"):
        multicalibration([0.7, 0.2], [1, 1], one, orientation="presented")
    with pytest.raises(InputError, match="draws: 0"):
        multicalibration([0.7, 0.2], [1, 0], one, draws=0)
    with pytest.raises(InputError, match="members: int64 of shape"):
        segments_of_matrix([[1, 0]])
    with pytest.raises(InputError, match="names: 1 for 2 segments"):
        segments_of_matrix([[True, False]], ["a"])
    with pytest.raises(InputError, match="order: 4"):
        segments_of_attributes(pl.DataFrame({"a": ["x"]}), 4)
    with pytest.raises(InputError, match="user: row 1 is 7; give a number from 0 to 1"):
        segments_of_slices(slices(pl.DataFrame({"a": ["x", "y"]}), 2), [0, 7])
