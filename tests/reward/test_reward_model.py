"""The fitted model: its doors agree with one another, and none lets bad input through."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit

from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.models import PAL, BradleyTerry
from plurality.reward import item_features
from plurality.reward import reward_model as reward_module
from plurality.reward.posterior import Posterior

POPULATION, NEWCOMERS = planted.pal(25, prototypes=3, width=8, preference=2, seed=0, unseen=40)


@pytest.fixture(scope="module")
def data():
    return POPULATION.sample(20, seed=1, items=60).data


@pytest.fixture(scope="module")
def model(data):
    return PAL(n_prototypes=3, preference=4, decay=3.0).fit(data, seed=0)


class Named:
    """Just enough of an encoder to be told from another."""

    def __init__(self, name):
        self.fingerprint = name

    def describe(self):
        return {"kind": "toy", "name": self.fingerprint}


def test_prefer_averages_over_what_is_not_known_of_the_code(data, model):
    """Against a thousand plain draws of each code; a certain code leaves the sigmoid of the gap."""
    assert model.log_odds(data).dtype == np.float64
    np.testing.assert_allclose(model.prefer(data), expit(model.log_odds(data)), rtol=1e-12)
    some = data.take(np.arange(0, len(data), 50))
    post = model.posterior
    noise = torch.randn(1000, 25, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = post.codes + (torch.linalg.cholesky(post.covariance) @ noise[..., None]).squeeze(-1)
    certain = torch.full((25, 3, 3), 0.0, dtype=torch.float64)
    mean = np.mean([model.prefer(some, beliefs=Posterior(z, certain)) for z in draws], 0)
    np.testing.assert_allclose(model.prefer(some), mean, atol=0.03)
    at_code = model.log_odds(data, beliefs=Posterior(post.codes, certain))
    np.testing.assert_allclose(at_code, model.gap(data), atol=1e-5)


def test_all_doors_give_the_same_utility(data, model):
    ids = data.users["user_id"].to_list()
    u = model.utility(data.items, ids)
    assert u.shape == (25, 60)
    scored = model.score(data.items, np.tile(np.arange(60), 25), [i for i in ids for _ in range(60)])
    np.testing.assert_allclose(scored.reshape(25, 60), u, atol=1e-4)
    np.testing.assert_allclose(u[data.user, data.first] - u[data.user, data.second], model.gap(data), atol=1e-4)
    np.testing.assert_array_equal(model.utility(data.items), model.utility(data.items, list(model.user_ids)))
    np.testing.assert_allclose(model.utility(data.items, ids[3:5]), u[3:5], atol=1e-5)


def test_blocks_change_nothing(data, model, monkeypatch):
    whole, scored = model.gap(data), model.utility(data.items)
    for module in (reward_module, item_features):
        monkeypatch.setattr(module, "BLOCK", 7)
    np.testing.assert_allclose(model.gap(data), whole, atol=1e-5)
    np.testing.assert_allclose(model.utility(data.items), scored, atol=1e-5)


def test_a_subset_is_predicted_as_within_the_whole(data, model):
    rows = np.array([3, 77, 400])
    np.testing.assert_allclose(model.gap(data.take(rows)), model.gap(data)[rows], atol=1e-5)
    assert model.gap(data.take(rows[:0])).shape == (0,)


def test_users_table(data, model):
    users = model.users
    weights = users.select(pl.col("^weight_.*$")).to_numpy()
    assert users["user_id"].to_list() == data.users["user_id"].to_list()
    assert users["n_comparisons"].to_list() == [20] * 25
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)
    assert (weights > 0).all()
    assert users["uncertainty"].is_between(0, 1, closed="none").all()
    assert sum(model.population.values()) == pytest.approx(1)


def test_only_users_with_comparisons_are_known(data):
    some = data.of_users(["user-3", "user-7"])
    model = BradleyTerry(temperature=True, decay=10.0).fit(some)
    assert model.user_ids == ("user-3", "user-7")
    with pytest.raises(InputError, match="'user-0'"):
        model.prefer(data)


def test_uncertainty_falls_with_evidence(model):
    long = NEWCOMERS.sample(100, seed=5).data
    row = np.arange(len(long)) % 100
    uncertainty = [
        model.adapt(long.take(row < n)).users.filter(pl.col("user_id").str.starts_with("new"))["uncertainty"].mean()
        for n in (1, 3, 10, 30, 100)
    ]
    assert np.all(np.diff(uncertainty) < 0)


def test_adapting_helps_newcomers(model):
    support, test = NEWCOMERS.sample(40, seed=6).data, NEWCOMERS.sample(100, seed=7)
    adapted = model.adapt(support)

    def accuracy(p):
        return np.mean((p > 0.5) == (test.data.label > 0.5))

    own, zero_shot = accuracy(adapted.prefer(test.data)), accuracy(model.prefer(test.data, unknown="population"))
    assert own > zero_shot + 0.03  # 4,000 comparisons: the standard error of a paired difference is under .008
    assert own > test.accuracy() - 0.1


def test_replacing_known_users_forgets_what_they_said_before(data, model):
    half = data.take(np.arange(len(data)) % 2 == 0).of_users(["user-2", "user-9"])
    adapted = model.adapt(half, replace=True)
    assert adapted.user_ids == model.user_ids
    assert adapted.users.filter(pl.col("user_id") == "user-2")["n_comparisons"].item() == 10
    assert model.users.filter(pl.col("user_id") == "user-2")["n_comparisons"].item() == 20
    everything = model.adapt(data, replace=True)  # in full again: what the fit had found, from another start
    np.testing.assert_allclose(everything.codes(list(model.user_ids)), model.posterior.codes, atol=1e-4)


def test_unknown_users_under_the_former_name(data, model):
    with pytest.warns(DeprecationWarning, match="strangers is now unknown_users"):
        assert len(model.strangers(data)) == len(model.unknown_users(data)) == 0


def test_population_code_for_unknown_users(data, model):
    unseen = data.with_users([f"new user {i}" for i in range(25)])
    zero_shot = model.prefer(unseen, unknown="population")
    prior = Posterior.of_prior(model.prior, 25)
    np.testing.assert_array_equal(zero_shot, model.prefer(data, beliefs=prior))


def test_given_beliefs_replace_the_users_own(data, model):
    own = model.beliefs(data.users)
    np.testing.assert_array_equal(model.log_odds(data, beliefs=own), model.log_odds(data))
    order = np.roll(np.arange(25), 1)
    renamed = data.with_users([f"user-{i}" for i in order])
    np.testing.assert_array_equal(model.log_odds(data, beliefs=own.of(torch.as_tensor(order))), model.log_odds(renamed))


def test_a_few_unknown_users_among_known_users_get_the_prior(data, model):
    ids = ["x", "user-3", "y", "user-1"]
    beliefs = model.beliefs(ids, "population")
    np.testing.assert_array_equal(beliefs.codes[[1, 3]], model.codes(["user-3", "user-1"]))
    np.testing.assert_array_equal(beliefs.codes[[0, 2]], model.prior.mean.expand(2, -1))
    np.testing.assert_allclose(beliefs.covariance[0], torch.linalg.inv(model.prior.precision))


def test_win_probability_is_the_mean_over_references(data, model):
    items, reference, ids = data.items[:5], data.items[5:12], ["user-2", "user-4"]
    u, r = model.utility(items, ids), model.utility(reference, ids)
    wanted = expit(u[:, :, None] - r[:, None, :]).mean(2)
    np.testing.assert_allclose(model.win_probability(items, reference, ids), wanted, atol=1e-6)
    with pytest.raises(InputError, match="no reference"):
        model.win_probability(items, reference[:0], ids)


def test_any_column_can_be_the_unit(data):
    """A group's code is that of one user who made all of the group's comparisons."""
    by_group = PAL(n_prototypes=2, preference=3, decay=3.0, unit="group").fit(data)
    group = data.users["group"].to_list()
    assert by_group.user_ids == tuple(sorted(set(group)))
    names = sorted(set(group))
    as_one = replace(
        data,
        users=pl.DataFrame({"user_id": names}),
        user=np.array([names.index(g) for g in group])[data.user],
    )
    told = PAL(n_prototypes=2, preference=3, decay=3.0).fit(as_one)
    np.testing.assert_allclose(by_group.prefer(data), told.prefer(as_one), atol=1e-6)
    again = by_group.adapt(data.of_users(["user-0"]))
    assert set(again.user_ids) == set(names)
    with pytest.raises(InputError, match="no column 'country'"):
        PAL(unit="country").fit(data)
    gone = replace(data, users=data.users.with_columns(group=pl.lit(None, pl.String)))
    with pytest.raises(InputError, match="'user-0' has comparisons but no 'group'"):
        PAL(unit="group").fit(gone)


def test_weights_of_two_prototypes_by_hand(data):
    """u(x₁) − u(x₂) = 2⟨f(x₁) − f(x₂), P w⟩ − ‖f(x₁)‖² + ‖f(x₂)‖², w from the users table."""
    model = PAL(n_prototypes=2, preference=3, decay=3.0).fit(data)
    state = {k: v.double().numpy() for k, v in model.head.state_dict().items()}
    f = ((data.items - state["projector.mean"]) / state["projector.scale"]) @ state["projector.linear"].T / np.sqrt(8)
    ideal = model.users.select("weight_0", "weight_1").to_numpy() @ state["prototypes"]
    square = np.square(f).sum(1)
    u = 2 * (f[data.first] - f[data.second]) * ideal[data.user]
    np.testing.assert_allclose(model.gap(data), u.sum(1) - square[data.first] + square[data.second], atol=1e-4)


def broken(data, row):
    items = data.items.copy()
    items[row, 0] = np.nan
    return replace(data, items=items)


def test_errors_are_one_line_with_place_and_remedy(data, model):
    narrow, empty = replace(data, items=data.items[:, :5]), data.take(np.zeros(0, dtype=int))
    first = int(np.flatnonzero((data.first == 7) | (data.second == 7))[0])
    cases = [
        (lambda: model.codes(["user-1", "x", "y", "x"]), r"2 users are not known.*'x'.*adapt.*unknown='population'"),
        (lambda: model.codes(["user-1"], "populaton"), "'populaton' is not a valid option.*error, population"),
        (lambda: model.prefer(narrow), r"\(60, 5\).*width 8"),
        (lambda: model.utility(data.items[0]), r"\(8,\).*width 8"),
        (lambda: model.adapt(empty), "planted: no comparison to adapt on"),
        (lambda: model.prefer(broken(data, 7)), rf"planted: comparison {first} \(from 0\).*NaN"),
        (lambda: model.utility(broken(data, 7).items), r"embedding 7 \(from 0\).*NaN"),
        (lambda: model.adapt(broken(data, 7)), "users cannot be inferred.*NaN"),
        (model.text_encoder, "fitted on ready-made embeddings"),
    ]
    for call, text in cases:
        with pytest.raises(InputError, match=text) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_another_encoder_is_an_error(data):
    model = BradleyTerry(decay=10.0).fit(replace(data, encoder=Named("one")))
    model.prefer(replace(data, encoder=Named("one")))
    model.prefer(data)  # ready-made embeddings: nothing is known against them
    with pytest.raises(InputError, match=r"embedded by toy two \[two\], but the model was fitted on toy one"):
        model.prefer(replace(data, encoder=Named("two")))


def test_a_model_shows_what_it_is(model):
    assert repr(model).startswith("RewardModel(PAL(n_prototypes=3, preference=4, decay=3.0)")
    assert repr(model).endswith("25 users)")
    assert "user-0" in model._repr_html_()


def test_predictions_need_no_gradient(data, model):
    assert not any(p.requires_grad for p in model.head.parameters())
    assert not model.features(data.items).requires_grad
    assert torch.is_inference_mode_enabled() is False
