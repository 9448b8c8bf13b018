"""Agreement against krippendorff, brute force over pairs, closed forms and planted agreement."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plurality.analyses.agreement.agreement import (
    _alpha,
    _cross_alpha,
    _Ratings,
    count_columns,
    group_agreement,
    krippendorff_alpha,
)
from plurality.errors import InputError

METRICS = ("nominal", "ordinal", "interval")


def ratings(seed=0, units=30, raters=8, missing=0.4, values=5):
    """Rows of units that share a tendency, some ratings missing at random."""
    rng = np.random.default_rng(seed)
    table = np.clip(np.rint(rng.normal(2, 1.2, units)[:, None] + rng.normal(0, 0.9, (units, raters))), 0, values - 1)
    unit, rater = np.nonzero(rng.random((units, raters)) > missing)
    return unit, rater, table[unit, rater]


def oracle(unit, rater, value, metric):
    table = np.full((rater.max() + 1, unit.max() + 1), np.nan)
    table[rater, unit] = value
    return krippendorff.alpha(reliability_data=table, level_of_measurement=metric)


def ordinal_metric(value):
    """Squared difference Σ_{g=c}^{k} n_g − (n_c + n_k)/2, written out."""
    values, counts = np.unique(value, return_counts=True)
    at = np.searchsorted(values, value)
    low, high = np.minimum.outer(at, at), np.maximum.outer(at, at)
    running = np.concatenate([[0], np.cumsum(counts)])
    return (running[high + 1] - running[low] - (counts[low] + counts[high]) / 2) ** 2


def brute(unit, rater, value, metric, inside=None, count=None):
    """Alpha, or cross-group agreement where `inside` is given, from the matrix of all pairs of rows."""
    c = np.ones(len(unit)) if count is None else count
    left = np.ones(len(unit), bool) if inside is None else inside
    right = left if inside is None else ~inside
    pair = np.outer(left * c, right * c) * (np.arange(len(unit))[:, None] != np.arange(len(unit)))
    same = (unit[:, None] == unit) & (rater[:, None] != rater)
    keep = ((pair * same).sum(axis=1) > 0) | ((pair * same).sum(axis=0) > 0)
    pair = pair * np.outer(keep, keep)
    square = {
        "nominal": (value[:, None] != value).astype(float),
        "interval": (value[:, None] - value) ** 2,
    }.get(metric)
    if square is None:
        expanded = np.repeat(value[keep], c[keep].astype(int))
        rows = np.repeat(np.flatnonzero(keep), c[keep].astype(int))
        square = np.zeros(pair.shape)
        square[np.ix_(rows, rows)] = ordinal_metric(expanded)
    observed = weight = 0.0
    for u in np.unique(unit):
        of = (unit == u)[:, None] & same
        if (pair * of).sum() > 0:
            m = c[(unit == u) & keep].sum()
            observed += m * (pair * of * square).sum() / (pair * of).sum()
            weight += m
    return 1 - (observed / weight) / ((pair * square).sum() / pair.sum())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("missing", [0.0, 0.4, 0.8])
def test_alpha_is_that_of_krippendorff(metric, missing):
    for seed in range(3):
        rows = ratings(seed, missing=missing)
        found = krippendorff_alpha(*rows, metric=metric, n_bootstrap=0)
        assert found.value == pytest.approx(oracle(*rows, metric), abs=1e-12)
        assert found.value == pytest.approx(brute(*rows, metric), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_pairable_ratings_are_counted_and_single_ones_change_nothing(metric):
    unit, rater, value = ratings(missing=0.85)
    found = krippendorff_alpha(unit, rater, value, metric=metric, n_bootstrap=0)
    keep = np.bincount(unit)[unit] > 1
    assert (found.n_pairable, found.n_units) == (keep.sum(), len(np.unique(unit[keep])))
    alone = krippendorff_alpha(unit[keep], rater[keep], value[keep], metric=metric, n_bootstrap=0)
    assert alone.value == pytest.approx(found.value, abs=1e-12)


def test_alpha_of_krippendorff_s_worked_example():
    # two raters, ten units, binary: 4 coincidences off, so D_o = .4; 14 zeros and 6 ones, so D_e = 2·14·6/(20·19)
    first, second = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    unit, rater = np.tile(np.arange(10), 2), np.repeat([0, 1], 10)
    found = krippendorff_alpha(unit, rater, np.array(first + second), n_bootstrap=0)
    assert found.value == pytest.approx(1 - 0.4 / (2 * 14 * 6 / 380), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(METRICS))
def test_names_and_order_do_not_matter_nor_shift_and_scale(seed, metric):
    unit, rater, value = ratings(seed, units=8, raters=5, missing=0.3)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(unit))
    names = np.array([f"u{k}" for k in rng.permutation(8)]), np.array(list("vwxyz"))[rng.permutation(5)]
    changed = (names[0][unit[order]], names[1][rater[order]], 3 * value[order] + 7)
    before = krippendorff_alpha(unit, rater, value, metric=metric, n_bootstrap=20, seed=1)
    after = krippendorff_alpha(*changed, metric=metric, n_bootstrap=0)
    assert after.value == pytest.approx(before.value, abs=1e-9, nan_ok=True)
    if metric == "nominal":
        words = krippendorff_alpha(unit, rater, np.array(list("pqrst"), dtype=object)[value.astype(int)], n_bootstrap=0)
        assert words.value == pytest.approx(before.value, abs=1e-12, nan_ok=True)
    if metric == "ordinal":
        assert krippendorff_alpha(unit, rater, value**3, metric=metric, n_bootstrap=0).value == pytest.approx(
            before.value, abs=1e-12, nan_ok=True
        )


@pytest.mark.parametrize("metric", METRICS)
def test_resampled_raters_are_never_paired_with_their_copies(metric):
    unit, rater, value = ratings(3, units=10, raters=6, missing=0.3)
    table = _Ratings.of(unit, rater, value, metric)
    inside = rater < 3
    for seed in range(4):
        count = np.random.default_rng(seed).multinomial(6, np.full(6, 1 / 6))[rater].astype(float)
        on = count > 0
        args = (unit[on], rater[on], value[on], metric)
        assert _alpha(table, count[:, None])[0] == pytest.approx(brute(*args, count=count[on]), abs=1e-12)
        if inside[on].any() and (~inside[on]).any():
            expected = brute(*args, inside=inside[on], count=count[on])
            assert _cross_alpha(table, count[:, None], inside[:, None])[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_weights_of_people_count_a_pair_by_their_product(metric):
    """Of whole numbers as of copies that are never paired with each other; in any unit; and 0 is absence."""
    unit, rater, value = ratings(3, units=10, raters=6, missing=0.3)
    weight = np.array([1, 3, 0, 2, 1, 5])[rater].astype(float)
    on = weight > 0
    found = krippendorff_alpha(unit, rater, value, metric=metric, weights=weight, n_bootstrap=30)
    expected = brute(unit[on], rater[on], value[on], metric, count=weight[on])
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert abs(found.value - krippendorff_alpha(unit, rater, value, metric=metric, n_bootstrap=0).value) > 1e-3
    small = krippendorff_alpha(unit, rater, value, metric=metric, weights=1e-3 * weight, n_bootstrap=30)
    assert (small.value, small.lo, small.hi) == pytest.approx((found.value, found.lo, found.hi), abs=1e-9)
    alone = krippendorff_alpha(unit[on], rater[on], value[on], metric=metric, weights=weight[on], n_bootstrap=0)
    assert alone.value == pytest.approx(found.value, abs=1e-12)
    assert (found.n_pairable, found.n_raters) == (alone.n_pairable, alone.n_raters) == (found.n_pairable, 5)
    nobody = krippendorff_alpha(unit, rater, value, metric=metric, weights=0 * weight)
    assert np.isnan(nobody.value)


def test_weights_that_are_no_person_s_are_an_error():
    unit, rater, value = ratings(3, units=10, raters=6, missing=0.3)
    for weights, said in (
        (np.arange(len(unit)), "the person of row 0 has several"),
        (np.full(len(unit), -1.0), "finite weights >= 0"),
        (np.ones(3), "one a row"),
    ):
        with pytest.raises(InputError, match=said):
            krippendorff_alpha(unit, rater, value, weights=weights)


@pytest.mark.slow
def test_the_interval_of_alpha_covers_agreement_on_these_units():
    # every rater draws each value anew around the unit's mean, so alpha of infinitely many raters is an ICC
    rng = np.random.default_rng(0)
    means = rng.normal(0, 1, 40)
    lean = 0.5  # raters differ in their level
    truth = means.var() / (means.var() + 1 + lean**2)
    hits, trials = 0, 150
    unit, rater = (a.ravel() for a in np.meshgrid(np.arange(40), np.arange(30)))
    for seed in range(trials):
        value = means[unit] + lean * rng.normal(0, 1, 30)[rater] + rng.normal(0, 1, len(unit))
        found = krippendorff_alpha(unit, rater, value, metric="interval", n_bootstrap=200, seed=seed)
        hits += found.lo <= truth <= found.hi
    assert 0.88 <= hits / trials <= 0.99


def test_alpha_without_variation_or_pairs_is_nan():
    assert np.isnan(krippendorff_alpha([0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 1], n_bootstrap=10).value)
    for metric in METRICS:
        constant = krippendorff_alpha([0, 0, 1, 1], [0, 1, 0, 1], [0.1, 0.1, 0.1, 0.1], metric=metric, n_bootstrap=10)
        assert np.isnan([constant.value, constant.lo, constant.hi]).all()
        for n in range(2, 40):  # whatever the rounding of their mean
            unit, rater = np.repeat(np.arange(n), 3), np.tile(np.arange(3), n)
            assert np.isnan(krippendorff_alpha(unit, rater, np.full(3 * n, 0.1), metric=metric, n_bootstrap=0).value)
        single = krippendorff_alpha([0, 1, 2], [0, 0, 1], [0.0, 1.0, 2.0], metric=metric)
        assert (np.isnan(single.value), single.n_pairable) == (True, 0)
        empty = krippendorff_alpha([], [], [], metric=metric)
        assert (np.isnan(empty.value), empty.n_units, empty.n_raters) == (True, 0, 0)


def test_perfect_and_opposite_agreement():
    unit, rater = np.repeat(np.arange(6), 2), np.tile([0, 1], 6)
    for metric in METRICS:
        value = unit % 3.0
        assert krippendorff_alpha(unit, rater, value, metric=metric, n_bootstrap=0).value == pytest.approx(1, abs=1e-12)
        # two raters who never agree: D_o = 1, D_e = 2·6·6/(12·11) of the nominal metric, and alike in the others
        opposite = krippendorff_alpha(unit, rater, (rater + unit) % 2.0, metric=metric, n_bootstrap=0)
        assert opposite.value == pytest.approx(1 - 132 / 72, abs=1e-12)


def test_bad_ratings_are_named():
    with pytest.raises(InputError, match="that of row 0 rates the same unit again"):
        krippendorff_alpha([0, 0, 1], [0, 0, 1], [1, 2, 3])
    with pytest.raises(InputError, match="value: row 1 is missing"):
        krippendorff_alpha([0, 0], [0, 1], [1, np.nan])
    with pytest.raises(InputError, match="rater: row 0 is missing"):
        krippendorff_alpha([0, 0], np.array([None, "b"], dtype=object), [1, 2])
    with pytest.raises(InputError, match=r"unit: shape \(1,\) for 2 values"):
        krippendorff_alpha([0], [0, 1], [1, 2])
    with pytest.raises(InputError, match="metric: 'ratio'"):
        krippendorff_alpha([0, 0], [0, 1], [1, 2], metric="ratio")
    with pytest.raises(InputError, match="value: could not convert"):
        krippendorff_alpha([0, 0], [0, 1], ["low", "high"], metric="ordinal")
    with pytest.raises(InputError, match="unit: labels of several kinds"):
        krippendorff_alpha(np.array([0, "a"], dtype=object), [0, 1], [1, 2])
    for member in (["yes", "no", "no"], [0.5, 1, 1]):
        with pytest.raises(InputError, match=r"member: .* give True or False"):
            group_agreement([0, 1, 0], [0, 0, 1], [1, 2, 1], member)
    with pytest.raises(InputError, match="row 0 is both in and out"):
        group_agreement([0, 1, 0], [0, 0, 1], [1, 2, 1], [True, False, True])


@pytest.mark.parametrize("metric", METRICS)
def test_agreement_within_and_across_groups_is_brute_force(metric):
    unit, rater, value = ratings(5)
    inside = rater < 4
    found = group_agreement(unit, rater, value, inside, metric=metric, n_bootstrap=50)
    irr = brute(unit[inside], rater[inside], value[inside], metric)
    xrr = brute(unit, rater, value, metric, inside=inside)
    assert found.irr == pytest.approx(irr, abs=1e-12)
    assert found.xrr == pytest.approx(xrr, abs=1e-12)
    assert found.gai == pytest.approx(irr / xrr, abs=1e-12)
    assert (found.n_in, found.n_out) == (4, 4)


def test_a_group_of_one_mind_agrees_with_itself_and_not_with_the_others():
    rng = np.random.default_rng(0)
    unit, rater = (a.ravel() for a in np.meshgrid(np.arange(60), np.arange(24)))
    inside = rater < 8
    mind = rng.random((2, 60)) < 0.5  # the two sides' opinions are unrelated
    value = np.where(inside, mind[0][unit], mind[1][unit]) ^ (rng.random(len(unit)) < 0.15)
    found = group_agreement(unit, rater, value, inside, n_bootstrap=200)
    assert found.irr == pytest.approx(0.49, abs=0.15)  # (1 − 2·.15)² of a fair coin
    assert abs(found.xrr) < 0.2
    assert found.irr_interval[0] > found.xrr_interval[1]
    alike = group_agreement(unit, rater, mind[0][unit] ^ (rng.random(len(unit)) < 0.15), inside, n_bootstrap=200)
    assert alike.gai == pytest.approx(1, abs=0.15)
    assert alike.gai_interval[0] < 1 < alike.gai_interval[1]


def test_a_group_of_everybody_or_nobody_has_no_comparison():
    rows = ratings()
    for member in (np.ones(len(rows[0]), bool), np.zeros(len(rows[0]), bool)):
        found = group_agreement(*rows, member)
        assert np.isnan([found.irr, found.xrr, found.gai]).all()


def test_strata_keep_their_sizes_and_everybody_his_chance():
    strata = np.array([2, 0, 1, 0, 0, 2, 0])
    blocks = list(count_columns(7, 1_000_000, 4000, 0, strata))
    assert len(blocks) > 2
    np.testing.assert_array_equal(blocks[0], 1)
    counts = np.concatenate(blocks[1:], axis=1)
    assert counts.shape == (7, 4000)
    for k in range(3):
        assert (counts[strata == k].sum(axis=0) == (strata == k).sum()).all()
    size = np.bincount(strata)[strata]
    error = np.sqrt((1 - 1 / size) / 4000)  # of a multinomial count's mean
    assert (np.abs(counts.mean(axis=1) - 1) <= 4 * error).all()
    assert len(list(count_columns(7, 7, 0, 0, strata))) == 1


def test_a_ratio_that_is_undefined_has_no_interval():
    rng = np.random.default_rng(5)
    unit, rater = (a.ravel() for a in np.meshgrid(np.arange(12), np.arange(8)))
    value = rng.integers(0, 2, len(unit))
    member = rater < 4
    found = group_agreement(unit, rater, value, member, n_bootstrap=200)
    assert min(found.irr, found.xrr) < 0
    assert np.isnan([found.gai, *found.gai_interval]).all()
    assert np.isfinite([*found.irr_interval, *found.xrr_interval]).all()


def test_weights_of_people_count_pairs_by_their_product():
    """d_o and d_e over all pairs of a member and another, each pair counted w_i w_j: a loop over pairs."""
    rng = np.random.default_rng(2)
    unit, rater = (a.ravel() for a in np.meshgrid(np.arange(9), np.arange(7)))
    keep = rng.random(len(unit)) < 0.8
    unit, rater = unit[keep], rater[keep]
    value = rng.random(len(unit))
    w, member = rng.uniform(0.2, 3, 7)[rater], rater < 3
    top = weight = 0.0
    for u in range(9):
        ins, outs = (np.flatnonzero((unit == u) & side) for side in (member, ~member))
        if not len(ins) or not len(outs):
            continue
        pairs = w[ins][:, None] * w[outs]
        mean = (pairs * (value[ins][:, None] - value[outs]) ** 2).sum() / pairs.sum()
        top, weight = top + mean * (w[ins].sum() + w[outs].sum()), weight + w[ins].sum() + w[outs].sum()
    both = np.isin(unit, np.intersect1d(unit[member], unit[~member]))
    ins, outs = np.flatnonzero(member & both), np.flatnonzero(~member & both)
    pairs = w[ins][:, None] * w[outs]
    expected = (pairs * (value[ins][:, None] - value[outs]) ** 2).sum() / pairs.sum()
    found = group_agreement(unit, rater, value, member, metric="interval", weights=w, n_bootstrap=20)
    assert found.xrr == pytest.approx(1 - top / weight / expected, abs=1e-12)
    inside = krippendorff_alpha(unit[member], rater[member], value[member], metric="interval", weights=w[member])
    assert found.irr == pytest.approx(inside.value, abs=1e-12)
    even, times = (
        group_agreement(unit, rater, value, member, metric="interval", weights=x, n_bootstrap=20)
        for x in (None, np.full(len(w), 7.0))
    )
    assert [even.irr, *even.xrr_interval] == pytest.approx([times.irr, *times.xrr_interval])
