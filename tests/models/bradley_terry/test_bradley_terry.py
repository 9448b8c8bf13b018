"""Bradley–Terry against scikit-learn and choix, and its temperature against planted carelessness."""

import choix
import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from plurality.data.comparisons import Comparisons
from plurality.data.keys import mix, text_keys
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.models import BradleyTerry


def sampled(width, *, n_users=20, each=30, size=1.0, shift=0.0, seed=0):
    seen, _ = planted.taste_groups(n_users, width=width, seed=seed)
    data = seen.sample(each, seed=seed + 1).data
    return Comparisons(**{**vars(data), "items": data.items * np.float32(size) + np.float32(shift)})


def weights(model):
    """Coefficients on the embeddings as they came, float64."""
    return (model.head.projector.direction() / model.head.projector.scale).double().numpy()


def penalised(x, y, decay, scale, weight=None):
    """The same prior in scikit-learn's terms: ½‖v‖² + C Σ nll with C = 1 / (decay · d), v on scaled inputs."""
    reference = LogisticRegression(C=1 / (decay * x.shape[1]), fit_intercept=False, solver="newton-cholesky", tol=1e-7)
    return reference.fit(x / scale, y, weight).coef_[0] / scale


@pytest.mark.parametrize("decay", [0.01, 1.0, 30.0, 1e3])
@pytest.mark.parametrize(("width", "size", "shift"), [(8, 1.0, 0.0), (8, 37.0, 20.0), (64, 1.0, 0.0), (128, 0.05, 0.0)])
def test_linear_is_penalised_logistic_regression_on_differences(width, size, shift, decay):
    data = sampled(width, size=size, shift=shift)
    model = BradleyTerry(decay=decay).fit(data)
    x = data.items[data.first].astype(float) - data.items[data.second].astype(float)
    scale = np.sqrt(np.square(x).mean() / 2)
    assert float(model.head.projector.scale[0]) == pytest.approx(scale, rel=1e-6)
    expected = penalised(x, data.label, decay, scale)
    np.testing.assert_allclose(weights(model) * scale, expected * scale, atol=1e-5)
    np.testing.assert_allclose(model.prefer(data), expit(x @ expected), atol=2e-5)


def test_weights_and_soft_labels_as_scikit_learn_counts_them():
    """A soft label y with weight w is a row of each label, with weights w y and w (1 − y)."""
    data, rng = sampled(6), np.random.default_rng(3)
    label, weight = rng.choice([0, 0.25, 0.5, 1], len(data)), rng.uniform(0.3, 2, len(data))
    data = Comparisons(**{**vars(data), "label": label, "weight": weight})
    model = BradleyTerry(decay=5.0).fit(data)
    x = data.items[data.first].astype(float) - data.items[data.second].astype(float)
    rows, twice = np.r_[np.ones(len(data)), np.zeros(len(data))], np.r_[weight * label, weight * (1 - label)]
    expected = penalised(np.r_[x, x], rows, 5.0, float(model.head.projector.scale[0]), twice)
    np.testing.assert_allclose(weights(model), expected, atol=1e-5)


@pytest.mark.parametrize("decay", [0.1, 3.0])
def test_one_hot_items_are_choix(decay):
    """choix penalises by alpha ‖θ‖², prior variance 1/(2 alpha); ours is decay · d · scale² ‖θ‖² / 2."""
    rng, n, m = np.random.default_rng(0), 400, 12
    first = rng.integers(m, size=n)
    second = (first + rng.integers(1, m, size=n)) % m
    strength = rng.normal(size=m)
    label = (rng.random(n) < expit(strength[first] - strength[second])).astype(float)
    data = Comparisons(
        items=np.eye(m, dtype=np.float32),
        first=first,
        second=second,
        user=rng.integers(5, size=n),
        label=label,
        weight=np.ones(n),
        group=mix(np.arange(n)),
        prompt=np.zeros(m, dtype=np.int64),
        users=pl.DataFrame({"user_id": list("abcde")}),
        item_keys=mix(np.arange(m)),
        prompt_keys=text_keys([""]),
    )
    model = BradleyTerry(decay=decay).fit(data)
    pairs = [(a, b) if y else (b, a) for a, b, y in zip(first, second, label, strict=True)]
    alpha = decay * m * float(model.head.projector.scale[0]) ** 2 / 2
    expected = choix.opt_pairwise(m, pairs, alpha=alpha, method="Newton-CG", tol=1e-12)
    utility = model.utility(data.items)[0].astype(float)
    np.testing.assert_allclose(utility - utility.mean(), expected - expected.mean(), atol=1e-5)


