"""VPL: near the ideal observer at every size of context, symmetric by construction, and honest about collapse."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit, log_expit

from plurality.datasets.simulated import populations as planted
from plurality.datasets.simulated.two_modes import ideal_observer, two_modes
from plurality.errors import InputError, InputWarning
from plurality.models import BradleyTerry
from plurality.models.vpl import VPL
from plurality.models.vpl.episodes import EpisodeSampler, UserSortedRows, merged
from plurality.models.vpl.head import normal_kl
from plurality.reward.posterior import Evidence, Posterior
from plurality.reward.tensors import Tensors

QUICK = {"n_codes": 2, "n_features": 4, "decay": 15.0, "beta": 0.1}
CONTEXT_SIZES = (0, 1, 2, 4, 8, 16)


def hit(odds, data):
    return np.mean((odds > 0) == (data.label > 0.5))


def nats(odds, data):
    return -np.mean(data.label * log_expit(odds) + (1 - data.label) * log_expit(-odds))


def first(sample, n):
    rank = np.arange(len(sample.data)) - np.searchsorted(sample.data.user, sample.data.user)
    return sample.data.take(rank < n)


@pytest.fixture(scope="module")
def modes():
    """300 users of two modes × 100 comparisons; 200 unseen users, 16 comparisons each and 100 to predict."""
    seen, new = two_modes(seed=0, unseen=200)
    support, query = new.sample(16, seed=3), new.sample(100, seed=4)
    return new, support, query, VPL().fit(seen.sample(100, seed=1).data)


def test_the_ideal_observer_is_what_the_page_says():
    """.620 .738 .786 .815 .835 .837 after 0 to 16 contexts: METHODS, measured on a population of this kind."""
    _, new = two_modes(seed=1, unseen=2000)
    support, query = new.sample(16, seed=2), new.sample(20, seed=3)
    found = [hit(ideal_observer(new, support, query, n), query.data) for n in CONTEXT_SIZES]
    np.testing.assert_allclose(found, [0.620, 0.738, 0.786, 0.815, 0.835, 0.837], atol=0.012)


@pytest.mark.parametrize("n", CONTEXT_SIZES)
def test_unseen_users_are_predicted_as_the_ideal_observer_does(modes, n):
    new, support, query, model = modes
    known = model.adapt(first(support, n)) if n else model
    odds, ideal = known.log_odds(query.data, unknown="population"), ideal_observer(new, support, query, n)
    assert hit(odds, query.data) > hit(ideal, query.data) - 0.015
    assert nats(odds, query.data) < nats(ideal, query.data) + 0.03


def test_certainty_grows_with_every_comparison(modes):
    _, support, _, model = modes
    sizes = [
        np.mean(model.adapt(first(support, n)).users.tail(200)["uncertainty"].to_numpy()) for n in (1, 2, 4, 8, 16)
    ]
    assert np.all(np.diff(sizes) < 0)
    evidence = Tensors.of(first(support, 16), model.head).evidence(model.head)
    one = Evidence(*(t[:16] for t in vars(evidence).values()))
    spread = []
    for k in range(1, 17):
        part = Evidence(*(t[:k] for t in vars(one).values()))
        spread.append(model.head.doubled().infer(part, model.prior, 1).covariance[0])
    for before, after in pairwise(spread):
        assert torch.linalg.eigvalsh(before - after).min() > -1e-9  # smaller in every direction, for this very user


def test_the_report_shows_a_latent_that_is_listened_to(modes):
    report = modes[3].report
    assert report["active_units"] >= 1
    assert report["kl"] > 0.5
    assert report["nats_own"] < report["nats_prior"] - 0.1
    assert report["nats_own"] < report["nats_another"] - 0.1
    assert report["nats_own"] < report["nats_shuffled"] - 0.1
    assert report["mirror_cosine"] == pytest.approx(-1, abs=1e-3)


@pytest.mark.slow
def test_three_groups_in_256_dimensions():
    """The released code stays at Bradley–Terry's .60 here, whatever its settings (METHODS); .74 is asked for."""
    seen, new = planted.pal(width=256, preference=16, weights="onehot", seed=0)
    support, query = new.sample(16, seed=3), new.sample(100, seed=4).data
    model = VPL().fit(seen.sample(100, seed=1).data)
    assert hit(model.adapt(support.data).log_odds(query), query) > 0.74


def test_nothing_personal_is_said_to_be_nothing():
    """One taste for all users: the latent collapses or is not listened to, and accuracy is Bradley–Terry's."""
    seen, _ = planted.taste_groups(80, shares=(1.0,), width=8, seed=5)
    train, test = seen.sample(30, seed=6).data, seen.sample(60, seed=7).data
    with pytest.warns(InputWarning, match=r"vpl: (the posterior has collapsed|codes differ)"):
        model = VPL(n_codes=2, n_features=3, decay=15.0).fit(train)
    pooled = BradleyTerry().fit(train)
    assert hit(model.log_odds(test), test) > hit(pooled.log_odds(test), test) - 0.015
    assert nats(model.log_odds(test), test) < nats(pooled.log_odds(test), test) + 0.02


@pytest.fixture(scope="module", params=["product", "attention", pytest.param("mean", marks=pytest.mark.slow)])
def small(request):
    seen, new = two_modes(60, width=6, seed=8, unseen=20)
    model = VPL(**QUICK, aggregation=request.param).fit(seen.sample(30, seed=9).data)
    return model, new.sample(8, seed=10).data


def test_exchanging_sides_with_their_labels_changes_no_posterior(small):
    model, support = small
    one, other = model.adapt(support), model.adapt(support.swapped())
    np.testing.assert_allclose(one.posterior.codes, other.posterior.codes, atol=1e-9)
    np.testing.assert_allclose(one.posterior.covariance, other.posterior.covariance, atol=1e-9)


