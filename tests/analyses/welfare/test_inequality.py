"""Inequality indices against closed forms, brute force over repeated people, identities and other libraries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plurality.analyses.welfare.inequality import (
    atkinson,
    cvar,
    decompose,
    generalised_entropy,
    generalised_lorenz,
    gini_absolute,
    gini_negative,
    kolm_pollak,
    nash,
    power_mean,
    quantile,
)
from plurality.analyses.welfare.welfare import gini
from plurality.errors import InputError

ALPHAS = (-1.0, 0.0, 0.5, 1.0, 2.0, 3.5)
POWERS = (-np.inf, -3.0, -1.0, 0.0, 0.5, 1.0, 2.0, np.inf)


def people(least=0.0):
    """Utilities, in steps that make ties, with whole weights and group labels."""
    return st.integers(2, 12).flatmap(
        lambda n: st.tuples(
            arrays(float, n, elements=st.integers(0, 30).map(lambda v: least + v / 10)),
            arrays(int, n, elements=st.integers(1, 4)),
            arrays(int, n, elements=st.integers(0, 2)),
        )
    )


def entropy(x, alpha):
    ratio = np.asarray(x, float) / np.mean(x)
    if alpha == 0:
        return -np.log(ratio).mean()
    if alpha == 1:
        return (ratio * np.log(ratio)).mean()
    return (ratio**alpha - 1).mean() / (alpha * (alpha - 1))


@settings(max_examples=50, deadline=None)
@given(people(0.1))
def test_indices_are_their_definitions_and_a_weight_is_as_many_people(data):
    x, times, _ = data
    crowd = np.repeat(x, times)
    for alpha in ALPHAS:
        assert generalised_entropy(x, alpha, times) == pytest.approx(entropy(crowd, alpha), abs=1e-12)
    for p in POWERS:
        expected = {0: np.exp(np.log(crowd).mean()), -np.inf: crowd.min(), np.inf: crowd.max()}.get(p)
        expected = (crowd**p).mean() ** (1 / p) if expected is None else expected
        assert power_mean(x, p, times) == pytest.approx(expected, rel=1e-12)
    for epsilon in (0.0, 0.5, 1.0, 2.0):
        assert atkinson(x, epsilon, times) == pytest.approx(atkinson(crowd, epsilon), abs=1e-12)
    assert kolm_pollak(x, 1.3, times).ede == pytest.approx(-np.log(np.exp(-1.3 * crowd).mean()) / 1.3, abs=1e-12)
    for q in (0.0, 0.2, 0.5, 1.0):
        assert quantile(x, q, times) == np.quantile(crowd, q, method="inverted_cdf")
        assert quantile(crowd, q) == pytest.approx(np.quantile(crowd, q), abs=1e-14)
    for share in (0.1, 0.35, 1.0):
        least = np.sort(crowd)[: int(np.floor(share * len(crowd) + 1e-9))]
        rest = share * len(crowd) - len(least)
        boundary = np.sort(crowd)[len(least)] if len(least) < len(crowd) else 0.0
        assert cvar(x, share, times) == pytest.approx((least.sum() + rest * boundary) / (share * len(crowd)), abs=1e-9)
        assert cvar(x, share, times) == pytest.approx(cvar(crowd, share), abs=1e-12)
    difference = np.abs(crowd[:, None] - crowd).sum()
    n = len(crowd)
    assert gini_absolute(x, times) == pytest.approx(difference / (2 * n * (n - 1)), abs=1e-12)
    assert gini_absolute(x, times, corrected=False) == pytest.approx(difference / (2 * n * n), abs=1e-12)
    assert gini_negative(x - 1, times) == pytest.approx(
        difference / (2 * (n - 1) * np.abs(crowd - 1).sum()) if np.abs(crowd - 1).sum() else np.nan,
        abs=1e-12,
        nan_ok=True,
    )


@settings(max_examples=40, deadline=None)
@given(people(0.1), st.floats(0.01, 50), st.floats(-5, 5), st.randoms(use_true_random=False))
def test_ratios_ignore_scale_differences_ignore_shift_and_all_ignore_order(data, scale, shift, shuffle):
    x, times, _ = data
    order = np.array(shuffle.sample(range(len(x)), len(x)))
    for alpha in ALPHAS:
        value = generalised_entropy(x, alpha, times)
        assert generalised_entropy(scale * x[order], alpha, times[order]) == pytest.approx(value, abs=1e-9)
    assert atkinson(scale * x, 0.7, times) == pytest.approx(atkinson(x, 0.7, times), abs=1e-9)
    assert power_mean(scale * x[order], -2, times[order]) == pytest.approx(scale * power_mean(x, -2, times), rel=1e-9)
    moved, still = kolm_pollak(x + shift, 2.0, times), kolm_pollak(x, 2.0, times)
    assert moved.ede == pytest.approx(still.ede + shift, abs=1e-9)
    assert moved.index == pytest.approx(still.index, abs=1e-9)
    assert gini_absolute(x + shift, times) == pytest.approx(gini_absolute(x, times), abs=1e-9)
    means = [power_mean(x, p, times) for p in POWERS]
    assert (np.diff(means) >= -1e-9).all()


# of inequality 1.1.2 on the x and groups below: Theil's T, its parts, and Atkinson's index by epsilon
THEIL, THEIL_BETWEEN, THEIL_WITHIN = 0.2595166439479377, 0.0007615038322934058, 0.2587551401156443
ATKINSON = {0.5: 0.12124584516361192, 1: 0.2266431802139568, 2: 0.39847965892933324}
# of quantecon 0.11.4 on the same x: Gini's index without correction, and Lorenz's curve
GINI = 0.38954981370045233
LORENZ = {0.1: 0.024710305907283566, 0.5: 0.23416302436132813, 0.9: 0.7147600649043409}


def test_other_libraries_agree():
    inequalipy = pytest.importorskip("inequalipy")
    rng = np.random.default_rng(0)
    x, w = rng.lognormal(0, 0.7, 300), rng.integers(1, 9, 300)
    assert gini(x, w) == pytest.approx(
        inequalipy.gini(x, w) * w.sum() / (w.sum() - 1), abs=1e-14
    )  # that library does not correct
    assert gini(x, corrected=False) == pytest.approx(GINI, abs=1e-14)
    assert generalised_entropy(x, 1) == pytest.approx(THEIL, abs=1e-14)
    for epsilon, expected in ATKINSON.items():
        assert atkinson(x, epsilon) == pytest.approx(expected, abs=1e-14)
    for epsilon in (0.3, 0.5, 2.5):
        assert atkinson(x, epsilon) == pytest.approx(inequalipy.atkinson.index(x, epsilon), abs=1e-13)
    for kappa in (0.2, 1.0, 4.0):
        found = kolm_pollak(x, kappa, w)
        assert found.ede == pytest.approx(inequalipy.kolmpollak.ede(x, kappa=kappa, weights=w), abs=1e-14)
        # that library gives EDE − mean
        assert found.index == pytest.approx(-inequalipy.kolmpollak.index(x, kappa=kappa, weights=w), abs=1e-14)
    groups = rng.integers(0, 4, 300)
    found = decompose(x, groups, alpha=1, permutations=0)
    assert found.between == pytest.approx(THEIL_BETWEEN, abs=1e-14)
    assert found.within == pytest.approx(THEIL_WITHIN, abs=1e-14)
    people, curve = generalised_lorenz(x)
    for share, held in LORENZ.items():
        assert curve[np.isclose(people, share, rtol=0, atol=1e-12)] == pytest.approx(held * x.mean(), abs=1e-13)


@settings(max_examples=50, deadline=None)
@given(people(0.1))
def test_within_and_between_add_up_weighted(data):
    x, times, groups = data
    for alpha in ALPHAS:
        found = decompose(x, groups, alpha, times, permutations=0)
        assert found.within + found.between == pytest.approx(found.total, abs=1e-11)
        crowd, of = np.repeat(x, times), np.repeat(groups, times)
        mean = crowd.mean()
        within = sum(
            (of == g).mean() * (crowd[of == g].mean() / mean) ** alpha * entropy(crowd[of == g], alpha)
            for g in np.unique(of)
        )
        assert found.within == pytest.approx(within, abs=1e-11)


def test_atkinson_and_entropy_are_one_family():
    x, w = np.random.default_rng(1).gamma(2, size=60), np.random.default_rng(2).random(60)
    for e in (0.3, 0.8, 2.0, 3.0):
        linked = 1 - (1 + (e * e - e) * generalised_entropy(x, 1 - e, w)) ** (1 / (1 - e))
        assert atkinson(x, e, w) == pytest.approx(linked, abs=1e-12)
    assert atkinson(x, 1.0, w) == pytest.approx(1 - np.exp(-generalised_entropy(x, 0.0, w)), abs=1e-14)
    coefficient = np.sqrt(np.average((x - np.average(x, weights=w)) ** 2, weights=w)) / np.average(x, weights=w)
    assert generalised_entropy(x, 2, w) == pytest.approx(coefficient**2 / 2, abs=1e-13)
    for near, at in ((1e-7, 0), (1 - 1e-6, 1)):
        assert generalised_entropy(x, near, w) == pytest.approx(generalised_entropy(x, at, w), rel=1e-5)
    assert power_mean(x, 1e-9, w) == pytest.approx(nash(x, w), rel=1e-8)
    assert power_mean(x, -1e-9, w) == pytest.approx(nash(x, w), rel=1e-8)
    assert kolm_pollak(x, 1e-9, w).ede == pytest.approx(np.average(x, weights=w), abs=1e-8)
    assert kolm_pollak(x, 500.0).ede == pytest.approx(x.min() + np.log(60) / 500, abs=1e-6)


def test_lorenz_cvar_and_quantile_are_one_object():
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=80), rng.integers(1, 5, 80).astype(float)
    people, curve = generalised_lorenz(x, w)
    for share in (0.05, 0.2, 0.77, 1.0):
        assert cvar(x, share, w) == pytest.approx(np.interp(share, people, curve) / share, abs=1e-12)
        # its slope is the quantile
        step = 1e-7
        slope = (np.interp(share, people, curve) - np.interp(share - step, people, curve)) / step
        assert quantile(x, share - step / 2, w) == pytest.approx(slope, abs=1e-5)
        # Rockafellar and Uryasev's maximum
        dual = max(t - np.average(np.maximum(t - x, 0), weights=w) / share for t in x)
        assert cvar(x, share, w) == pytest.approx(dual, abs=1e-12)
    assert curve[-1] == pytest.approx(np.average(x, weights=w))
    assert gini_absolute(x, w, corrected=False) == pytest.approx(curve[-1] - 2 * np.trapezoid(curve, people), abs=1e-12)


def test_gini_with_negatives_is_the_usual_one_without():
    assert gini_negative([-10, 1, 12]) == pytest.approx(88 / 92)
    assert gini_absolute([-10, 1, 12]) == pytest.approx(88 / 12)
    x = np.random.default_rng(0).random(40)
    assert gini_negative(x) == pytest.approx(gini(x), abs=1e-14)
    assert gini_negative(x, corrected=False) == pytest.approx(gini(x, corrected=False), abs=1e-14)
    assert gini_negative([-5.0, 0, 0, 7.0]) == pytest.approx(1)  # all ill on one, all good on another
    assert gini_absolute(x) == pytest.approx(gini(x) * x.mean(), abs=1e-14)
    assert gini_absolute([2.0, 2.0]) == 0


def test_zeros_constants_and_nobody():
    assert nash([0.0, 1.0]) == 0
    assert power_mean([0.0, 1.0], -2) == 0
    assert power_mean([0.0, 1.0], 2) == pytest.approx(np.sqrt(0.5))
    assert power_mean([0.0, 0.0], 2) == 0
    assert generalised_entropy([0.0, 1.0], 0) == np.inf
    assert generalised_entropy([0.0, 1.0], -1) == np.inf
    assert generalised_entropy([0.0, 1.0], 1) == pytest.approx(np.log(2))
    assert [atkinson([0.0, 1.0], e) for e in (1, 2)] == [1, 1]
    for nobody in (([], None), ([0.3, 0.4], [0, 0])):
        x, w = nobody
        values = [generalised_entropy(x, 0, w), power_mean(x, 2, w), nash(x, w), atkinson(x, 0.5, w), cvar(x, 0.1, w)]
        values += [kolm_pollak(x, 1, w).ede, gini_absolute(x, w), gini_negative(x, w), generalised_lorenz(x, w)[1][-1]]
        assert np.isnan(values).all()
        assert np.isnan(decompose(x, ["a"] * len(x), weights=w).between_share)
    assert np.isnan([gini_absolute([1.0]), gini_negative([0.0, 0.0]), atkinson([0.0, 0.0], 0.5)]).all()
    assert np.isnan([power_mean([-1.0, 2.0], 2), nash([-1, 2]), atkinson([-1, 2], 0.5)]).all()
    assert np.isnan(generalised_entropy([-1.0, 2.0], 2))
    for alpha in ALPHAS:
        assert generalised_entropy([0.7] * 7, alpha) == pytest.approx(0, abs=1e-15)
        assert generalised_entropy([0.7], alpha) == pytest.approx(0, abs=1e-15)
    flat = decompose([0.7, 0.7, 0.7], ["a", "b", "b"])
    assert np.isnan(flat.between_share)
    assert flat.within == flat.between == pytest.approx(0, abs=1e-15)
    assert np.isnan(decompose([0.0, 1, 2, 3], ["a", "a", "b", "b"]).between_share)  # infinite in total


def test_a_group_without_utility():
    found = decompose([0.0, 0.0, 1.0, 3.0], ["a", "a", "b", "b"], alpha=1, permutations=0)
    assert found.within + found.between == pytest.approx(found.total, abs=1e-15)
    assert found.between == pytest.approx(np.log(2))
    assert decompose([0.0, 0.0, 1.0, 3.0], ["a", "a", "b", "b"]).between == np.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: generalised_entropy([1.0, np.nan]), "utility: row 1 is nan"),
        (lambda: atkinson([1.0], -0.1), "epsilon: -0.1"),
        (lambda: power_mean([1.0], np.nan), "p: nan"),
        (lambda: kolm_pollak([1.0], -1), "kappa: -1"),
        (lambda: generalised_entropy([1.0], np.inf), "alpha: inf"),
        (lambda: cvar([1.0], 0), "share: 0"),
        (lambda: quantile([1.0], 1.5), "q: 1.5"),
        (lambda: power_mean(0.5, 2), "utility: shapes"),
        (lambda: decompose([1.0, 2.0], ["a"]), "groups: 1 labels for 2"),
        (lambda: decompose([1.0, 2.0], ["a", None]), "groups: row 1 has no label"),
        (lambda: decompose([1.0, 2.0], ["a", "b"], weights=[1e9, 1]), "permutations=0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_between_share_of_chance_is_subtracted():
    rng = np.random.default_rng(0)
    x, groups = rng.lognormal(0, 0.3, 200), rng.integers(0, 10, 200)
    found = decompose(x, groups, permutations=2000, seed=1)
    # nine degrees of freedom of 199: chance puts about their share of the inequality between groups
    assert found.null.mean() == pytest.approx(9 / 199, rel=0.06)
    assert found.excess == pytest.approx(found.between_share - found.null.mean(), abs=1e-15)
    apart = decompose(x * (1 + groups), groups, permutations=500, seed=1)
    assert apart.p_value == pytest.approx(1 / 501)
    assert apart.excess > 0.5
    np.testing.assert_array_equal(
        decompose(x, groups, permutations=50, seed=3).null, decompose(x, groups, permutations=50, seed=3).null
    )


def test_p_value_of_the_between_share_is_uniform_without_a_difference():
    rng = np.random.default_rng(5)
    p = [decompose(rng.lognormal(0, 0.5, 60), np.arange(60) % 4, permutations=99, seed=k).p_value for k in range(400)]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=3.5 * np.sqrt(0.09 / 400))
    assert np.mean(p) == pytest.approx(0.505, abs=3.5 * np.sqrt(1 / 12 / 400))


def test_null_of_weighted_people_is_that_of_repeated_ones():
    x, times, groups = np.array([1.0, 2, 3, 4, 7]), np.array([2, 1, 3, 1, 2]), np.array(["a", "a", "b", "b", "b"])
    weighted = decompose(x, groups, weights=times, permutations=200, seed=4)
    repeated = decompose(np.repeat(x, times), np.repeat(groups, times), permutations=200, seed=4)
    np.testing.assert_allclose(weighted.null, repeated.null, atol=1e-14)
    assert weighted.p_value == repeated.p_value
    halves = decompose(x, groups, weights=times / 2, permutations=200, seed=4)
    assert halves.between_share == pytest.approx(weighted.between_share, abs=1e-14)
    assert np.isfinite(halves.null).all()
    # all arrangements of three people, two of them together: 1 | 2 3, 2 | 1 3, 3 | 1 2
    few = decompose([1.0, 2.0, 4.0], ["a", "b", "b"], alpha=2, permutations=3000, seed=0)
    pairs = [((a - 7 / 3) ** 2 / 3 + 2 * ((7 - a) / 2 - 7 / 3) ** 2 / 3) / np.var([1, 2, 4]) for a in (1, 2, 4)]
    assert few.between_share == pytest.approx(pairs[0])
    shares, seen = np.unique(few.null.round(9), return_counts=True)
    np.testing.assert_allclose(shares, np.sort(pairs), atol=1e-8)
    np.testing.assert_allclose(seen / 3000, 1 / 3, atol=0.035)
