"""Factors against statsmodels, scikit-learn, SciPy and brute force; coverage by simulation; planted tastes."""

import warnings

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import chi2, kendalltau
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from statsmodels.stats.oneway import anova_generic

from plurality.analyses.audit.slices import Disclosure
from plurality.analyses.factors.bayes import factors_bayes
from plurality.analyses.factors.logistic import COLLINEAR, EMPTY, ONE_USER, SEPARABLE, STILL, TIED, fit_groups
from plurality.analyses.factors.pooling import adjusted, homogeneity, pool
from plurality.analyses.factors.regression import HOMOGENEITY, TABLE, factors
from plurality.analyses.factors.scores import group_scores, tau_b
from plurality.analyses.factors.selection import select
from plurality.analyses.inference.bootstrap import interval, resample_counts
from plurality.analyses.welfare.welfare import shrink
from plurality.errors import InputError, InputWarning

CENTRE = np.array([0.8, -0.5, 0.3, 0.0])


def world(rng, users, rows=20, sd=0.7, centre=CENTRE):
    """Comparisons of people whose own coefficients are spread by sd around the centre, (4,) or (users, 4)."""
    own = centre + sd * rng.normal(size=(users, np.shape(centre)[-1]))
    user = np.repeat(np.arange(users), rows)
    x = rng.normal(size=(len(user), own.shape[1]))
    y = (rng.random(len(user)) < expit((x * own[user]).sum(axis=1))).astype(float)
    return x, y, user


