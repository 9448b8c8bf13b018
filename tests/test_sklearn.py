"""The scikit-learn face: its own checks, LogisticRegression as oracle, users in a column, and the tools around it."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.models import PAL, BradleyTerry, LowRank, MaxMin
from plurality.sklearn import PreferenceClassifier

# scikit-learn's checks fit some twenty rows
pytestmark = pytest.mark.filterwarnings("ignore:.*too few to hold items out:plurality.errors.InputWarning")

MODELS = [
    "bradley_terry",  # which chooses its decay
    LowRank(rank=1, weights="deviations", decay=1.0),
]
FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)  # rows are sorted by user: unshuffled, users would be unseen


@pytest.mark.slow
@parametrize_with_checks([PreferenceClassifier(BradleyTerry(decay=1.0, hidden=4))])
def test_scikit_learn_s_own_checks_of_hidden_units(estimator, check):
    test_scikit_learn_s_own_checks(estimator, check)


@parametrize_with_checks([PreferenceClassifier(model) for model in MODELS])  # none is expected to fail
def test_scikit_learn_s_own_checks(estimator, check):
    state = np.random.get_state()  # noqa: NPY002 - which one of the checks draws from
    check(estimator)
    np.random.set_state(state)  # noqa: NPY002


def differences(n=300, width=6, seed=0, scale=1.5):
    """Differences, their planted direction, and labels drawn from it: (n, width), (width,), (n,)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width)).astype(np.float32)
    w = rng.normal(size=width)
    return x, w, (rng.random(n) < expit(scale * x @ w)).astype(int)


def camps(n_users=20, each=40, width=6, seed=0):
    """Users of two opposite tastes: rows of user number and difference, labels, and each row's true log-odds."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(n_users), each)
    x = rng.normal(size=(len(user), width))
    gap = np.where(user % 2, 3.0, -3.0) * x[:, 0]
    return np.column_stack([user, x]), (rng.random(len(user)) < expit(gap)).astype(int), gap


def nats(y, gap):
    """Mean nats of labels under log-odds: of the planted ones, what nobody can beat but by luck."""
    return np.logaddexp(0, np.where(y, -gap, gap)).mean()


def logistic(x, y, decay, weight=None):
    """Coefficients of the same prior in scikit-learn's terms: ½‖v‖² + C Σ nll, C = 1 / (decay · d), on scaled rows."""
    x = x.astype(float)
    scale = np.sqrt(np.average(np.square(x).mean(1), weights=weight) / 2)
    reference = LogisticRegression(C=1 / (decay * x.shape[1]), fit_intercept=False, solver="newton-cholesky", tol=1e-7)
    return reference.fit(x / scale, y, weight).coef_[0] / scale


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("decay", [0.1, 20.0])
def test_bradley_terry_is_logistic_regression_without_intercept(decay, weighted):
    x, _, y = differences()
    weight = np.random.default_rng(1).uniform(0.2, 3, len(y)) if weighted else None
    found = PreferenceClassifier(BradleyTerry(decay=decay)).fit(x, y, weight)
    new = differences(seed=2)[0]
    expected = new @ logistic(x, y, decay, weight)
    np.testing.assert_allclose(found.decision_function(new), expected, rtol=1e-5, atol=2e-5)  # of float32 weights
    np.testing.assert_allclose(found.predict_proba(new), expit(np.column_stack([-expected, expected])), atol=1e-5)
    clear = np.abs(expected) > 1e-4
    np.testing.assert_array_equal(found.predict(new)[clear], (expected > 0).astype(int)[clear])


def test_it_is_the_model_fitted_to_comparisons():
    """Two items each, of which the classifier sees the difference alone."""
    seen, _ = planted.taste_groups(10, width=5, seed=0)
    data = seen.sample(30, seed=1).data
    x = data.items[data.first] - data.items[data.second]
    face = PreferenceClassifier(BradleyTerry(decay=3.0)).fit(x, data.label)
    np.testing.assert_allclose(face.decision_function(x), BradleyTerry(decay=3.0).fit(data).log_odds(data), atol=1e-4)


@pytest.mark.parametrize("model", [BradleyTerry(decay=1.0), BradleyTerry(decay=1.0, hidden=4), "bradley_terry"])
def test_sides_rows_and_repetitions_do_not_matter(model):
    """Turned rows with turned labels, rows in another order, and weights for repetitions give the same bits."""
    x, _, y = differences(n=200)
    rng, new = np.random.default_rng(3), differences(seed=4)[0]
    face = PreferenceClassifier(model)
    expected = face.fit(x, y).decision_function(new)
    np.testing.assert_array_equal(face.decision_function(-new), -expected)
    assert not face.decision_function(np.zeros((1, 6)))
    turned = rng.random(200) < 0.5
    again = clone(face).fit(np.where(turned[:, None], -x, x), np.where(turned, 1 - y, y))
    np.testing.assert_array_equal(again.decision_function(new), expected)
    order = rng.permutation(200)
    np.testing.assert_array_equal(clone(face).fit(x[order], y[order]).decision_function(new), expected)
    times = rng.integers(0, 4, 200)
    weighted = clone(face).fit(x, y, times).decision_function(new)
    repeated = clone(face).fit(np.repeat(x, times, axis=0), np.repeat(y, times)).decision_function(new)
    np.testing.assert_array_equal(weighted, repeated)
    assert np.abs(weighted - expected).max() > 1e-3


