"""The best of several completions for a user or a population, against planted tastes for letters."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from plurality.errors import InputError
from plurality.models.low_rank import LowRank
from plurality.reward.fitted import Trace
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.reward_model import RewardModel
from plurality.rl.best_of_n import best_of_n, judge, ranks
from plurality.rl.rules.registry import RMOD, Mean, PointwiseMin

TASTES = {"ann": (1.0, 0.0), "bob": (-1.0, 0.0), "cy": (0.25, 0.5)}  # log-odds an a, and a b
TEXTS = [["aab", "abbb", "c"], ["b", "aaaa"], ["ccc"]]
PROMPTS = ["one?", [{"role": "user", "content": "two?"}], "three?"]


@pytest.fixture
def reward(letters):
    """Users whose utilities are known: so much an a, so much a b."""
    spec = LowRank(rank=2, weights="signed")
    head = spec.head(letters.dim, torch.Generator()).requires_grad_(False)
    head.projector.linear.zero_()
    head.projector.linear[[0, 1], [0, 1]] = letters.dim**0.5  # the projector divides by it
    codes = torch.tensor(list(TASTES.values()), dtype=torch.float64)
    known = Posterior(codes, torch.zeros(3, 2, 2, dtype=torch.float64))
    count = np.ones(3, dtype=np.int64)
    return RewardModel(spec, head, tuple(TASTES), known, Prior.isotropic(2, 1.0), count, Trace(), encoder=letters)


def utility(user, text):
    return float(np.dot(TASTES[user], (text.count("a"), text.count("b"))))


def wins(user, texts):
    """Mean probability that the user prefers each text to another one."""
    u = np.array([utility(user, text) for text in texts])
    p = expit(u[:, None] - u)
    return (p.sum(1) - 0.5) / (len(u) - 1) if len(u) > 1 else np.array([0.5])


@pytest.mark.parametrize("user", TASTES)
def test_each_user_s_best(reward, user):
    found = best_of_n(reward, ["q"] * 3, TEXTS, [user] * 3)
    wanted = [np.array([utility(user, text) for text in texts]) for texts in TEXTS]
    for own, other in zip(found.reward, wanted, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)
    np.testing.assert_array_equal(found.index, [w.argmax() for w in wanted])
    margins = [np.diff(np.sort(w))[-1] if len(w) > 1 else np.inf for w in wanted]
    np.testing.assert_allclose(found.margin, margins, atol=1e-5)


def test_users_may_differ_and_prompts_be_chats(reward):
    chats = [[{"role": "user", "content": text}] for text in ("one?", "two?", "three?")]
    for prompts in (chats, ["one?", "two?", "three?"]):
        found = best_of_n(reward, prompts, TEXTS, ["ann", "bob", "cy"])
        assert found.index.tolist() == [0, 0, 0]
        assert best_of_n(reward, prompts, TEXTS, ["bob", "ann", "cy"]).index.tolist() == [2, 1, 0]


def test_each_text_is_embedded_once(reward, letters):
    best_of_n(reward, ["q", "q", "other"], [["a", "b", "a"], ["b", "c"], ["a"]], ["ann", "bob", "ann"])
    assert sorted(letters.seen) == [("other", "a"), ("q", "a"), ("q", "b"), ("q", "c")]


def test_the_first_n_alone(reward):
    assert best_of_n(reward, ["q"], [["b", "a", "aaa"]], ["ann"], n=2).index.tolist() == [1]
    assert len(best_of_n(reward, ["q"], [["b", "a", "aaa"]], ["ann"], n=2).reward[0]) == 2


def test_a_population_chooses_by_a_rule(reward):
    people = pl.DataFrame({"user_id": ["ann", "bob", "cy"], "weight": [1, 2, 5], "group": ["x", "y", "x"]})
    weights, groups = np.array([1.0, 2, 5]), np.array([0, 1, 0])
    for rule in (Mean(), PointwiseMin(), RMOD(5.0)):
        found = best_of_n(reward, ["q"] * 3, TEXTS, None, rule=rule, population=people)
        for own, texts in zip(found.reward, TEXTS, strict=True):
            np.testing.assert_allclose(
                own, rule(np.array([wins(u, texts) for u in TASTES]), weights, groups), atol=1e-6
            )
        assert found.index.tolist() == [int(r.argmax()) for r in found.reward]
    everybody = best_of_n(reward, ["q"], TEXTS[:1], None, rule="mean")
    np.testing.assert_allclose(everybody.reward[0], np.mean([wins(u, TEXTS[0]) for u in TASTES], 0), atol=1e-6)


def test_unknown_users_are_an_error_or_get_the_population_s_code(reward, letters):
    with pytest.raises(InputError, match="'eve'"):
        best_of_n(reward, ["q"], [["a", "b"]], ["eve"])
    with pytest.raises(InputError, match="'eve'"):
        best_of_n(reward, ["q"], [["a", "b"]], None, rule="mean", population=pl.DataFrame({"user_id": ["eve"]}))
    assert letters.seen == []
    assert best_of_n(reward, ["q"], [["a", "b"]], ["eve"], unknown="population").margin[0] == 0


def test_judging_pairs(reward):
    pairs = [("a", "b"), ("b", "a"), ("ab", "ba"), ("c", "c")]
    assert judge(reward, ["q"] * 4, pairs, ["ann"] * 4) == [0, 1, -1, -1]
    assert judge(reward, ["q"] * 4, pairs, ["bob"] * 4) == [1, 0, -1, -1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=20))
def test_ranks_are_places_in_each_group_s_order(rows):
    group, value = (np.array([r[k] for r in rows], dtype=np.int64) for k in (0, 1))
    for i, (g, v) in enumerate(rows):
        better = sum(h == g and (w > v or (w == v and j < i)) for j, (h, w) in enumerate(rows))
        assert ranks(group, value.astype(float))[i] == better + 1


class Other:
    dim, fingerprint = 27, "another encoder"


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("1 prompts, 2 lists of candidates, 1 user_ids", lambda m: best_of_n(m, ["q"], [["a"], ["b"]], ["ann"])),
        (r"prompt 1 \(from 0\) has 0 candidates", lambda m: best_of_n(m, ["q"] * 2, [["a"], []], ["ann"] * 2)),
        ("has 1 candidates, fewer than 2", lambda m: best_of_n(m, ["q"], [["a"]], ["ann"], n=2)),
        ("best of 0 candidates", lambda m: best_of_n(m, ["q"], [["a"]], ["ann"], n=0)),
        ("one of them is a string", lambda m: best_of_n(m, ["q"], ["ab"], ["ann"])),
        (r"prompt 1 .*nothing can be seen", lambda m: best_of_n(m, ["q"] * 2, [["a"], [" ", "<think>b"]], ["ann"] * 2)),
        ("all strings", lambda m: best_of_n(m, PROMPTS, TEXTS, ["ann"] * 3)),
        ("whose preference is it", lambda m: best_of_n(m, ["q"], [["a"]], None)),
        ("a rule chooses for a population, not", lambda m: best_of_n(m, ["q"], [["a"]], ["ann"], rule="mean")),
        ("choose by pointwise_min or rmod", lambda m: best_of_n(m, ["q"], [["a"]], None, rule="maxmin")),
        ("rule 'best' is unknown", lambda m: best_of_n(m, ["q"], [["a"]], None, rule="best")),
        ("give rule=", lambda m: best_of_n(m, ["q"], [["a"]], ["ann"], population=pl.DataFrame({"user_id": ["ann"]}))),
        (
            "give a table with at least one",
            lambda m: best_of_n(m, ["q"], [["a"]], None, rule="mean", population=pl.DataFrame()),
        ),
        ("not the one the model was fitted with", lambda m: best_of_n(m, ["q"], [["a"]], ["ann"], encoder=Other())),
        (r"pair 0 \(from 0\) has not two", lambda m: judge(m, ["q"], [("a",)], ["ann"])),
    ],
)
def test_what_cannot_be_chosen_from(reward, text, call):
    with pytest.raises(InputError, match=text):
        call(reward)


def test_a_population_s_weights_must_be_weights(reward):
    for weight in (-1.0, float("nan"), None):
        people = pl.DataFrame({"user_id": ["ann", "bob"], "weight": [1.0, weight]})
        with pytest.raises(InputError, match="weight"):
            best_of_n(reward, ["q"], [["a", "b"]], None, rule="mean", population=people)