def test_turning_labels_round_mirrors_the_posterior_exactly(small):
    """About what ties would give; the covariance does not know the labels."""
    model, support = small
    ids = support.user_ids
    up, down, tie = (model.adapt(replace(support, label=y)).beliefs(ids) for y in
                     (support.label, 1 - support.label, np.full(len(support), 0.5)))  # fmt: skip
    np.testing.assert_allclose(up.codes - tie.codes, tie.codes - down.codes, atol=1e-9)
    np.testing.assert_allclose(up.covariance, down.covariance, atol=1e-12)


def test_without_comparisons_there_is_the_prior(small):
    model, _ = small
    nobody = Evidence(*(torch.zeros(0, 8, dtype=torch.float64),) * 2, *(torch.zeros(0, dtype=torch.int64),),
                      *(torch.zeros(0, dtype=torch.float64),) * 3)  # fmt: skip
    found = model.head.doubled().infer(nobody, model.prior, 3)
    np.testing.assert_allclose(found.codes, np.zeros((3, 2)), atol=1e-12)
    np.testing.assert_allclose(found.covariance, np.tile(np.eye(2), (3, 1, 1)), atol=1e-9)


def test_order_of_a_context_is_nothing_and_a_weight_is_a_repetition(small):
    model, support = small
    shuffled = support.take(np.random.default_rng(0).permutation(len(support)))
    thrice = support.take(np.repeat(np.arange(len(support)), 3))
    heavy = replace(support, weight=np.full(len(support), 3.0))
    ids = support.user_ids
    np.testing.assert_allclose(model.adapt(support).codes(ids), model.adapt(shuffled).codes(ids), atol=1e-9)
    np.testing.assert_allclose(model.adapt(thrice).codes(ids), model.adapt(heavy).codes(ids), atol=1e-9)


def test_a_prediction_is_the_mean_over_draws_of_z(small):
    model, support = small
    known = model.adapt(support)
    beliefs = known.beliefs(support.users)
    noise = torch.randn(2000, 20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = beliefs.codes + (torch.linalg.cholesky(beliefs.covariance) @ noise[..., None]).squeeze(-1)
    sure = torch.zeros(20, 2, 2, dtype=torch.float64)
    p = np.mean([expit(known.log_odds(support, beliefs=Posterior(z, sure))) for z in draws[:400]], 0)
    np.testing.assert_allclose(known.prefer(support), p, atol=0.05)


@pytest.mark.slow
def test_an_mlp_over_features_and_code_is_there_too():
    seen, new = two_modes(60, width=6, seed=11, unseen=40)
    model = VPL(**QUICK, hidden=8).fit(seen.sample(40, seed=12).data)
    support, query = new.sample(16, seed=13).data, new.sample(60, seed=14)
    assert hit(model.adapt(support).log_odds(query.data), query.data) > query.accuracy() - 0.05
    u = model.utility(query.data.items[:9], list(model.user_ids[:3]))
    each = [model.score(query.data.items[:9], np.arange(9), [user] * 9) for user in model.user_ids[:3]]
    np.testing.assert_allclose(u, each, atol=1e-4)


def test_kl_is_that_of_torch():
    generator = torch.Generator().manual_seed(1)
    root = torch.randn(5, 3, 3, generator=generator, dtype=torch.float64)
    covariance = root @ root.mT + 0.1 * torch.eye(3)
    mean = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal
    wanted = torch.distributions.kl_divergence(
        normal(mean, covariance), normal(torch.zeros(3).double(), torch.eye(3).double())
    )
    marginal, dependence = normal_kl(mean, covariance)
    np.testing.assert_allclose(marginal.sum(1) + dependence, wanted, rtol=1e-9)
    assert (marginal >= 0).all()
    assert (dependence >= -1e-12).all()


def test_contexts_and_queries_are_disjoint_and_of_all_sizes():
    seen, _ = two_modes(40, width=4, seed=15)
    data = merged(seen.sample(20, seed=16).data.in_key_order())
    sampler = EpisodeSampler(UserSortedRows.of(data, torch.zeros(1)), seed=0, most=64)
    sizes = []
    for step in range(60):
        episode = sampler.sample(step)
        asked = episode.queries[episode.weight > 0]
        assert not set(episode.context.tolist()) & set(asked.tolist())
        sizes += np.bincount(episode.user, minlength=40).tolist()
    assert min(sizes) == 0
    assert max(sizes) == 10
    assert 0.08 < np.mean(np.array(sizes) == 0) < 0.2


def test_one_comparison_each_raises_with_what_would_do():
    seen, _ = two_modes(30, width=4, seed=17)
    with pytest.raises(
        InputError, match=r"no user has two comparisons.*several comparisons each, or fit bradley_terry"
    ):
        VPL().fit(seen.sample(1, seed=18).data)


def test_settings_that_cannot_be():
    for text, settings in {
        "aggregation 'sum' is unknown; choose one of product, attention, mean": {"aggregation": "sum"},
        "n_codes, draws and max_context must be 1 or more": {"n_codes": 0},
        "n_features must be 1 or more": {"n_features": 0},
        "floor lies between 0 and 1": {"floor": 1.5},
        "decay 0 is not positive": {"decay": 0},
    }.items():
        with pytest.raises(InputError, match=text):
            VPL(**settings)


def test_codes_are_in_the_users_table(small):
    users = small[0].users
    assert users.columns == ["user_id", "z_0", "z_1", "n_comparisons", "uncertainty"]
    assert users.filter(~pl.col("uncertainty").is_between(0, 1)).height == 0
