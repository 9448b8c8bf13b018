"""Anything can stand in the table: scores as they were given, a fitted reward as its spec, classifiers by hand."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit, logit
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

import plurality as pl8
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError, InputWarning
from plurality.evaluation.compare import compare
from plurality.evaluation.fold import BASELINE, Fold
from plurality.evaluation.scorers import Classifier, scale_of
from plurality.fitting.base_scale import PRIOR_SD
from plurality.models import PAL, BradleyTerry

ARGUMENTS = {"split": "row", "support": 5, "n_bootstrap": 20, "shuffled": False}
SPEC = PAL(n_prototypes=2, preference=3, decay=3.0)


@pytest.fixture(scope="module")
def sample():
    return planted.taste_groups(40, shares=(0.8, 0.2), width=5, scale=2.0, seed=1)[0].sample(30, seed=2)


@pytest.fixture(scope="module")
def data(sample):
    """With weights and ties, and with texts: a prompt, and the row of the item as its completion."""
    data = sample.data
    rng = np.random.default_rng(0)
    label = np.where(rng.random(len(data)) < 0.05, 0.5, data.label)
    texts = pl.DataFrame(
        {"prompt": ["Which?"] * len(data.items), "completion": [f"row {i}" for i in range(len(data.items))]}
    )
    return replace(data, label=label, weight=rng.uniform(0.5, 2.0, len(data)), texts=texts)


@pytest.fixture(scope="module")
def scores(data):
    """What a linear reward that is roughly right says of every item."""
    model = LogisticRegression(fit_intercept=False).fit(
        data.items[data.first] - data.items[data.second], data.label > 0.5
    )
    return 7 * (data.items @ model.coef_[0]).astype(float)


@pytest.fixture(scope="module")
def found(data, scores):
    def score(prompts, completions):
        assert set(prompts) == {"Which?"}
        return torch.tensor([scores[int(text.split()[1])] for text in completions])

    table = data.texts.with_columns(score=pl.Series(scores))
    both = np.stack([scores[data.first], scores[data.second]], 1)
    scorers = {
        "items": scores,
        "comparisons": both + np.random.default_rng(0).normal(size=(len(data), 1)),  # what both sides share is nothing
        "table": table.sample(fraction=1, shuffle=True, seed=0),
        "function": score,
        "flipped": -scores,
        "in percent": 100 * scores,
        "logistic": LogisticRegression(C=10.0),
        "trees": HistGradientBoostingClassifier(max_iter=5, random_state=0),
        "neighbours": KNeighborsClassifier(7),
    }
    return compare(data, [], scorers=scorers, **ARGUMENTS)


def gaps(found, line):
    return found.predictions.filter(pl.col("model") == line)["gap"].to_numpy()


def parts(data):
    cells = data.cells("row", support=5)
    return cells.train, {k: v for k, v in cells.tests.items() if len(v)}


def test_scores_are_the_same_however_they_are_given(found, data, scores):
    train, tests = parts(data)
    b = np.concatenate([scores[t.first] - scores[t.second] for t in tests.values()])
    scale = scale_of(scores[train.first] - scores[train.second], train)
    np.testing.assert_allclose(gaps(found, "items"), scale * b, rtol=1e-9)
    for line in ("comparisons", "table", "function", "in percent"):
        np.testing.assert_allclose(gaps(found, line), gaps(found, "items"), rtol=1e-6, atol=1e-9)
    fits = dict(found.fits.select("model", "scale").iter_rows())
    assert fits["items"] == pytest.approx(scale)
    assert fits["in percent"] == pytest.approx(scale / 100, rel=1e-5)
    assert fits[BASELINE] is None


def test_scores_that_run_against_people_say_nothing_rather_than_the_opposite(found):
    assert (gaps(found, "flipped") == 0).all()
    assert "runs against" not in str(found)
    assert "it is 0, as they run against" in " ".join(str(found).split())


def test_the_scale_is_logistic_regression_without_an_intercept(data):
    rng = np.random.default_rng(0)
    b, weight = rng.normal(size=500) * 40, rng.uniform(0.5, 2, 500)
    label = (rng.random(500) < expit(b / 50)).astype(float)
    size = np.sqrt(np.average(b**2, weights=weight))
    model = LogisticRegression(C=PRIOR_SD**2, fit_intercept=False, solver="newton-cholesky", tol=1e-7).fit(
        (b / size)[:, None], label, weight
    )

    def scale(gap, label):
        return scale_of(gap, replace(data.take(np.arange(500)), label=label, weight=weight))

    assert scale(b, label) == pytest.approx(model.coef_[0, 0] / size, rel=1e-5)
    assert scale(-b, 1 - label) == pytest.approx(scale(b, label))
    assert scale(-b, label) == scale(np.zeros(500), label) == 0
    with pytest.warns(InputWarning, match="tell nearly all labels"):
        assert 0 < scale(b, (b > 0).astype(float)) < np.inf


def test_a_classifier_by_hand(found, data):
    """Rows in both orders with the weight of their label, and the mean of both orders."""
    train, tests = parts(data)
    d, y, w = train.items[train.first] - train.items[train.second], train.label, train.weight
    rows = np.concatenate([d, d, -d, -d])
    labels = np.repeat([1, 0, 0, 1], len(d))
    weights = np.concatenate([w * y, w * (1 - y)] * 2)
    model = LogisticRegression(C=10.0).fit(rows, labels, weights)
    new = np.concatenate([t.items[t.first] - t.items[t.second] for t in tests.values()])
    p = (model.predict_proba(new)[:, 1] + model.predict_proba(-new)[:, 0]) / 2
    np.testing.assert_allclose(gaps(found, "logistic"), logit(p), atol=1e-3)


def test_no_intercept_says_which_side_is_the_first(data):
    """Nine in ten first sides win here; and sides change places, in training and in tests."""
    one_sided = replace(data, label=np.where(np.arange(len(data)) % 10 > 0, 1.0, 0.0))
    train, tests = parts(one_sided)

    def said(model, train, tests):
        fold = Fold(0, train, train.take([]), tests, {}, "user", False, 0, "cpu")
        (entry,) = Classifier(model).stand("it", fold).entries
        return np.concatenate(list(entry.log_odds.values()))

    swapped = {name: test.swapped() for name, test in tests.items()}
    for model in (LogisticRegression(), HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=50)):
        one = said(model, train, tests)
        np.testing.assert_allclose(said(model, train.swapped(), tests), one, atol=1e-4)
        np.testing.assert_allclose(said(model, train, swapped), -one, atol=1e-6)
    np.testing.assert_allclose(said(DummyClassifier(strategy="prior"), train, tests), 0, atol=1e-12)


def test_what_is_to_be_known_stands_below_the_table(found):
    for shown in (str(found), found._repr_html_()):
        text = " ".join(shown.split())
        assert "items: raw scores, times a scale of 0 or more that is fitted on the training part." in text
        assert "neighbours: takes no sample_weight, so ties are left out and weights are not looked at." in text
    assert found.about["scorers"]["items"] == "Scores"
    assert (found.fits["cpu_seconds"] >= 0).all()
    assert not found.predictions["control"].all()


def test_a_fitted_reward_gives_what_its_spec_gives(data):
    train, _ = parts(data)
    fitted = SPEC.fit(train, new_items_for="user", diagnostics=False)
    result = compare(data, {"spec": SPEC}, scorers={"fitted": fitted}, **(ARGUMENTS | {"support": [0, 2, 5]}))
    for kind in ("", " · population code", " · another user's code"):
        np.testing.assert_array_equal(gaps(result, f"spec{kind}"), gaps(result, f"fitted{kind}"))
    drop = ("model", "control")
    one, other = (result.curves.filter(pl.col("model") == m).drop(drop) for m in ("spec", "fitted"))
    assert one.equals(other)
    assert "fitted: fitted before, perhaps on the very rows it is tested on" in " ".join(str(result).split())


class ByGroup:
    """Knows users by a column of the users table: who of them like what is long on one axis."""

    def fit(self, data):
        group = data.users["group"].to_numpy()[data.user]
        delta = (data.items[data.first] - data.items[data.second]).astype(float)
        sign = np.where(data.label > 0.5, 1, -1)[:, None]
        self.taste = {g: (sign * delta)[group == g].mean(0) for g in np.unique(group)}

    def prefer(self, data):
        taste = np.array([self.taste[g] for g in data.users["group"].to_list()])[data.user]
        return expit(3 * ((data.items[data.first] - data.items[data.second]) * taste).sum(1))


def test_an_object_that_knows_users_has_the_controls_that_can_be_had(data):
    given = ByGroup()
    result = compare(data, [], scorers={"mine": given}, **(ARGUMENTS | {"shuffled": True}))
    lines = [m for m in result.table["model"].unique(maintain_order=True) if m.startswith("mine")]
    assert lines == ["mine", "mine · another user's code", "mine · shuffled users"]
    assert vars(given) == {}  # what is given is left as it is
    accuracy = dict(
        result.table.filter(cell="seen user, unseen row", metric="accuracy").select("model", "estimate").rows()
    )
    assert accuracy["mine"] > max(accuracy[line] for line in lines[1:]) + 0.03
    assert "no population's code that could be given to all of them" in " ".join(str(result).split())
    assert result.harmed.is_empty()


class AsTheyAre:
    """Says what a fitted model says, or whatever it is given."""

    def __init__(self, said):
        self.said = said

    def prefer(self, data):
        return self.said(data)


def test_an_object_without_fit_may_have_seen_the_tests_and_is_kept_from_certainty(data):
    sure = AsTheyAre(lambda d: (d.label > 0.5).astype(float))
    result = compare(data, [], scorers={"sure": sure}, **ARGUMENTS)
    assert np.abs(gaps(result, "sure")).max() == pytest.approx(logit(1 - 1e-6))
    assert "sure: has no fit, so it may have seen" in " ".join(str(result).split())
    assert result.table.filter(model="sure")["model"].len() > 0


def test_a_family_of_ones_own_is_fitted_where_it_is_given(data):
    """A spec is enough: it stands in no registry."""
    result = compare(
        data, {"mlp": BradleyTerry(hidden=4, decay=1.0)}, scorers={"bt": pl8.BradleyTerry().fit(data)}, **ARGUMENTS
    )
    assert {"mlp", "bt"} <= set(result.table["model"])


BAD = {
    "of another number": (np.zeros(7), r"scores of shape \(7,\); give \(\d+,\), one for each of data.items"),
    "for one side": (np.zeros((1200, 1)), r"scores of shape \(1200, 1\).*the first's and the second's"),
    "missing": (
        lambda data: np.where(np.arange(len(data.items)) == data.first[3], np.nan, 0.0), "no finite score for item"),
    "nothing": (object(), "which scores nothing"),
    "words": (["good"] * 3, "which scores nothing"),
    "a spec": (SPEC, "is a spec; give it among models"),
    "a class": (ByGroup, "is a class; give an object of it"),
    "a module": (torch.nn.Linear(5, 1), "is a module; give its scores"),
    "a table without scores": (pl.DataFrame({"prompt": ["a"], "completion": ["b"]}), "has no column score"),
    "a table of words": (
        pl.DataFrame({"prompt": ["a"], "completion": ["b"], "score": ["c"]}), "its column score is String"),
    "a table of others": (pl.DataFrame({"prompt": ["a"], "completion": ["b"], "score": [1.0]}), "items, 'row"),
    "a table with two": (
        pl.DataFrame({"prompt": ["a"] * 2, "completion": ["b"] * 2, "score": [1.0, 2.0]}), "scores 'b' twice"),
    "few of a function": (lambda _: lambda prompts, completions: [1.0], r"gave scores of shape \(1,\) for \d+ texts"),
    "NaN of a function": (lambda _: lambda prompts, completions: [np.nan] * len(prompts), "that are not finite"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_scores_are_one_clear_error_before_anything_is_fitted(kind, data, monkeypatch):
    monkeypatch.setattr(BradleyTerry, "learn", None)
    value, message = BAD[kind]
    value = value(data) if type(value).__name__ == "function" else value
    with pytest.raises(InputError, match=f"the scorer 'it'.*{message}") as caught:
        compare(data, [], scorers={"it": value}, **ARGUMENTS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [BASELINE, "pal", "", "a · b", 3])
def test_names_are_not_taken_and_no_controls(name, data, monkeypatch):
    monkeypatch.setattr(BradleyTerry, "learn", None)
    with pytest.raises(InputError, match=r"rename one of them|is not usable"):
        compare(data, [PAL()], scorers={name: np.zeros(len(data.items))}, **ARGUMENTS)


def test_a_list_is_no_mapping_and_texts_are_needed(data):
    with pytest.raises(InputError, match="is no mapping"):
        compare(data, [], scorers=[1.0], **ARGUMENTS)
    with pytest.raises(InputError, match=r"came without; give it \(M,\) scores"):
        compare(replace(data, texts=None), [], scorers={"it": lambda prompts, completions: []}, **ARGUMENTS)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (lambda d: np.full(len(d), 1.2), "gave 1.2 for a comparison; give P"),
        (lambda d: np.full(len(d), np.nan), "gave nan for a comparison"),
        (lambda d: [0.5], r"gave \(1,\) for \d+ comparisons"),
    ],
)
def test_what_an_object_says_is_checked(data, said, message):
    with pytest.raises(InputError, match=f"the scorer 'it' {message}"):
        compare(data, [], scorers={"it": AsTheyAre(said)}, **ARGUMENTS)


def test_a_classifier_without_probabilities_is_an_error(data, monkeypatch):
    monkeypatch.setattr(BradleyTerry, "learn", None)
    with pytest.raises(InputError, match="the scorer 'it' gives no probabilities"):
        compare(data, [], scorers={"it": SVC()}, **ARGUMENTS)


def test_conversations_are_given_as_trl_gives_them(data):
    talk = '[{"role": "user", "content": "Which?"}]'
    texts = data.texts.with_columns(prompt=pl.lit(talk), chat=pl.lit(True))
    seen = []

    def score(prompts, completions):
        seen.extend(zip(prompts, completions, strict=True))
        return [float(len(c[0]["content"])) for c in completions]

    compare(replace(data, texts=texts), [], scorers={"it": score}, **ARGUMENTS)
    prompt, completion = seen[0]
    assert prompt == [{"role": "user", "content": "Which?"}]
    assert completion == [{"role": "assistant", "content": "row 0"}]


def test_scorers_side_by_side_with_models_and_in_folds(data, scores):
    found = compare(data, [], scorers={"it": scores, "logistic": LogisticRegression()}, folds=2, **ARGUMENTS)
    assert found.fits.filter(model="it").height == 2
    assert found.predictions.filter(model="it").height == found.predictions.filter(model=BASELINE).height


def test_a_base_reward_is_the_line_that_all_are_compared_with():
    population, _ = planted.taste_groups(n_users=30, shares=(0.5, 0.5), width=4, seed=2)
    sample = population.sample(20, seed=0)
    rng = np.random.default_rng(0)
    data = replace(sample.data, base=4 * rng.normal(size=len(sample.data.items)))
    gap = sample.gap + 0.3 * data.base_gap
    data = replace(data, label=(rng.random(len(gap)) < 1 / (1 + np.exp(-gap))).astype(float))
    found = compare(data, [pl8.LowRank(rank=1, decay=1.0)], split="row", support=5, shuffled=False, n_bootstrap=50)
    lines = found.table.filter(metric="accuracy", cell="seen user, unseen row")
    by = {row["model"]: row for row in lines.iter_rows(named=True)}
    assert by["base"]["diff"] is None
    assert by["low_rank"]["diff_lo"] > 0.05  # people differ beside what the base knows
    assert by["bradley_terry"]["diff"] < 0.02
    assert found.fits.filter(model="base")["scale"][0] == pytest.approx(0.2, abs=0.1)
    assert "vs base" in str(found)
    assert "vs base" in found._repr_html_()
    with pytest.raises(InputError, match="'base' is the base reward"):
        compare(data, [pl8.LowRank(rank=1)], scorers={"base": np.zeros(len(data.items))})