def of_statsmodels(x, y, user, weights=None):
    """Coefficients and the covariance by clusters, without a correction for few of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sm.GLM(y, x, family=sm.families.Binomial(), freq_weights=weights)
        how = {"groups": user, "use_correction": False}
        found = model.fit(tol=1e-12, cov_type="cluster", cov_kwds=how)
    return found.params, found.cov_params()


def test_many_groups_at_once_are_what_statsmodels_fits_one_by_one():
    rng = np.random.default_rng(0)
    x, y, user = world(rng, 60)
    y[rng.random(len(y)) < 0.1] = 0.5
    group = user % 3
    found = fit_groups(x, y, user, group, correction="CR1")
    for g in range(3):
        beta, covariance = of_statsmodels(x[group == g], y[group == g], user[group == g])
        np.testing.assert_allclose(found.coefficient[g], beta, atol=1e-10)
        np.testing.assert_allclose(found.covariance[g], covariance * 20 / 19, rtol=1e-5)
    assert found.n_users.tolist() == [20, 20, 20]
    assert found.why == ("", "", "")


def test_cr3_is_one_step_of_the_jackknife():
    x, y, user = world(np.random.default_rng(1), 25)
    found = fit_groups(x, y, user)
    beta = found.coefficient[0]
    p = expit(x @ beta)
    shift = []
    for u in range(25):
        rest, own = user != u, user == u
        hessian = (x[rest] * (p * (1 - p))[rest, None]).T @ x[rest]
        shift.append(np.linalg.solve(hessian, x[own].T @ (y - p)[own]))
    shift = np.array(shift)
    np.testing.assert_allclose(found.covariance[0], shift.T @ shift * 24 / 25, rtol=1e-9)
    left_out = np.array([fit_groups(x[user != u], y[user != u], user[user != u]).coefficient[0] for u in range(25)])
    off = left_out - left_out.mean(axis=0)
    np.testing.assert_allclose(found.error[0], np.sqrt((off**2).sum(axis=0) * 24 / 25), rtol=0.05)


@pytest.mark.slow
def test_intervals_cover_with_users_as_units_and_not_with_rows():
    rng = np.random.default_rng(2)
    x, y, user = world(rng, 20_000)
    truth = fit_groups(x, y, user).coefficient[0]  # averaged over people: nearer to 0 than the centre
    assert (np.abs(truth[:3]) < np.abs(CENTRE[:3])).all()
    for users in (12, 40):
        x, y, user = world(rng, 500 * users)
        group = user // users
        found = fit_groups(x, y, user, group)
        covered = np.abs(found.coefficient - truth) < student.ppf(0.975, users - 1) * found.error
        assert 0.92 < covered.mean() < 0.97
        assert (covered.mean(axis=0) > 0.92).all()
        rows = fit_groups(x, y, np.arange(len(y)), group)
        assert (np.abs(rows.coefficient - truth) < 1.96 * rows.error).mean() < 0.88


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_sides_weights_and_order_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    x, y, user = world(rng, 14, rows=6, centre=np.array([0.5, -0.3]))
    y[rng.random(len(y)) < 0.2] = rng.random()
    w = rng.integers(0, 3, len(y))
    found = fit_groups(x, y, user, weights=w)
    flip = rng.random(len(y)) < 0.5
    exchanged = fit_groups(np.where(flip[:, None], -x, x), np.where(flip, 1 - y, y), user, weights=w)
    repeated = fit_groups(np.repeat(x, w, axis=0), np.repeat(y, w), np.repeat(user, w))
    order = rng.permutation(len(y))
    shuffled = fit_groups(x[order], y[order], rng.permutation(14)[user][order], weights=w[order])
    for other in (exchanged, repeated, shuffled):
        np.testing.assert_allclose(other.coefficient, found.coefficient, atol=1e-8)
        np.testing.assert_allclose(other.covariance, found.covariance, rtol=1e-5, atol=1e-10)
    halved = fit_groups(2 * x, y, user, weights=w)
    np.testing.assert_allclose(2 * halved.coefficient, found.coefficient, atol=1e-8)
    label = np.where(rng.random(len(y)) < 0.5, 1.0, 0.0)
    ranks = np.round(2 * x)
    flipped = np.where(flip[:, None], -ranks, ranks), np.where(flip, 1 - label, label)
    np.testing.assert_allclose(tau_b(*flipped, w), tau_b(ranks, label, w), atol=1e-12)
    np.testing.assert_allclose(
        tau_b(np.repeat(ranks, w, axis=0), np.repeat(label, w)), tau_b(ranks, label, w), atol=1e-12
    )
    np.testing.assert_allclose(tau_b(ranks**3, label, w), tau_b(ranks, label, w), atol=1e-12)


def test_groups_without_an_estimate_say_why():
    rng = np.random.default_rng(3)
    x, _, user = world(rng, 12, rows=10, centre=np.zeros(3))
    y = (x[:, 0] > 0).astype(float)  # decides alone
    some = (rng.random(len(y)) < 0.5).astype(float)
    copy = x.copy()
    copy[:, 2] = copy[:, 1] * 2
    flat = x.copy()
    flat[:, 1] = 0
    flat[user != 3, 2] = 0  # only one person saw it differ
    cases = [
        (x, y, user),
        (copy, some, user),
        (flat, some, user),
        (x, some, np.zeros(len(y), int)),
        (x[:0], y[:0], user[:0]),
    ]
    groups = np.concatenate([np.full(len(c[1]), g) for g, c in enumerate(cases)])
    stacked = [np.concatenate([c[k] for c in cases]) for k in range(3)]
    found = fit_groups(*stacked, groups, n_groups=6)
    assert found.why == (SEPARABLE, COLLINEAR, "", ONE_USER, EMPTY, EMPTY)
    assert np.isnan(found.coefficient[[0, 1, 3, 4, 5]]).all()
    assert np.isnan(found.covariance[[0, 1, 3, 4, 5]]).all()
    assert np.isfinite(found.coefficient[2]).tolist() == [True, False, False]
    alone = fit_groups(x[:, :1], some, user)
    assert found.coefficient[2, 0] == pytest.approx(alone.coefficient[0, 0], abs=1e-10)
    assert found.error[2, 0] == pytest.approx(alone.error[0, 0], rel=1e-8)
    assert fit_groups(0 * x, some, user).why == (STILL,)
    tied = fit_groups(x, np.full(len(y), 0.5), user)
    assert tied.why == (TIED,)
    assert np.isnan(tied.error).all()
    assert np.isfinite(fit_groups(x, y, user, ridge=1.0).error).all()


def test_users_may_have_any_names():
    x, y, user = world(np.random.default_rng(16), 12)
    found = fit_groups(x, y, user)
    for names in (np.array(list("zyxwvutsrqpo"))[user], user - 5, user / 7):
        other = fit_groups(x, y, names)
        np.testing.assert_allclose(other.covariance, found.covariance, rtol=1e-9)
        assert np.isfinite(group_scores(x, y, names, draws=20).lo).all()


def test_a_ridge_is_the_penalty_it_says():
    x, y, user = world(np.random.default_rng(4), 10)
    loss = lambda b: (np.logaddexp(0, x @ b) - y * (x @ b)).sum() + 3.0 / 2 * b @ b  # noqa: E731
    np.testing.assert_allclose(
        fit_groups(x, y, user, ridge=3.0).coefficient[0], minimize(loss, np.zeros(4), tol=1e-10).x, atol=1e-5
    )


def test_rows_that_are_no_comparisons_are_refused():
    x, y, user = world(np.random.default_rng(0), 3, rows=2)
    x[1, 0] = np.nan
    for function in (fit_groups, group_scores):
        with pytest.raises(InputError, match="row 1 is missing"):
            function(x, y, user)
        with pytest.raises(InputError, match="a row a comparison"):
            function(x[1:], y, user)
    x[1, 0] = 0.0
    for arguments, said in (
        ((x, y, [None, *"aabbc"]), "user: row 0 is missing"),
        ((x, y, [1.0, np.nan, *[2.0] * 4]), "user: row 1 is missing"),
        ((x, y, np.array(["a", 1, 2, 3, 4, 5], dtype=object)), "different types"),
        ((x, y, user, user / 2), "whole numbers"),
        ((x, y + 2, user), "y: row 0"),
    ):
        for function in (fit_groups, group_scores):
            with pytest.raises(InputError, match=said):
                function(*arguments)
    with pytest.raises(InputError, match="n_groups=2"):
        fit_groups(x, y, user, user, n_groups=2)
    with pytest.raises(InputError, match="ridge"):
        fit_groups(x[2:], y[2:], user[2:], ridge=-1)
    with pytest.raises(InputError, match="CR1"):
        fit_groups(x[2:], y[2:], user[2:], correction="HC0")
    with pytest.raises(InputError, match=r"0\.3; tau needs"):
        tau_b(x[2:], [0, 1, 0.3, 1])


def test_one_feature_shrinks_as_one_number_does():
    rng = np.random.default_rng(0)
    b, se = rng.normal(size=9), np.full(9, 0.4)
    found, known = pool(b[:, None], (se**2)[:, None, None]), shrink(b, se)
    np.testing.assert_allclose(found.value[:, 0], known.value, atol=1e-6)  # with equal errors REML is Paule–Mandel
    assert found.mean[0] == pytest.approx(known.mean)
    assert np.sqrt(found.between[0, 0]) == pytest.approx(known.tau, abs=1e-6)


@pytest.mark.parametrize("structure", ["diagonal", "full"])
def test_the_spread_between_groups_maximises_the_restricted_likelihood(structure):
    rng = np.random.default_rng(5)
    root = rng.normal(size=(12, 2, 2)) / 3
    v = root @ np.swapaxes(root, 1, 2) + 0.05 * np.eye(2)
    b = rng.multivariate_normal([1, -1], [[0.5, 0.3], [0.3, 0.4]], 12)
    b += np.array([rng.multivariate_normal([0, 0], c) for c in v])
    found = pool(b, v, structure)

    def loss(between):
        precision = np.linalg.inv(v + between)
        mean = np.linalg.solve(precision.sum(0), np.einsum("gfh,gh->f", precision, b))
        off = b - mean
        parts = np.linalg.slogdet(v + between)[1].sum() + np.linalg.slogdet(precision.sum(0))[1]
        return (parts + np.einsum("gf,gfh,gh->", off, precision, off)) / 2

    def of_parameter(parameter):
        factor = np.array([[parameter[0], 0], [parameter[1] * (structure == "full"), parameter[2]]])
        return loss(factor @ factor.T)

    how = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 5000}
    best = min(
        minimize(of_parameter, start, method="Nelder-Mead", options=how).fun for start in rng.normal(size=(4, 3))
    )
    assert loss(found.between) == pytest.approx(best, abs=1e-7)
    for g in range(12):
        keep = found.between @ np.linalg.inv(found.between + v[g])
        np.testing.assert_allclose(found.value[g], found.mean + keep @ (b[g] - found.mean), atol=1e-8)


def test_what_is_unknown_stays_unknown_and_tells_nothing():
    rng = np.random.default_rng(6)
    b, v = rng.normal(size=(6, 2)), np.tile(np.diag([0.2, 0.1]), (6, 1, 1))
    holes, wide = b.copy(), v.copy()
    holes[2, 1], wide[2, 1, :], wide[2, :, 1] = np.nan, np.nan, np.nan
    found, without = pool(holes, wide, "diagonal"), pool(np.delete(b[:, 1:], 2, 0), np.delete(v[:, 1:, 1:], 2, 0))
    assert np.isnan(found.value[2, 1])
    np.testing.assert_allclose(np.delete(found.value[:, 1], 2), without.value[:, 0], atol=1e-5)
    single = pool(b[:1], v[:1])
    np.testing.assert_array_equal(single.value, b[:1])
    assert np.isnan(single.mean).all()
    assert pool(np.empty((0, 2)), np.empty((0, 2, 2))).value.shape == (0, 2)
    alike = pool(np.ones((5, 2)), v[:5])
    np.testing.assert_allclose(alike.value, 1.0)
    assert np.diag(alike.between).max() < 1e-6
    with pytest.raises(InputError, match="give"):
        pool(b, v[:3])
    with pytest.raises(InputError, match="structure"):
        pool(b, v, "banded")


def test_covariances_of_few_people_do_not_claim_certainty():
    rng = np.random.default_rng(17)
    draws = rng.normal(size=(6, 5, 8)) * 0.3  # of 5 people for 8 features each: rank 4
    b = draws.mean(axis=1)
    off = draws - b[:, None]
    v = np.einsum("guf,guh->gfh", off, off) / 20
    with pytest.raises(InputError, match="group 0 is singular"):
        pool(b, v)
    unit = np.eye(8, dtype=bool)
    known = pool(b, np.where(unit, v, v * 4 / 13), "diagonal")
    np.testing.assert_allclose(pool(b, v, "diagonal", n_users=np.full(6, 5)).value, known.value, atol=1e-9)
    many = np.diag([0.1, 0.2]) + 0.05 * ~np.eye(2, dtype=bool)
    v = np.tile(many, (6, 1, 1))
    np.testing.assert_allclose(pool(b[:, :2], v, n_users=np.full(6, 1e9)).value, pool(b[:, :2], v).value, atol=1e-6)
    # no differences planted: groups of 12 people are pulled together, twelve features and singular sandwiches or not
    x, y, user = world(rng, 12 * 60, centre=np.linspace(-0.6, 0.6, 12), sd=0.3)
    found = fit_groups(x, y, user, user // 12)
    truth = fit_groups(x, y, user).coefficient[0]
    raw, shrunk = [], []
    for at in range(0, 60, 6):
        part = slice(at, at + 6)
        pooled = pool(found.coefficient[part], found.covariance[part], n_users=found.n_users[part])
        raw.append(((found.coefficient[part] - truth) ** 2).mean())
        shrunk.append(((pooled.value - truth) ** 2).mean())
    assert np.mean(shrunk) < 0.35 * np.mean(raw)


def test_shrunk_values_are_nearer_to_the_truth():
    rng = np.random.default_rng(7)
    raw, shrunk = [], []
    for _ in range(60):
        truth = rng.normal(0, 0.2, (8, 3))
        b = truth + 0.4 * rng.normal(size=(8, 3))
        raw.append(((b - truth) ** 2).mean())
        shrunk.append(((pool(b, np.tile(0.16 * np.eye(3), (8, 1, 1))).value - truth) ** 2).mean())
    assert np.mean(shrunk) < 0.6 * np.mean(raw)


def test_homogeneity_is_welch_s_test_of_cochran_s_q():
    rng = np.random.default_rng(8)
    b, se, users = rng.normal(size=(5, 3)), rng.uniform(0.2, 1, (5, 3)), np.array([12, 15, 30, 11, 50])
    found = homogeneity(b, se, users)
    for f in range(3):
        w = 1 / se[:, f] ** 2
        assert found.q[f] == pytest.approx((w * (b[:, f] - (w * b[:, f]).sum() / w.sum()) ** 2).sum())
        known = anova_generic(b[:, f], se[:, f] ** 2 * users, users, use_var="unequal", welch_correction=True)
        assert found.p[f] == pytest.approx(known.pvalue, rel=1e-9)
    np.testing.assert_allclose(homogeneity(b, se, np.full(5, 1e9)).p, chi2.sf(found.q, 4), rtol=1e-5)
    b[0, 0], se[1:, 1] = np.nan, np.nan
    holes = homogeneity(b, se, users)
    assert holes.n_groups.tolist() == [4, 1, 5]
    assert np.isfinite(holes.p).tolist() == [True, False, True]
    assert np.isnan(homogeneity(np.empty((0, 2)), np.empty((0, 2)), np.empty(0)).q).all()


def test_homogeneity_keeps_its_size_with_few_users():
    users = 12
    x, y, user = world(np.random.default_rng(9), 1200 * users, rows=10)
    found = fit_groups(x, y, user, user // users)
    b, se = (v.reshape(300, 4, 4).transpose(1, 0, 2).reshape(4, -1) for v in (found.coefficient, found.error))
    tested = homogeneity(b, se, np.full(4, users))
    assert 0.02 < (tested.p < 0.05).mean() < 0.075
    assert (chi2.sf(tested.q, 3) < 0.05).mean() > 0.06  # as if the errors were known


def test_adjusted_leaves_what_is_unknown():
    np.testing.assert_allclose(adjusted([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])


def test_tau_is_scipy_s_on_comparisons_written_both_ways():
    rng = np.random.default_rng(10)
    x = np.column_stack([rng.normal(size=200), rng.integers(-2, 3, 200), np.zeros(200)])
    y = np.where(rng.random(200) < 0.7, x[:, 0] > 0, rng.choice([0, 0.5, 1], 200))
    for label in (y, np.round(y), np.ones(200)):
        both = np.concatenate([x, -x]), np.concatenate([label, 1 - label])
        found = tau_b(x, label)
        for k in range(2):
            assert found[k] == pytest.approx(kendalltau(both[0][:, k], both[1]).statistic, abs=1e-12)
        assert np.isnan(found[2])
    assert np.isnan(tau_b(x, np.full(200, 0.5))).all()
    assert np.isnan(tau_b(x[:0], [])).all()
    np.testing.assert_allclose(tau_b([[2.0]], [1]), [1.0])


def test_tau_s_draws_are_those_of_repeated_users():
    rng = np.random.default_rng(11)
    x, y, user = world(rng, 12, rows=8, centre=np.array([1.0, 0.0]))
    x[:, 1] = np.round(x[:, 1])
    y[rng.random(len(y)) < 0.2] = 0.5
    w, group = rng.integers(0, 3, len(y)), user % 2
    found = group_scores(x, y, user, group, weights=w, draws=40, seed=5)
    counts = resample_counts(12, 40, 5).astype(int)
    drawn = np.full((40, 2, 2), np.nan)
    for d in range(40):
        times = np.where(w > 0, w * counts[d][user], 0)
        for g in range(2):
            row = np.repeat(np.flatnonzero(group == g), times[group == g])
            drawn[d, g] = tau_b(x[row], y[row])
    lo, hi = interval(drawn, 0.95, n_users=np.array([[6, 6], [6, 6]]))
    np.testing.assert_allclose(found.lo, lo, atol=1e-12)
    np.testing.assert_allclose(found.hi, hi, atol=1e-12)
    np.testing.assert_allclose(found.tau[1], tau_b(x[group == 1], y[group == 1], w[group == 1]), atol=1e-12)
    assert np.isnan(group_scores(x, y, 0 * user, group, draws=20).lo).all()  # one user


def test_intervals_of_tau_cover():
    rng = np.random.default_rng(12)
    centre = CENTRE[:1]
    truth = tau_b(*world(rng, 20_000, rows=10, centre=centre)[:2])
    x, y, user = world(rng, 300 * 20, rows=10, centre=centre)
    group = user // 20
    covered = []
    for g in range(300):  # apart, so that each has draws of its own
        mine = group == g
        found = group_scores(x[mine], y[mine], user[mine], draws=300, seed=g)
        covered.append(bool(found.lo[0, 0] < truth[0] < found.hi[0, 0]))
    assert 0.91 < np.mean(covered) < 0.985


def test_selection_is_scikit_learn_s_lasso_on_both_ways_of_writing():
    rng = np.random.default_rng(13)
    x, y, user = world(rng, 40, centre=np.array([0.8, 0, 0, -0.5, 0, 0]))
    y[:50] = rng.random(50)
    found = select(x, y, user)
    rows = np.concatenate([x, x, -x, -x])
    label = np.concatenate([np.ones(len(y)), np.zeros(len(y)), np.zeros(len(y)), np.ones(len(y))])
    weight = np.concatenate([y, 1 - y, y, 1 - y]) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = LogisticRegression(
            l1_ratio=1, penalty="elasticnet", solver="saga", C=1 / (found.penalty * len(y)), fit_intercept=False,
            tol=1e-9, max_iter=20_000, random_state=0,
        ).fit(rows, label, sample_weight=weight)  # fmt: skip
    np.testing.assert_allclose(found.coefficient, known.coef_[0], atol=1e-4)
    assert (found.coefficient[[0, 3]] != 0).all()
    assert (found.coefficient[[1, 2, 4, 5]] == 0).sum() >= 3
    chosen_first = select(np.where(y[:, None] >= 0.5, x, -x), np.maximum(y, 1 - y), user)
    np.testing.assert_allclose(chosen_first.coefficient, found.coefficient, atol=1e-4)


def test_selection_keeps_little_of_nothing():
    kept = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(300, 8))
        kept.append((select(x, rng.random(300) < 0.5, np.arange(300) // 10).coefficient != 0).mean())
    assert np.mean(kept) < 0.15
    x, y, user = world(np.random.default_rng(0), 2, rows=3)
    assert np.isnan(select(x, y, 0 * user).coefficient).all()
    assert np.isnan(select(x[:0], y[:0], user[:0]).coefficient).all()
    assert (select(0 * x, y, user).coefficient == 0).all()
    assert np.isnan(select(x, np.full(len(y), 0.5), user).coefficient).all()
    assert np.isfinite(select(x, y, user).coefficient).all()
    with pytest.raises(InputError, match="at least two"):
        select(x, y, user, folds=1)


@pytest.fixture(scope="module")
def people():
    """Predictions, differences and users: "north" likes words, "south" does not, five live on an island."""
    rng = np.random.default_rng(14)
    region = np.array(["north", "south"])[np.arange(200) % 2]
    centre = np.where(region == "north", 1.0, -0.4)[:, None] * [1.0, 0.0, 0.0] + [0.0, -0.6, 0.0]
    x, y, user = world(rng, 200, rows=15, sd=0.2, centre=centre)
    ids = np.array([f"u{k:03}" for k in range(200)])
    home = region.astype(object)
    home[:5] = "island"
    users = pl.DataFrame({"user_id": ids, "region": home.astype(str), "sex": rng.choice(["f", "m"], 200)})
    predictions = pl.DataFrame({"user_id": ids[user], "label": y, "prob_first": expit(x[:, 2])})
    return predictions, pl.DataFrame(3 * x, schema=["words", "lists", "hedging"]), users


def test_planted_tastes_are_found(people):
    found = factors(*people, disclosure=Disclosure(min_users_show=5), n_bootstrap=100)
    assert dict(found.table.schema) == TABLE
    assert dict(found.homogeneity.schema) == HOMOGENEITY
    rows = {(r["level"], r["feature"]): r for r in found.table.iter_rows(named=True)}
    assert rows["north", "words"]["lo"] > 0.7
    assert rows["south", "words"]["hi"] < 0
    assert rows["north", "words"]["tau"] > 0.2
    assert all(rows[level, "lists"]["selected"] for level in ("north", "south", "f", "m"))
    assert rows["island", "words"]["flag"] == "n_users < 20"
    assert abs(rows["island", "hedging"]["shrunk"]) < abs(rows["island", "hedging"]["coefficient"])
    differ = {(r["attribute"], r["feature"]): r["q"] for r in found.homogeneity.iter_rows(named=True)}
    assert differ["region", "words"] < 1e-6
    assert min(q for key, q in differ.items() if key != ("region", "words")) > 0.01
    np.testing.assert_allclose(np.sqrt((people[1].to_numpy() ** 2).mean(axis=0)), 3, rtol=0.1)  # yet it is per sd
    assert found.table.filter(pl.col("attribute") == "(overall)")["shrunk"].null_count() == 3


def test_small_groups_are_withheld_and_leave_no_trace(people):
    found = factors(*people, n_bootstrap=20)
    hidden = found.table.filter("suppressed")
    assert set(hidden["level"]) == {"island", "south"} or set(hidden["level"]) == {"island", "north"}
    numbers = [c for c, kind in TABLE.items() if kind in (pl.Float64, pl.Int64)]
    assert hidden.select(pl.col(numbers).is_null().all()).row(0) == (True,) * len(numbers)
    assert found.homogeneity.filter(pl.col("attribute") == "region")["n_groups"].to_list() == [1, 1, 1]
    everybody = factors(*people, disclosure=Disclosure(min_users_show=201, min_users_flag=300), n_bootstrap=20)
    assert everybody.table.filter(~pl.col("suppressed"))["attribute"].unique().to_list() == ["(overall)"]
    assert "Withheld: 5 groups" in str(everybody)


def test_what_is_read(people):
    predictions, differences, users = people
    alone = factors(predictions, differences.to_numpy(), n_bootstrap=0)
    assert alone.table["feature"].to_list() == ["feature 0", "feature 1", "feature 2"]
    assert alone.homogeneity.height == 0
    assert np.isnan(alone.table["tau_lo"].to_numpy()).all()
    model = factors(predictions, differences, label="prob_first")
    np.testing.assert_allclose(model.table["coefficient"].to_numpy(), [0, 0, 1], atol=0.02)
    assert np.isnan(model.table["tau"].to_numpy()).all()
    assert "soft" in model.notes[0]
    weighted = predictions.with_columns(weight=pl.Series(np.arange(predictions.height) % 3))
    times = np.arange(predictions.height) % 3
    repeated = [frame[np.repeat(np.arange(frame.height), times).tolist()] for frame in (predictions, differences)]
    one, two = factors(weighted, differences, n_bootstrap=30), factors(*repeated, n_bootstrap=30)
    columns = ["coefficient", "lo", "hi", "tau", "tau_lo", "tau_hi"]
    np.testing.assert_allclose(one.table.select(columns).to_numpy(), two.table.select(columns).to_numpy(), atol=1e-7)
    assert "weight 0" in one.notes[0]
    same = factors(predictions, differences, users, n_bootstrap=30)
    assert same.table.equals(factors(predictions, differences, users, n_bootstrap=30).table)


def test_bad_input_is_refused(people):
    predictions, differences, users = people
    for arguments, said in (
        ((predictions.drop("label"), differences), "no column label"),
        ((predictions, differences.head(3)), "3 rows"),
        ((predictions, differences.to_numpy()[:, 0]), "a column a feature"),
        ((predictions.with_columns(label=pl.lit(2.0)), differences), "label is 2.0 in row 0"),
        ((predictions.with_columns(weight=pl.lit(0)), differences), "positive weight"),
        ((predictions.with_columns(weight=pl.lit(-1)), differences), "weight is -1.0"),
        ((predictions, differences.with_columns(words=pl.lit("a"))), "words is 'a' in rows 0, 1"),
        ((predictions.with_columns(model=pl.col("label").cast(pl.String)), differences), "several models"),
    ):
        with pytest.raises(InputError, match=said):
            factors(*arguments)
    with pytest.raises(InputError, match="level"):
        factors(predictions, differences, users, level=95)


def test_the_summary_fits_and_says_what_was_found(people):
    found = factors(*people, disclosure=Disclosure(min_users_show=5), n_bootstrap=20)
    text = str(found)
    assert max(map(len, text.split("\n"))) <= 80
    assert "200 users · 3,000 comparisons" in text
    line = next(line for line in text.split("\n") if line.startswith(" region"))
    assert line.split()[1] == "words"
    assert "<table>" in found._repr_html_()
    assert "<b>" not in factors(people[0], people[1].rename({"words": "<b>words"}), n_bootstrap=0)._repr_html_()
    assert repr(found) == "<Factors of 200 users, 3 features; print it, or see .table>"
    tied = factors(people[0].with_columns(label=pl.lit(0.5)), people[1], n_bootstrap=0)
    assert "No coefficient in 3 of 3 rows of the table: all ties." in " ".join(str(tied).split())
    assert tied.table.select(pl.col("selected", "l1").is_null().all()).row(0) == (True, True)
    long = factors(
        *[people[0], people[1].rename({"words": "w" * 90}), people[2]],
        disclosure=Disclosure(min_users_show=5),
        n_bootstrap=0,
    )
    assert max(map(len, str(long).split("\n"))) <= 80


@pytest.mark.slow
def test_full_bayes_finds_what_was_planted():
    pytest.importorskip("pymc")
    rng = np.random.default_rng(15)
    centre = np.array([[1.0, -0.5], [0.0, -0.5], [0.6, -0.5]])[np.arange(36) % 3]
    x, y, user = world(rng, 36, rows=20, sd=0.2, centre=centre)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # few draws, for speed
        found = factors_bayes(
            x, y, user, np.array(["a", "b", "c"])[user % 3], names=["words", "lists"], draws=150, chains=2
        )
    assert found.table.select("group", "feature").row(3) == ("b", "lists")
    off = (found.table["mean"].to_numpy() - centre[:3].ravel()) / found.table["sd"].to_numpy()
    assert np.abs(off).max() < 3.5
    assert (found.table["sd"] < 0.4).all()
    assert found.table["above"].to_numpy()[0] > 0.8 > 0.2 > found.table["above"].to_numpy()[2]
    between = found.population["between_groups"]
    assert between[0] > between[1]
    fits = fit_groups(x, y, user, user % 3)
    assert np.abs(found.table["mean"].to_numpy() - fits.coefficient.ravel()).max() < 0.25


def test_full_bayes_refuses_what_is_no_comparison():
    with pytest.raises(InputError, match="positive weight"):
        factors_bayes(np.zeros((2, 1)), [0, 1], [0, 1], [0, 1], weights=[0, 0])
    with pytest.raises(InputError, match="a row a comparison"):
        factors_bayes(np.zeros((1, 1)), [0, 1], [0, 1], [0, 1])
    with pytest.raises(InputError, match="row 1 is missing"):
        factors_bayes([[0.0], [np.nan]], [0, 1], [0, 1], [0, 1])
    with pytest.raises(InputError, match="2 for 1 features"):
        factors_bayes(np.zeros((2, 1)), [0, 1], [0, 1], ["a", "b"], names=["x", "y"])


def test_a_figure_has_a_cell_for_every_feature_and_group():
    rng = np.random.default_rng(0)
    users = pl.DataFrame({"user_id": [f"u{k}" for k in range(60)], "camp": ["a", "b"] * 30})
    rows = pl.DataFrame({"user_id": users["user_id"].gather(rng.integers(60, size=900))})
    gaps = pl.DataFrame(rng.normal(0, 1, (900, 3)), schema=["long", "kind", "odd"])
    labelled = rows.with_columns(label=(gaps["long"] + pl.Series(rng.logistic(size=900)) > 0).cast(pl.Float64))
    found = factors(labelled, gaps, users, n_bootstrap=20)
    texts = {t.get_text() for t in found.figure("camp").axes[0].texts}
    shown = found.table.filter(~pl.col("suppressed"))["coefficient"]
    assert {f"{abs(v):.2f}" for v in shown} <= {t.strip("+−") for t in texts}
    with pytest.raises(InputError, match="planet: no such attribute"):
        found.figure("planet")