@pytest.mark.parametrize("classes", [("no", "yes"), (3, -7), (False, True)])
def test_classes_keep_their_names(classes):
    x, w, y = differences()
    low, high = sorted(classes)
    face = PreferenceClassifier(BradleyTerry(decay=1.0)).fit(x, np.array([low, high])[y])
    assert face.classes_.tolist() == [low, high]
    assert set(face.predict(x).tolist()) == {low, high}
    assert face.score(x, np.array([low, high])[(x @ w > 0).astype(int)]) > 0.9


@pytest.mark.parametrize("model", [LowRank(rank=1, weights="deviations", decay=1.0), MaxMin(n_groups=2, decay=1.0)])
def test_users_have_tastes_of_their_own_and_unseen_users_the_population_s(model):
    x, y, _ = camps()
    new, _, truth = camps(seed=1)
    face = PreferenceClassifier(model, user_column=0).fit(x, y)
    assert face.n_features_in_ == 7
    assert face.reward_.user_ids == tuple(sorted(str(u) for u in range(20)))
    assert np.mean((face.decision_function(new) > 0) == (truth > 0)) > 0.95
    pooled = PreferenceClassifier("bradley_terry").fit(x[:, 1:], y)
    assert np.mean((pooled.decision_function(new[:, 1:]) > 0) == (truth > 0)) < 0.65
    unseen = new + np.r_[1000, np.zeros(6)]
    alike = new.copy()
    alike[:, 0] = 77
    np.testing.assert_array_equal(face.decision_function(unseen), face.decision_function(alike))
    assert np.abs(face.predict_proba(unseen)[:, 1] - 0.5).mean() < 0.15  # half want the one, half the other


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_frame_has_its_users_by_name(frame):
    x, y, _ = camps()
    columns = {f"x{i}": x[:, i] for i in range(1, 7)}
    ids = {"who": [f"user {int(u)}" for u in x[:, 0]]}
    face = PreferenceClassifier(LowRank(rank=1, decay=1.0), user_column="who").fit(frame(columns | ids), y)
    assert face.feature_names_in_.tolist() == [*columns, "who"]
    assert set(face.reward_.user_ids) == set(ids["who"])
    same = PreferenceClassifier(LowRank(rank=1, decay=1.0), user_column=-1).fit(frame(columns | ids), y)
    np.testing.assert_array_equal(face.predict_proba(frame(columns | ids)), same.predict_proba(frame(columns | ids)))
    numbers = PreferenceClassifier(LowRank(rank=1, decay=1.0), user_column="who")
    numbers.fit(frame(columns | {"who": x[:, 0].astype(int)}), y)
    assert set(numbers.reward_.user_ids) == {str(u) for u in range(20)}


def test_large_user_numbers_stay_apart():
    """2²⁴ and 2²⁴ + 1 are one number in float32."""
    x, y, _ = camps(n_users=2)
    x[:, 0] += 2**24
    face = PreferenceClassifier(LowRank(rank=1, decay=1.0), user_column=0).fit(x, y)
    assert face.reward_.user_ids == (str(2**24), str(2**24 + 1))


def test_in_a_pipeline_that_leaves_users_alone():
    x, y, gap = camps()
    x[:, 1:] *= np.array([100.0, 1, 1, 1, 1, 1])
    scale = ColumnTransformer([("scale", StandardScaler(with_mean=False), slice(1, 7))], remainder="passthrough")
    model = LowRank(rank=1, weights="deviations", decay=1.0)
    pipe = make_pipeline(scale, PreferenceClassifier(model, user_column=-1))  # what is passed through stands last
    score = cross_val_score(pipe, x, y, cv=FOLDS, scoring="neg_log_loss")
    assert score.mean() > -nats(y, gap) - 0.05
    unseen = cross_val_predict(pipe, x, y, cv=GroupKFold(4), groups=x[:, 0], method="predict_proba")
    np.testing.assert_allclose(unseen.sum(1), 1, atol=1e-12)
    assert np.mean(unseen.argmax(1) == y) < 0.65


def test_grid_search_over_settings_and_families():
    x, y, gap = camps()
    grid = {"model": [BradleyTerry(decay=1.0), LowRank(rank=1, weights="deviations", decay=1.0)], "seed": [0, 1]}
    search = GridSearchCV(PreferenceClassifier(user_column=0), grid, cv=FOLDS, scoring="neg_log_loss").fit(x, y)
    assert isinstance(search.best_params_["model"], LowRank)
    assert search.best_score_ > -nats(y, gap) - 0.05
    assert search.best_estimator_.get_params() == {"user_column": 0, "base_column": None, **search.best_params_}


