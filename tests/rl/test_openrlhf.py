"""The protocol of OpenRLHF's reward file: three lists in, a dict of tensors and numbers out."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from plurality.encoders import LsaSpec
from plurality.errors import InputError
from plurality.rl.openrlhf import label_of, reward_func
from plurality.rl.reward_function import RewardFunction

PROMPT = "<|im_start|>user\nWhich?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(autouse=True)
def reward(folder, monkeypatch):
    monkeypatch.setenv("PLURALITY_REWARD", str(folder))
    monkeypatch.setenv("PLURALITY_BLANK", "-5")


def one(query, label, prompt=PROMPT):
    return reward_func([query], [prompt], [label])


def test_one_sample_as_the_engines_send_it(model):
    answer = one(PROMPT + "sweet red<|im_end|>", label_of("bob"))
    assert set(answer) == {"rewards", "scores", "extra_logs"}
    (expected,) = RewardFunction(model)(["p"], ["sweet red"], user_id=["bob"])
    torch.testing.assert_close(answer["rewards"], torch.tensor([expected]))
    torch.testing.assert_close(answer["scores"], torch.tensor([expit(expected)], dtype=torch.float32))
    assert answer["extra_logs"] == {"known_user": 1.0, "no_text": 0.0}


def test_several_and_none(model):
    queries = [PROMPT + text for text in ("red", "sour<|im_end|>\n", "soft</s>")]
    answer = reward_func(queries, [PROMPT] * 3, [label_of("ann"), "7", {"user_id": "who?"}])
    expected = RewardFunction(model)(["p"] * 3, ["red", "sour", "soft"], user_id=["ann", "7", "who?"])
    np.testing.assert_allclose(answer["rewards"], expected, rtol=1e-6)
    assert answer["extra_logs"]["known_user"] == pytest.approx(2 / 3)
    nothing = reward_func([], [], [])
    assert nothing["rewards"].shape == nothing["scores"].shape == (0,)


@pytest.mark.parametrize(
    "label", ["bob", '{"user_id": "bob"}', {"user_id": "bob"}, ' {"user_id": "bob", "x": 1}', label_of("bob", "Which?")]
)
def test_labels_in_every_spelling(label):
    torch.testing.assert_close(one(PROMPT + "red", label)["rewards"], one(PROMPT + "red", label_of("bob"))["rewards"])


def test_a_label_without_user_is_an_error_unless_a_rule_asks_everybody(monkeypatch, model):
    for label, message in [
        ("", "the label names no user"),
        (None, "null"),
        ({"answer": 42}, 'no "user_id"'),
        ('{"user_id": ', "JSON"),
    ]:
        with pytest.raises(InputError, match=f"row 0: .*{message}"):
            one(PROMPT + "red", label)
    monkeypatch.setenv("PLURALITY_RULE", "mean")
    (expected,) = RewardFunction(model, rule="mean")(["p"], ["red"])
    for label in ("", {"answer": 42}, label_of("ann")):
        np.testing.assert_allclose(one(PROMPT + "red", label)["rewards"], [expected], rtol=1e-5)


def test_the_tokens_that_end_a_completion_are_a_setting(monkeypatch):
    red, plain = (one(PROMPT + text, "ann")["rewards"] for text in ("red", "red sour"))
    monkeypatch.setenv("PLURALITY_ENDS", "[END] sour")
    torch.testing.assert_close(one(PROMPT + "red sour[END] sour", "ann")["rewards"], red)
    assert not torch.allclose(one(PROMPT + "red sour", "ann")["rewards"], plain)


def test_the_user_may_stand_under_the_model_s_unit(plant, lsa, codes, mean_code, tmp_path, monkeypatch):
    model = plant(lsa, codes, mean_code, unit="country")
    monkeypatch.setenv("PLURALITY_REWARD", str(model.save_pretrained(tmp_path / "reward")))
    for label in ({"country": "bob"}, {"country": "bob", "user_id": "ann"}, label_of("bob"), "bob"):
        answer = one(PROMPT + "red", label)
        np.testing.assert_allclose(answer["rewards"], RewardFunction(model)(["p"], ["red"], country=["bob"]), rtol=1e-5)
        assert answer["extra_logs"] == {"known_user": 1.0, "no_text": 0.0}


def test_win_probabilities_are_their_own_scores(tmp_path, monkeypatch):
    (tmp_path / "pool.jsonl").write_text('{"prompt": "p", "completion": "sour"}\n')
    monkeypatch.setenv("PLURALITY_NORMALISE", "win")
    monkeypatch.setenv("PLURALITY_REFERENCE", str(tmp_path / "pool.jsonl"))
    answer = one(PROMPT + "red", "ann")
    assert 0 < answer["rewards"].item() < 1
    torch.testing.assert_close(answer["scores"], answer["rewards"])


def test_what_may_have_no_reward_is_said_at_the_first_sample(monkeypatch):
    assert one(PROMPT + "<|im_end|>", "ann")["rewards"].tolist() == [-5.0]
    monkeypatch.setenv("PLURALITY_UNKNOWN", "none")
    with pytest.raises(InputError, match="PLURALITY_UNKNOWN"):
        one(PROMPT + "red", "ann")
    monkeypatch.delenv("PLURALITY_UNKNOWN")
    monkeypatch.delenv("PLURALITY_BLANK")
    with pytest.raises(InputError, match="PLURALITY_BLANK"):
        one(PROMPT + "red", "ann")


def test_lists_of_different_length():
    with pytest.raises(InputError, match="have 2, 1 and 1 entries"):
        reward_func(["a", "b"], ["a"], ["ann"])


def test_a_model_that_reads_prompts_wants_the_prompt_itself(plant, codes, mean_code, texts, tmp_path, monkeypatch):
    """The policy's chat template around a prompt is not what a person wrote."""
    corpus = texts(100, 0)
    encoder = LsaSpec(dim=6, min_df=1, max_ngram=1, template="conversation").fit((["soft"] * 100, corpus), seed=0)
    model = plant(encoder, codes, mean_code)
    monkeypatch.setenv("PLURALITY_REWARD", str(model.save_pretrained(tmp_path / "reward")))
    with pytest.raises(InputError, match=r"label_of\(user_id, prompt\)"):
        one(PROMPT + "red", label_of("ann"))
    (expected,) = RewardFunction(model)(["soft loud"], ["red"], user_id=["ann"])
    for prompt in ("soft loud", [{"role": "user", "content": "soft loud"}]):
        answer = one(PROMPT + "red", label_of("ann", prompt))
        np.testing.assert_allclose(answer["rewards"], [expected], rtol=1e-5)
    plain = one("soft loud red", "ann", prompt="soft loud ")
    np.testing.assert_allclose(
        plain["rewards"], RewardFunction(model)(["soft loud "], ["red"], user_id=["ann"]), rtol=1e-5
    )
