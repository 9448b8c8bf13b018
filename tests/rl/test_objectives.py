"""Objectives as rewards: one of them, a direction over them, all of them from one pass, and rules over candidates."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from plurality.errors import InputError
from plurality.models.more import MORE
from plurality.rl.best_of_n import best_of_n
from plurality.rl.environment import EnvironmentSettings, function_of
from plurality.rl.reward_function import RewardFunction
from plurality.rl.rules.registry import Consensus, Pareto

NAMES = ("helpful", "honest", "short")
WIDTH = 6


@pytest.fixture(scope="module")
def several(model):
    """Three objectives, the first coordinates of an item; users' codes are directions over them."""
    spec = MORE(multi_head=True, n_sources=3, names=NAMES)
    head = spec.head(WIDTH, torch.Generator()).requires_grad_(False).eval()
    head.projector.linear.copy_(torch.eye(WIDTH)[:3] * WIDTH**0.5)
    part = replace(
        model.posterior, codes=model.posterior.codes[:, :3], covariance=model.posterior.covariance[:, :3, :3]
    )
    prior = replace(model.prior, mean=model.prior.mean[:3], precision=model.prior.precision[:3, :3])
    return replace(model, spec=spec, head=head, posterior=part, prior=prior)


@pytest.fixture
def said(texts):
    return texts(8, 2)


@pytest.fixture
def truth(lsa, said):
    """(K, n)."""
    return lsa.encode([""] * 8, said)[:, :3].T


def test_one_of_them_and_a_direction(several, said, truth):
    asked = ["p"] * 8
    np.testing.assert_allclose(RewardFunction(several, objective="honest")(asked, said), truth[1], atol=1e-5)
    toward = RewardFunction(several, direction={"short": -6.0, "helpful": 8.0})
    np.testing.assert_allclose(toward(asked, said), 0.8 * truth[0] - 0.6 * truth[2], atol=1e-5)
    shares = RewardFunction(several, rule="simplex:helpful=3,short=1")
    np.testing.assert_allclose(shares(asked, said), 0.75 * truth[0] + 0.25 * truth[2], atol=1e-5)
    in_order = RewardFunction(several, rule="direction:0,2,0")
    np.testing.assert_allclose(in_order(asked, said), truth[1], atol=1e-5)
    assert in_order.__name__ == "direction:helpful=0,honest=2,short=0"


def test_the_model_itself_gives_them_by_name(several, lsa, said, truth):
    assert several.objectives == NAMES
    np.testing.assert_allclose(several.by_objective(lsa.encode([""] * 8, said)), truth.T, atol=1e-5)


def test_all_of_them_from_one_pass(several, lsa, said, truth, monkeypatch):
    calls = []
    encode = type(lsa).encode
    monkeypatch.setattr(type(lsa), "encode", lambda *args, **kw: calls.append(1) or encode(*args, **kw))
    functions = RewardFunction(several).per_objective()
    assert [f.__name__ for f in functions] == list(NAMES)
    said = [*said[:7], " "]
    logged = {}
    for k, f in enumerate(functions):
        rewards = f(["p"] * 8, said, log_metric=logged.__setitem__)
        assert rewards[7] is None
        np.testing.assert_allclose(rewards[:7], truth[k, :7], atol=1e-5)
    assert len(calls) == 1
    functions[1](["p"] * 8, said[::-1])
    assert len(calls) == 2
    assert logged["honest/mean"] == pytest.approx(truth[1, :7].mean(), abs=1e-5)
    assert logged["short/objective/helpful"] == pytest.approx(truth[0, :7].mean(), abs=1e-5)
    again = pickle.loads(pickle.dumps(functions))
    assert again[2](["p"] * 8, said) == functions[2](["p"] * 8, said)


def test_they_can_be_scaled_as_utilities_are(several, lsa, said, truth, texts):
    pool = texts(5, 4)
    scaled = RewardFunction(several, normalise="z", reference=([""] * 5, pool)).per_objective()
    r = lsa.encode([""] * 5, pool)[:, :3].T
    for k, f in enumerate(scaled):
        np.testing.assert_allclose(f(["p"] * 8, said), (truth[k] - r[k].mean()) / r[k].std(), rtol=1e-3, atol=1e-4)


def test_candidates_of_a_prompt_are_compared_among_themselves(several, said, truth):
    asked = np.array(["p", "q"] * 4)
    for rule in (Pareto(), Consensus((1.0, 2.0, 0.5))):
        found = np.array(RewardFunction(several, rule=rule)(asked.tolist(), said))
        for prompt in "pq":
            rows = asked == prompt
            np.testing.assert_allclose(found[rows], rule(truth[:, rows].astype(float), np.ones(3), np.arange(3)))


def test_the_best_of_n_by_objectives(several, said, truth):
    candidates = [said[:4], said[4:]]
    halves = truth.reshape(3, 2, 4)
    for how, value in (
        ({"objective": "short"}, halves[2]),
        ({"direction": {"helpful": 3.0, "honest": 4.0}}, 0.6 * halves[0] + 0.8 * halves[1]),
    ):
        best = best_of_n(several, ["p", "q"], candidates, None, **how)
        np.testing.assert_array_equal(best.index, value.argmax(1))
        np.testing.assert_allclose(np.stack(best.reward), value, atol=1e-5)
    front = best_of_n(several, ["p", "q"], candidates, None, rule="pareto")
    assert all(
        (reward == Pareto()(halves[:, i], np.ones(3), np.arange(3))).all() for i, reward in enumerate(front.reward)
    )
    with pytest.raises(InputError, match="not for user_ids"):
        best_of_n(several, ["p", "q"], candidates, ["ann", "bob"], objective="short")


def test_where_the_trainer_takes_a_name(several, said, tmp_path):
    folder = several.save_pretrained(tmp_path / "several")
    named = function_of(EnvironmentSettings(reward=str(folder), rule="direction:helpful=0.8,short=-0.6"))
    mine = RewardFunction(several, direction={"helpful": 0.8, "short": -0.6})
    np.testing.assert_allclose(named(["p"] * 8, said), mine(["p"] * 8, said), atol=1e-6)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"objective": "kind"}, "no objective 'kind'; the model has helpful, honest, short"),
        ({"rule": "direction:1,2"}, "has 2 weights, and the model 3 objectives; give one each to helpful, honest"),
        ({"rule": "mean", "objective": "short"}, "rule and objective are both given"),
        ({"direction": {"helpful": 0.0}}, "not all 0"),
        ({"direction": {}}, "not all 0"),
        ({"objective": "short", "lower": 1.0}, "of objectives, which have no standard deviation"),
        ({"rule": "brme"}, "fit Ensemble"),
    ],
)
def test_what_cannot_be_asked(several, how, message):
    with pytest.raises(InputError, match=message):
        RewardFunction(several, **how)


def test_a_model_without_objectives_has_none_to_give(model, lsa):
    assert model.objectives == ()
    for ask in (lambda: RewardFunction(model).per_objective(), lambda: model.by_objective(lsa.encode(["p"], ["red"]))):
        with pytest.raises(InputError, match="fit MORE"):
            ask()