def test_all_users_get_the_same_reward():
    data = sampled(6)
    model = BradleyTerry(decay=5.0).fit(data)
    u = model.utility(data.items)
    assert (u == u[0]).all()
    assert model.users.columns == ["user_id", "n_comparisons", "uncertainty"]
    unseen = data.with_users([f"unseen {i}" for i in range(20)])
    np.testing.assert_array_equal(model.prefer(unseen, unknown="population"), model.prefer(data))


def test_chosen_decay_recovers_the_planted_direction():
    seen, _ = planted.taste_groups(100, shares=(1.0,), width=16, seed=2)
    sample, test = seen.sample(40, seed=3), seen.sample(20, seed=4)
    model = BradleyTerry().fit(sample.data)
    true, found = seen.theta[0], weights(model)
    assert true @ found / np.linalg.norm(found) > 0.98
    assert np.linalg.norm(found) == pytest.approx(2.0, abs=0.25)  # the planted scale
    p = model.prefer(test.data)
    assert np.mean((p > 0.5) == (test.data.label > 0.5)) > test.accuracy() - 0.02
    assert np.abs(p - test.p).mean() < 0.04


def test_hidden_layer_finds_what_no_direction_can():
    """u = |x₀|: every linear reward is at chance."""

    def bent(x, theta):
        return 4 * np.abs(x[:, 0]) + 0 * theta[:, 0]

    population = planted.Population(bent, np.zeros((40, 1)), np.zeros(40, dtype=np.int64), np.zeros(40), 3)
    train, test = population.sample(60, seed=5).data, population.sample(30, seed=6)
    accuracy = {
        hidden: np.mean((BradleyTerry(hidden=hidden).fit(train).prefer(test.data) > 0.5) == (test.data.label > 0.5))
        for hidden in (0, 16)
    }
    assert accuracy[0] < 0.56
    assert accuracy[16] > test.accuracy() - 0.05


def test_temperature_finds_who_is_careless():
    seen, new = planted.careless(120, width=8, seed=7, unseen=60)
    train, test = seen.sample(60, seed=8).data, seen.sample(40, seed=9).data
    plain, warm = BradleyTerry().fit(train), BradleyTerry(temperature=True).fit(train)
    beta = warm.users["inverse_temperature"].to_numpy()
    assert spearmanr(beta, seen.flip).statistic < -0.8

    def nats(model, data):
        p = model.prefer(data, unknown="population")
        return -np.log(np.where(data.label > 0.5, p, 1 - p)).mean()

    assert nats(warm, test) < nats(plain, test) - 0.01
    same = (plain.gap(test) > 0) == (warm.gap(test) > 0)
    assert same.mean() > 0.98  # care is not taste: who wins hardly changes
    fresh = new.sample(40, seed=10).data
    adapted = warm.adapt(new.sample(30, seed=11).data)
    assert nats(adapted, fresh) < nats(warm, fresh)


def test_settings_that_cannot_be():
    for settings in ({"hidden": -1}, {"n_init": 0}, {"decay": 0.0}, {"decay": -1.0}, {"decay": float("nan")}):
        with pytest.raises(InputError, match="bradley_terry: "):
            BradleyTerry(**settings)
