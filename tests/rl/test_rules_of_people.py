"""No door takes people for members of an ensemble, for objectives or for one prompt's candidates."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from plurality.errors import InputError
from plurality.rl import openrlhf, trl, verl
from plurality.rl.best_of_n import best_of_n
from plurality.rl.environment import EnvironmentSettings, function_of
from plurality.rl.remote import EmbeddingServer
from plurality.rl.reward_function import AsyncRewardFunction, RewardFunction
from plurality.rl.rules.registry import BRME, RMOD, Consensus, Directional, Pareto

K = 3  # as many weights as there are people: the shapes fit
MEMBERS, OBJECTIVES = "members.*fit Ensemble", r"an objective.*fit MORE\(multi_head=True\)"
RULES = {
    "brme:0.3": MEMBERS,
    "direction:1,2,3": OBJECTIVES,
    "simplex:1,2,3": OBJECTIVES,
    "consensus:1,2,3": OBJECTIVES,
    "pareto": OBJECTIVES,
    BRME(): MEMBERS,
    Directional((1.0,) * K): OBJECTIVES,
    Consensus((1.0,) * K): OBJECTIVES,
    Pareto(): OBJECTIVES,
}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_door_says_what_the_rule_needs(model, folder, rule, monkeypatch):
    assert len(model.user_ids) == K
    with pytest.raises(InputError, match=RULES[rule]):
        RewardFunction(model, rule=rule)
    with pytest.raises(InputError, match=RULES[rule]):
        AsyncRewardFunction(model, EmbeddingServer("http://x", "m"), rule=rule)
    with pytest.raises(InputError, match=RULES[rule]):
        best_of_n(model, ["q"], [["red", "blue"]], None, rule=rule)
    if not isinstance(rule, str):
        return
    with pytest.raises(InputError, match=RULES[rule]):
        function_of(EnvironmentSettings(reward=str(folder), rule=rule))
    with pytest.raises(InputError, match=RULES[rule]):
        verl.compute_score("", "red", "", {"user_id": "ann"}, reward=str(folder), rule=rule, blank=0)
    for name, value in {"REWARD": folder, "RULE": rule, "BLANK": "-5"}.items():
        monkeypatch.setenv(f"PLURALITY_{name}", str(value))
    with pytest.raises(InputError, match=RULES[rule]):
        trl.reward(["q"], ["red"], user_id=["ann"])
    with pytest.raises(InputError, match=RULES[rule]):
        openrlhf.reward_func(["q red"], ["q "], ["ann"])


def test_trainers_that_hand_completions_over_one_by_one_have_no_candidates(folder, monkeypatch):
    with pytest.raises(InputError, match="candidates of one prompt, and verl hands completions over one by one"):
        verl.compute_score("", "red", "", {"user_id": "ann"}, reward=str(folder), rule="rmod", blank=0)
    for name, value in {"REWARD": folder, "RULE": "rmod", "BLANK": "-5"}.items():
        monkeypatch.setenv(f"PLURALITY_{name}", str(value))
    with pytest.raises(InputError, match="and OpenRLHF hands"):
        openrlhf.reward_func(["q red"], ["q "], ["ann"])


def test_a_prompts_candidates_are_solved_by_themselves(model, texts):
    """A batch of two prompts, mixed, gives what each prompt gives alone; once all of a batch were one problem."""
    said = texts(8, 5)
    asked = ["p", "q"] * 4
    fair = RewardFunction(model, rule=RMOD(3.0), population=_groups(model))
    both = fair(asked, said)
    for prompt in "pq":
        rows = [i for i, other in enumerate(asked) if other == prompt]
        alone = fair([prompt] * 4, [said[i] for i in rows])
        # utilities are float32 products: their last bits may go with the size of a batch; one shared problem moves 1e-3
        np.testing.assert_allclose([both[i] for i in rows], alone, rtol=0, atol=1e-6)
    together = fair(["p"] * 8, said)
    assert np.abs(np.subtract(both, together)).max() > 1e-3
    messages = [[{"role": "user", "content": prompt}] for prompt in asked]
    np.testing.assert_allclose(fair(messages, said), both, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="each prompt of this call has one"):
        fair(["p", "q"], said[:2])


def _groups(model):
    import polars as pl

    return pl.DataFrame({"user_id": list(model.user_ids), "group": list("abc")})


@dataclass(frozen=True)
class Odd:
    """A rule of rows that nothing has."""

    name: str = "odd"
    rows: ClassVar[str] = "judges"

    def __call__(self, utilities, weights, groups):
        return utilities[0]


def test_a_rule_of_ones_own_says_what_its_rows_are(model):
    with pytest.raises(InputError, match="its rows are 'judges'; give one of people, members, objectives"):
        RewardFunction(model, rule=Odd())


def test_the_functions_themselves_take_what_their_docstrings_say():
    """−6.97 is the worst member's part of the mixture, and no person's."""
    members, one, groups = np.array([[1.0, 2.0], [-9.0, -8.0]]), np.ones(2), np.array([0, 1])
    assert BRME(0.3)(members, one, groups) == pytest.approx(0.3 * members.mean(0) + 0.7 * members[1])
    assert Directional((3.0, 4.0))(members, one, groups) == pytest.approx(np.array([0.6, 0.8]) @ members)
