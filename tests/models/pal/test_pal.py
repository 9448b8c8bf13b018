"""PAL against planted populations whose groups, ideal points and prompt directions are known."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import adjusted_rand_score

from plurality.data.keys import text_keys
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.models import PAL, BradleyTerry
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.tensors import Tensors


def weights(model):
    return model.users.select(pl.col("^weight_.*$")).to_numpy()


def accuracy(p, data):
    return float(np.mean((p > 0.5) == (data.label > 0.5)))


@pytest.fixture(scope="module")
def ideal():
    """80 users around three ideal points, 40 newcomers, and a fit to 30 comparisons of each."""
    seen, new = planted.pal(80, prototypes=3, width=16, preference=2, seed=1, unseen=40)
    train, test, support, new_test = (p.sample(n, seed=s) for p, n, s in
                                      ((seen, 30, 2), (seen, 50, 3), (new, 20, 4), (new, 50, 5)))  # fmt: skip
    model = PAL(n_prototypes=3, preference=4).fit(train.data, seed=1)
    return seen, train, test, support, new_test, model


def test_predicts_seen_users_as_well_as_the_truth_does(ideal):
    _, train, test, _, _, model = ideal
    own = accuracy(model.prefer(test.data), test.data)
    assert own > test.accuracy() - 0.04  # 4,000 comparisons, a standard error of .005
    assert own > accuracy(BradleyTerry().fit(train.data).prefer(test.data), test.data) + 0.2
    assert np.abs(model.prefer(test.data) - test.p).mean() < 0.1


def test_predicts_unseen_users_from_twenty_comparisons(ideal):
    _, _, _, support, test, model = ideal
    adapted = accuracy(model.adapt(support.data).prefer(test.data), test.data)
    zero_shot = accuracy(model.prefer(test.data, unknown="population"), test.data)
    assert adapted > test.accuracy() - 0.06
    assert adapted > zero_shot + 0.2


def test_finds_the_planted_groups(ideal):
    seen, *_, model = ideal
    assert adjusted_rand_score(seen.group, weights(model).argmax(1)) > 0.8  # some five of 80 users may stray


def test_hard_groups_with_linear_tastes_are_separate_bradley_terry_fits():
    """Far ideal points and one-hot groups: as good as being told the groups."""
    seen, _ = planted.taste_groups(60, shares=(0.5, 0.5), width=8, scale=2.5, seed=0)
    train, test = seen.sample(30, seed=1).data, seen.sample(50, seed=2)
    model = PAL(n_prototypes=2, preference=4).fit(train)
    assert adjusted_rand_score(seen.group, weights(model).argmax(1)) > 0.95
    p = model.prefer(test.data)
    for group in (0, 1):
        ids = seen.users.filter(pl.col("group") == f"group {group}")["user_id"].to_list()
        told, rows = BradleyTerry().fit(train.of_users(ids)), np.isin(test.data.user, test.data.user_rows(ids))
        reference = told.prefer(test.data.take(rows))
        assert np.corrcoef(p[rows], reference)[0, 1] > 0.97
        assert accuracy(p[rows], test.data.take(rows)) > accuracy(reference, test.data.take(rows)) - 0.02


@pytest.mark.parametrize("settings", [{}, {"form": "B"}, {"utility": "norm"}, {"form": "B", "utility": "angle"}])
def test_one_prototype_is_one_reward_for_all_users(settings):
    seen, _ = planted.taste_groups(30, shares=(1.0,), width=6, seed=3)
    data = with_prompts(seen.sample(40, seed=4).data, 5)
    model = PAL(n_prototypes=1, preference=3, decay=3.0, **settings).fit(data)
    prompts = data.prompts[data.prompt] if model.head.uses_prompts else None
    u = model.utility(data.items, prompts=prompts)
    np.testing.assert_array_equal(u, np.tile(u[0], (30, 1)))
    np.testing.assert_array_equal(weights(model), np.ones((30, 1)))


def test_one_prototype_agrees_with_bradley_terry():
    seen, _ = planted.taste_groups(60, shares=(1.0,), width=8, seed=3)
    data, test = seen.sample(40, seed=4).data, seen.sample(40, seed=5)
    p, reference = (spec.fit(data).prefer(test.data) for spec in (PAL(n_prototypes=1), BradleyTerry()))
    assert np.abs(p - reference).mean() < 0.03
    assert accuracy(p, test.data) > accuracy(reference, test.data) - 0.015


def f(model, x):
    state = {k: v.double().numpy() for k, v in model.head.state_dict().items()}
    scaled = (x - state["projector.mean"]) / state["projector.scale"]
    return scaled @ state["projector.linear"].T / np.sqrt(x.shape[1])


@pytest.mark.parametrize("utility", ["squared", "norm"])
def test_what_is_preferred_lies_nearer_to_the_ideal_point(utility):
    """The sign: of a pair, the likelier one is the nearer one."""
    seen, _ = planted.pal(40, prototypes=2, width=8, preference=2, seed=6)
    data = seen.sample(40, seed=7).data
    model = PAL(n_prototypes=2, preference=4, utility=utility, decay=3.0).fit(data)
    ideal = weights(model) @ model.head.prototypes.double().numpy()
    first, second = (np.linalg.norm(f(model, data.items[side]) - ideal[data.user], axis=1)
                     for side in (data.first, data.second))  # fmt: skip
    np.testing.assert_array_equal(first < second, model.gap(data) > 0)
    assert np.mean((first < second) == (data.label > 0.5)) > 0.8
    power = 2 if utility == "squared" else 1
    scale = 1.0 if utility == "squared" else float(model.head.log_scale.exp())
    np.testing.assert_allclose(model.gap(data), scale * (second**power - first**power), atol=2e-3)


def with_prompts(data, n, seed=8):
    """The same comparisons, each under one of n prompts with a random embedding."""
    prompts = np.random.default_rng(seed).standard_normal((n, data.dim), dtype=np.float32)
    place = np.arange(len(data.items)) % len(data) % n
    return replace(data, prompt=place, prompts=prompts, prompt_keys=text_keys([str(q) for q in range(n)]))


def test_form_b_finds_directions_that_turn_with_the_prompt():
    """u = ⟨x, G_k q⟩ for users of group k: no reward that ignores the prompt is better than chance."""
    rng, width = np.random.default_rng(9), 4
    seen, _ = planted.taste_groups(60, shares=(0.5, 0.5), width=width, seed=9)
    turn = rng.normal(size=(2, width, width)) * 1.2

    def sampled(n, seed):
        data = with_prompts(seen.sample(n, seed=seed).data, 30)
        prompts = data.prompts[data.prompt[data.first]]
        direction = np.einsum("nij,nj->ni", turn[seen.group[data.user]], prompts)
        p = expit(((data.items[data.first] - data.items[data.second]) * direction).sum(1))
        return replace(data, label=(np.random.default_rng(seed).random(len(data)) < p).astype(float)), p

    train, (test, truth) = sampled(60, 10)[0], sampled(30, 11)
    assert accuracy(BradleyTerry().fit(train).prefer(test), test) < 0.56
    assert accuracy(PAL(n_prototypes=2, preference=4, decay=3.0).fit(train).prefer(test), test) < 0.62
    for utility, slack in (("inner", 0.08), ("angle", 0.15)):  # the truth has lengths, which an angle cannot tell
        model = PAL(n_prototypes=2, preference=4, form="B", utility=utility, decay=3.0).fit(train)
        assert accuracy(model.prefer(test), test) > accuracy(truth, test) - slack, utility
        assert adjusted_rand_score(seen.group, weights(model).argmax(1)) > 0.9, utility


def test_an_unseen_user_gets_the_mean_weights(ideal):
    *_, model = ideal
    np.testing.assert_allclose(list(model.population.values()), weights(model).mean(0), atol=0.02)


def test_two_comparisons_do_not_push_a_user_into_a_corner(ideal):
    """A flat prior would; the population's does not, and costs nothing in accuracy against no comparisons."""
    _, _, _, support, test, model = ideal
    row = np.arange(len(support.data)) % 20
    two = support.data.take(row < 2)
    adapted = model.adapt(two)
    mine = adapted.users.filter(pl.col("user_id").str.starts_with("new"))
    shares = mine.select(pl.col("^weight_.*$")).to_numpy()
    assert shares.max() < 0.8
    assert shares.min() > 0.05
    assert mine["uncertainty"].min() > 0.5
    evidence = Tensors.of(two, model.head).evidence(model.head)
    flat = model.head.doubled().infer(evidence, Prior.isotropic(3, 100.0), 40)
    assert np.median(torch.softmax(flat.codes, -1).min(1).values) < 0.01
    zero_shot = accuracy(model.prefer(test.data, unknown="population"), test.data)
    assert accuracy(adapted.prefer(test.data), test.data) > zero_shot


