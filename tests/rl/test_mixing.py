"""Other rewards beside a user's, and bounds: users' means, and so their order, stay, and the order within a user."""

import numpy as np
import pytest

from plurality.errors import InputError
from plurality.rl.mixing import MixedReward, clip_within, mix_within
from plurality.rl.reward_function import RewardFunction


def means(values, users):
    return {u: np.mean([v for v, w in zip(values, users, strict=True) if w == u]) for u in sorted(set(users))}


@pytest.mark.parametrize("seed", range(20))
def test_users_means_and_orders_stay(seed):
    rng = np.random.default_rng(seed)
    n, bound = int(rng.integers(1, 20)), rng.uniform(0.1, 20)
    users, own, other = rng.choice(list("abc"), n).tolist(), rng.normal(0, 20, n), rng.normal(0, 5, n)
    own[: n // 3] = np.round(own[: n // 3], -1)  # ties
    cut = clip_within(own, users, bound)
    assert means(cut, users) == pytest.approx(means(own, users), abs=1e-9)
    assert means(mix_within(own, [(0.7, other)], users), users) == pytest.approx(means(own, users), abs=1e-9)
    for user in set(users):
        mine = [i for i, u in enumerate(users) if u == user]
        assert np.ptp(cut[mine]) <= 2 * bound + 1e-9
        order = np.argsort(np.array(own)[mine], kind="stable")
        assert (np.diff(cut[mine][order]) >= -1e-9).all()


def test_by_hand():
    found = clip_within(
        [0.0, 0.0, 9.0, 1.0, None], ["a", "a", "a", "b", "b"], 2.0
    )  # mean 3: −2, −2, 2, their mean −2/3
    assert found[:4] == pytest.approx([3 - 4 / 3, 3 - 4 / 3, 3 + 8 / 3, 1.0])
    assert np.isnan(found[4])
    mixed = mix_within([1.0, 2.0, None, 5.0], [(2.0, [1.0, 0.0, 9.0, 1.0]), (1.0, [None] * 4)], ["a", "a", "a", "b"])
    assert mixed[[0, 1, 3]] == pytest.approx([2.0, 1.0, 5.0])
    assert np.isnan(mixed[2])
    plain = np.clip([0, 0, 9], -2, 2).mean()  # what a clip at one height does to the first user's mean
    assert plain < 1


def test_as_trl_calls_it(model):
    reward = RewardFunction(model)
    said, users = ["red", "sour sweet", "loud", "hard", " "], ["ann", "ann", "bob", "bob", "bob"]
    logged = {}
    log = logged.__setitem__
    own = reward(["q"] * 5, said, user_id=users)
    mixed = MixedReward(reward, [(0.1, lambda completions, **_: [len(c) for c in completions])], bound=0.2)
    found = mixed(prompts=["q"] * 5, completions=said, completion_ids=None, user_id=users, log_metric=log)
    assert found[4] is None
    assert means(found[:4], users[:4]) == pytest.approx(means(own[:4], users[:4]))
    assert mixed.__name__ == "user_reward_mixed"
    assert "user_reward/mean" in logged
    fair = MixedReward(RewardFunction(model, rule="mean"), bound=0.1)(prompts=["q"] * 2, completions=["red", "loud"])
    assert abs(fair[0] - fair[1]) <= 0.2 + 1e-9


def test_what_is_refused(model):
    reward = RewardFunction(model)
    for bound in (0, -1.0, "x", float("nan")):
        with pytest.raises(InputError, match="bound="):
            MixedReward(reward, bound=bound)
    with pytest.raises(InputError, match="weight"):
        MixedReward(reward, [("x", len)])
    with pytest.raises(InputError, match="no function"):
        MixedReward(reward, [(1.0, "length")])
    with pytest.raises(InputError, match="2 rewards for 1 users"):
        clip_within([1.0, 2.0], ["a"], 1.0)