def test_clones_share_nothing_learned():
    x, _, y = differences()
    face = PreferenceClassifier("low_rank", user_column=3, seed=5)
    copy = clone(face.set_params(model=PAL(n_prototypes=2), user_column=None))
    assert copy.get_params() == {"model": PAL(n_prototypes=2), "user_column": None, "base_column": None, "seed": 5}
    face.set_params(model=BradleyTerry(decay=1.0)).fit(x, y)
    assert "reward_" not in vars(clone(face))


X, _, Y = differences(n=60)
WHO = np.column_stack([np.arange(60) % 4, X])
MIXED = np.array(["a", 1] * 30, dtype=object)
GAPS = np.where(np.arange(60)[:, None] == 7, [[0.5, *X[7]]], WHO)  # row 7 by user 0.5


@pytest.mark.parametrize(
    ("settings", "x", "y", "weight", "words"),
    [
        ({"model": "nothing"}, X, Y, None, ["'nothing'", "bradley_terry"]),
        ({"user_column": 7}, X, Y, None, ["6 columns", "no column 7"]),
        ({"user_column": "who"}, X, Y, None, ["'who'", "frame"]),
        ({"user_column": 0}, GAPS, Y, None, ["row 7", "0.5", "scaling"]),
        ({"user_column": 0}, WHO * np.r_[1e17, np.ones(6)], Y, None, ["row 1", "1e+17", "not a user id"]),
        ({"user_column": 0}, np.column_stack([MIXED, X]), Y, None, ["mixes types", "strings"]),
        ({}, X, np.arange(60) % 3, None, ["binary"]),
        ({}, X, np.zeros(60, dtype=int), None, ["1 class"]),
        ({}, X, Y, (Y == 1).astype(float), ["1 class", "weight 0"]),
        ({}, X, Y, -np.ones(60), ["row 0", "-1.0"]),
        ({}, X, Y, np.r_[np.ones(59), np.nan], ["row 59", "nan"]),
        ({}, X, Y, np.ones(59), ["(59,)", "(60,)"]),
        ({"model": "hierarchical"}, X, Y, None, ["demographics", "low_rank"]),
        ({"model": "more"}, X, Y, None, ["MORE", "objective"]),
    ],
)
def test_errors_say_what_to_do(settings, x, y, weight, words):
    with pytest.raises(InputError) as error:
        PreferenceClassifier(**settings).fit(x, y, weight)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_missing_users_and_missing_values_are_an_error():
    ids = pd.Series([f"user {i % 4}" for i in range(60)])
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(who=ids.where(ids.index != 9, None))
    with pytest.raises(ValueError, match=r"row 9|NaN"):
        PreferenceClassifier(user_column="who").fit(frame, Y)
    whole = frame.assign(who=ids)
    with pytest.raises(ValueError, match="NaN"):
        PreferenceClassifier(user_column="who").fit(whole.assign(b=whole["b"].where(whole.index != 3)), Y)
    with pytest.raises(ValueError, match="infinity"):
        PreferenceClassifier().fit(X * np.r_[1e300, np.ones(5)], Y)  # which float32 cannot hold
    with pytest.raises(ValueError, match="infinity"):
        PreferenceClassifier(user_column=0).fit(WHO * np.r_[1, 1e300, np.ones(5)], Y)


def test_a_column_of_base_scores_is_what_the_model_starts_from():
    rng = np.random.default_rng(3)
    x, base = rng.normal(size=(400, 3)), 5 * rng.normal(size=400)
    gap = x[:, 0] + 0.4 * base
    y = rng.random(400) < 1 / (1 + np.exp(-gap))
    both = np.column_stack([x, base])
    model = PreferenceClassifier(BradleyTerry(decay=1e9), base_column=3).fit(both, y)
    oracle = LogisticRegression(C=1e9, fit_intercept=False).fit(base[:, None], y)
    # with nothing else to go by it is the base alone, and its scale that of a regression but for a weak prior
    np.testing.assert_allclose(model.decision_function(both), oracle.decision_function(base[:, None]), rtol=2e-3)
    own = PreferenceClassifier(BradleyTerry(decay=1.0), base_column=-1).fit(both, y)
    assert np.corrcoef(own.decision_function(both), gap)[0, 1] > 0.97
    np.testing.assert_allclose(own.decision_function(-both), -own.decision_function(both), atol=1e-9)
    with pytest.raises(InputError, match="no column 7"):
        PreferenceClassifier(base_column=7).fit(both, y)
    with pytest.raises(InputError, match="cannot hold user ids and base scores"):
        PreferenceClassifier(user_column=3, base_column=-1).fit(both, y)
    both[5, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        PreferenceClassifier(base_column=3).fit(both, y)
