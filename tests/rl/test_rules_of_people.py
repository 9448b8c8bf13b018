"""No door takes people for members of an ensemble, for objectives or for one prompt's candidates."""

import numpy as np
import pytest

from plurality.errors import InputError
from plurality.rl import openrlhf, trl, verl
from plurality.rl.best_of_n import best_of_n
from plurality.rl.environment import EnvironmentSettings, function_of
from plurality.rl.remote import EmbeddingServer
from plurality.rl.reward_function import AsyncRewardFunction, RewardFunction
from plurality.rl.rules.registry import BRME, RMOD, Consensus, Directional

K = 3  # as many weights as there are people: the shapes fit
RULES = {
    "brme:0.3": "members",
    "rmod:1": "one prompt",
    "direction:1,2,3": "objective",
    "consensus:1,2,3": "objective",
    BRME(): "members",
    RMOD(): "one prompt",
    Directional((1.0,) * K): "objective",
    Consensus((1.0,) * K): "objective",
}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_door_says_what_the_rule_needs(model, folder, rule, monkeypatch):
    assert len(model.user_ids) == K
    with pytest.raises(InputError, match=RULES[rule]):
        RewardFunction(model, rule=rule)
    with pytest.raises(InputError, match=RULES[rule]):
        AsyncRewardFunction(model, EmbeddingServer("http://x", "m"), rule=rule)
    if RULES[rule] != "one prompt":
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


def test_the_functions_themselves_take_what_their_docstrings_say():
    """−6.97 is the worst member's part of the mixture, and no person's."""
    members, one, groups = np.array([[1.0, 2.0], [-9.0, -8.0]]), np.ones(2), np.array([0, 1])
    assert BRME(0.3)(members, one, groups) == pytest.approx(0.3 * members.mean(0) + 0.7 * members[1])
    assert Directional((3.0, 4.0))(members, one, groups) == pytest.approx(np.array([0.6, 0.8]) @ members)