def test_a_population_without_differences_is_not_torn_apart():
    """One taste, 4 prototypes: predictions are as Bradley–Terry's, whoever asks."""
    seen, _ = planted.taste_groups(60, shares=(1.0,), width=8, seed=12)
    data, test = seen.sample(30, seed=13).data, seen.sample(40, seed=14)
    model, pooled = PAL().fit(data), BradleyTerry().fit(data)
    assert accuracy(model.prefer(test.data), test.data) > accuracy(pooled.prefer(test.data), test.data) - 0.015
    own, shared = model.prefer(test.data), model.prefer(test.data, beliefs=Posterior.of_prior(model.prior, 60))
    assert np.abs(own - shared).mean() < 0.05


def test_settings_that_cannot_be():
    cases = {
        "form 'C' is unknown; choose A": {"form": "C"},
        "utility 'angle' does not belong to form A; choose one of squared, norm": {"utility": "angle"},
        "utility 'norm' does not belong to form B; choose one of inner, angle": {"form": "B", "utility": "norm"},
        "n_prototypes, preference and n_init must be 1 or more": {"n_prototypes": 0},
        "hidden 0 or more": {"hidden": -1},
        "decay 0 is not positive": {"decay": 0},
    }
    for text, settings in cases.items():
        with pytest.raises(InputError, match=text):
            PAL(**settings)


def test_form_b_without_prompts_says_how_to_get_them(ideal):
    _, train, *_ = ideal
    with pytest.raises(InputError, match="prompts=True"):
        PAL(form="B").fit(train.data)
