"""A reward on top of one that is owned: in training, best of n and on the command line, against u = a·b + ⟨x, z⟩."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from plurality.errors import InputError
from plurality.rl.best_of_n import best_of_n
from plurality.rl.reward_function import RewardFunction

A = 0.5  # log-odds of a unit of the base's score
USERS = ["ann", "bob", "ann", "bob", "ann", "ann"]


def judge(prompts, completions, **columns):
    """The owned reward: how many words there are, as TRL would call it."""
    return [float(len(text.split())) for text in completions]


@pytest.fixture(scope="module")
def based(model):
    return replace(model, base=A)


@pytest.fixture
def said(texts):
    return texts(6, 1)


def words(completions):
    return np.array([len(text.split()) for text in completions], dtype=float)


def test_the_base_is_called_as_trl_would_and_added(model, based, said):
    seen = []

    def owned(prompts, completions, **columns):
        seen.append((prompts, columns["user_id"], "log_metric" in columns))
        return judge(prompts, completions)

    call = {"prompts": ["p"] * 6, "completions": said, "user_id": USERS}
    own = RewardFunction(model)(**call)
    together = RewardFunction(based, base=owned)(**call, log_metric=lambda name, value: None)
    np.testing.assert_allclose(together, np.add(own, A * words(said)), atol=1e-5)
    assert seen == [(["p"] * 6, USERS, False)]
    by_column = RewardFunction(based, base="owned")(**call, owned=list(words(said)))
    np.testing.assert_allclose(by_column, together, atol=1e-6)


def test_it_counts_in_every_normalisation_and_rule(model, based, said, lsa, codes):
    pool = (["p"] * 3, ["red blue", "sour sour soft hard", "loud"])
    call = {"prompts": ["p"] * 6, "completions": said, "user_id": USERS}
    u = lsa.encode([""] * 6, said) @ np.array([codes[user] for user in codes]).T + A * words(said)[:, None]  # (6, 3)
    r = lsa.encode([""] * 3, pool[1]) @ np.array([codes[user] for user in codes]).T + A * words(pool[1])[:, None]
    mine = [list(codes).index(user) for user in USERS]
    won = expit(u[:, None] - r[None]).mean(1)[np.arange(6), mine]
    np.testing.assert_allclose(
        RewardFunction(based, base=judge, normalise="win", reference=pool)(**call), won, atol=1e-5
    )
    mean = RewardFunction(based, base=judge, rule="mean")(**call)
    np.testing.assert_allclose(mean, u.mean(1), atol=1e-5)
    against = RewardFunction(based, base=judge, normalise="win", reference="other")(**call, other=said[::-1])
    gap = u[np.arange(6), mine] - u[::-1][np.arange(6), mine]
    np.testing.assert_allclose(against, expit(gap), atol=1e-5)
    lower = RewardFunction(based, base=judge, lower=1.0)(**call)  # the base is taken as known: the same sd
    np.testing.assert_allclose(np.subtract(RewardFunction(based, base=judge)(**call), lower),
                               np.subtract(RewardFunction(model)(**call), RewardFunction(model, lower=1.0)(**call)),
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "starts from a base reward: give it as base="),
        ({"base": 3}, "no function and no column's name"),
        ({"base": lambda prompts, completions, **columns: [1.0]}, "gave 1 scores for 6 completions"),
        ({"base": lambda prompts, completions, **columns: [None] * 6}, "gave nan for completion 0"),
        ({"base": lambda prompts, completions, **columns: ["good"] * 6}, "must give a number a completion"),
        ({"base": "score"}, "column score does not reach the reward"),
        ({"base": "score", "normalise": "win", "reference": (["p"], ["red"])}, "scores no reference completions"),
        ({"base": judge, "normalise": "win", "reference": np.zeros((2, 6))}, "reference embeddings have no base score"),
    ],
)
def test_a_missing_score_is_an_error_and_never_a_zero(based, said, arguments, message):
    with pytest.raises(InputError, match=message):
        RewardFunction(based, **arguments)(prompts=["p"] * 6, completions=said, user_id=USERS)


def test_a_base_for_a_model_without_one_is_an_error(model):
    with pytest.raises(InputError, match="starts from no base reward"):
        RewardFunction(model, base=judge)
    with pytest.raises(InputError, match="starts from no base reward"):
        best_of_n(model, ["p"], [["red", "blue"]], ["ann"], base=[[1.0, 2.0]])


def test_the_best_of_n_is_the_best_of_both(model, based, said):
    candidates, scores = [said[:3], said[3:]], [[0.0, 9.0, 0.0], [0.0, 0.0, 30.0]]
    found = best_of_n(based, ["p", "q"], candidates, ["ann", "bob"], base=scores)
    plain = best_of_n(model, ["p", "q"], candidates, ["ann", "bob"])
    for mine, own, base in zip(found.reward, plain.reward, scores, strict=True):
        np.testing.assert_allclose(mine, own + A * np.array(base), atol=1e-5)
    assert found.index.tolist() == [1, 2]
    people = best_of_n(based, ["p", "q"], candidates, None, rule="pointwise_min", base=scores)
    assert people.index.tolist() == [1, 2]
    with pytest.raises(InputError, match="give the score of each candidate"):
        best_of_n(based, ["p", "q"], candidates, ["ann", "bob"])
    with pytest.raises(InputError, match="another number of scores"):
        best_of_n(based, ["p", "q"], candidates, ["ann", "bob"], base=[[1.0], [2.0]])


def test_the_command_scores_with_the_column(based, said, tmp_path):
    from plurality.cli import main

    based.save_pretrained(tmp_path / "reward")
    rows = pl.DataFrame({"user_id": USERS, "prompt": ["p"] * 6, "completion": said})
    rows.with_columns(score=words(said)).write_parquet(tmp_path / "scored.parquet")
    rows.write_parquet(tmp_path / "bare.parquet")
    out = tmp_path / "out.parquet"
    assert main(["score", str(tmp_path / "reward"), str(tmp_path / "scored.parquet"), "--out", str(out)]) == 0
    want = RewardFunction(based, base=judge)(prompts=["p"] * 6, completions=said, user_id=USERS)
    np.testing.assert_allclose(pl.read_parquet(out)["reward"].to_numpy(), want, atol=1e-5)
    assert main(["score", str(tmp_path / "reward"), str(tmp_path / "bare.parquet"), "--out", str(out)]) == 2


def test_rows_that_look_alike_keep_their_own_scores_in_any_order(based, model):
    call = {"prompts": ["p"] * 3, "completions": ["red blue"] * 3, "user_id": ["ann"] * 3}
    own = RewardFunction(model)(**call)[0]
    for scores in ([0.0, 10.0, 4.0], [4.0, 0.0, 10.0]):
        found = RewardFunction(based, base="owned")(**call, owned=scores)
        np.testing.assert_allclose(found, own + A * np.array(scores), atol=1e-5)
    thought = ["red blue", "<think>loud loud loud</think>red blue"]  # the base is called with what was written
    found = RewardFunction(based, base=judge)(prompts=["p"] * 2, completions=thought, user_id=["ann"] * 2)
    np.testing.assert_allclose(found, own + A * words(thought), atol=1e-5)


def test_scores_for_a_model_that_starts_from_nothing_are_an_error(model):
    with pytest.raises(InputError, match="starts from no base reward"):
        model.utility(np.zeros((2, 6), dtype=np.float32), base=np.zeros(2))
