"""What is scored is what the person sees, by every door; no row that cannot be scored ends a run."""

import asyncio
import logging
import pickle

import numpy as np
import polars as pl
import pytest

from plurality.encoders import LsaSpec
from plurality.errors import InputError
from plurality.rl import openrlhf, trl, verl
from plurality.rl.best_of_n import best_of_n
from plurality.rl.environment import EnvironmentSettings, function_of
from plurality.rl.reward_function import RewardFunction

PLAIN = "dog sour red"
THOUGHT = "sweet loud soft"
FORMS = {
    "inline": ("q", f"<think>{THOUGHT}</think>{PLAIN}"),
    "with white space": ("q", f"<think>\n{THOUGHT}\n</think>\n\n{PLAIN}"),
    "prefilled": ("q", f"{THOUGHT}</think>{PLAIN}"),
    "the prompt has the tag": ("q<think>\n", f"{THOUGHT}</think>{PLAIN}"),
}
UNSEEN = {
    "unclosed": ("q", f"<think>{THOUGHT}"),
    "prefilled and unclosed": ("q<think>\n", THOUGHT),
    "blank": ("q", " "),
}


@pytest.fixture(params=["completion", "conversation"])
def reader(request, plant, codes, mean_code, texts, tmp_path):
    """A reward, which in one of its forms depends on the prompt, and its folder."""
    corpus = texts(100, 1), texts(100, 0)
    encoder = LsaSpec(dim=6, min_df=1, max_ngram=1, template=request.param).fit(corpus, seed=0)
    model = plant(encoder, codes, mean_code)
    return model, str(model.save_pretrained(tmp_path / "reader"))


def by_function(model, folder, prompt, said):
    return RewardFunction(model, blank=-9.0)([prompt], [said], user_id=["ann"])[0]


def by_messages(model, folder, prompt, said):
    asked, reply = [{"role": "user", "content": prompt}], [{"role": "assistant", "content": said}]
    return RewardFunction(model, blank=-9.0)([asked], [reply], user_id=["ann"])[0]


def by_environment(model, folder, prompt, said):
    return function_of(EnvironmentSettings(reward=folder, blank="-9"))([prompt], [said], user_id=["ann"])[0]


def by_verl(model, folder, prompt, said):
    info = {"user_id": "ann", "prompt": prompt}
    return verl.compute_score("", said, "", info, reward=folder, blank=-9)["score"]


def by_openrlhf(model, folder, prompt, said):
    answer = openrlhf.reward_func([f"{prompt}{said}</s>"], [prompt], ["ann"])
    return answer["rewards"].item()


def by_best_of_n(model, folder, prompt, said):
    value = best_of_n(model, ["q", "q"], [[said, "red"], ["red"]], ["ann", "ann"]).reward[0][0]
    return -9.0 if value == -np.inf else value


DOORS = [by_function, by_messages, by_environment, by_verl, by_openrlhf, by_best_of_n]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_thoughts_have_no_reward(reader, door, monkeypatch):
    model, folder = reader
    monkeypatch.setenv("PLURALITY_REWARD", folder)
    monkeypatch.setenv("PLURALITY_BLANK", "-9")
    expected = RewardFunction(model)(["q"], [PLAIN], user_id=["ann"])[0]
    all_of_it = RewardFunction(model, thought_tags=())(["q"], [FORMS["inline"][1]], user_id=["ann"])[0]
    assert abs(all_of_it - expected) > 1e-3
    for prompt, said in FORMS.values():
        if door is by_best_of_n and prompt != "q":  # candidates come with the prompt that was asked
            continue
        assert door(model, folder, prompt, said) == pytest.approx(expected, abs=1e-5)
    for prompt, said in UNSEEN.values():
        if door is by_best_of_n and prompt != "q":
            continue
        assert door(model, folder, prompt, said) == -9.0


def test_tags_are_a_setting(model, folder, monkeypatch):
    said = f"{{{THOUGHT}}}{PLAIN}"
    (expected,) = RewardFunction(model)(["q"], [PLAIN], user_id=["ann"])
    assert RewardFunction(model, thought_tags=(("{", "}"),))(["q"], [said], user_id=["ann"]) == pytest.approx(
        [expected]
    )
    monkeypatch.setenv("PLURALITY_REWARD", str(folder))
    monkeypatch.setenv("PLURALITY_THOUGHT_TAGS", "{ }")
    assert trl.reward(["q"], [said], user_id=["ann"]) == pytest.approx([expected])
    for tags, message in (("{", "pairs"), ("{ {", "pairs")):
        with pytest.raises(InputError, match=f"PLURALITY_THOUGHT_TAGS: .*{message}"):
            function_of(EnvironmentSettings(reward=str(folder), thought_tags=tags))
    everything = function_of(EnvironmentSettings(reward=str(folder), thought_tags=""))
    assert everything.thought_tags == ()


def test_where_the_thought_travels_changes_nothing(model):
    f = RewardFunction(model)
    apart = {"role": "assistant", "content": PLAIN, "reasoning_content": THOUGHT}
    part = {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": PLAIN}],
    }
    inline = {"role": "assistant", "content": f"<think>{THOUGHT}</think>{PLAIN}"}
    rewards = f(["q"] * 3, [[apart], [part], [inline]], user_id=["ann"] * 3)
    assert rewards == pytest.approx(f(["q"], [PLAIN], user_id=["ann"]) * 3)


def test_earlier_turns_are_read_without_thoughts(reader):
    model, _ = reader
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    tool, reply = {"role": "tool", "content": "hard"}, {"role": "assistant", "content": PLAIN}
    aside = {"role": "assistant", "content": "quiet"}
    thinking = {"role": "assistant", "content": f"<think>{THOUGHT}</think>quiet"}
    silent = {"role": "assistant", "content": f"<think>{THOUGHT}</think>"}
    one, other = RewardFunction(model)(
        ["q"] * 2, [[thinking, call, tool, silent, reply], [aside, tool, reply]], user_id=["ann"] * 2
    )
    assert one == pytest.approx(other)


CALL = [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]
ANSWER = [*CALL, {"role": "tool", "content": "42"}]


def test_a_tool_s_turn_ends_no_run(model, caplog):
    f = RewardFunction(model)
    assert f(["q"] * 2, [CALL, ANSWER], user_id=["ann"] * 2) == [None, None]
    assert RewardFunction(model, blank=-1.0)(["q"], [CALL], user_id=["ann"]) == [-1.0]
    logged = {}
    found = f(["q"] * 3, [CALL, PLAIN, ANSWER], user_id=["ann"] * 3, log_metric=logged.__setitem__)
    assert [reward is None for reward in found] == [True, False, True]
    assert logged["user_reward/no_text"] == pytest.approx(2 / 3)
    assert (f.odd_rows, caplog.records) == (0, [])


ODD = {
    "no text": None,
    "a number": 3,
    "no message": [],
    "an image": [{"role": "assistant", "content": [{"type": "image"}]}],
    "nothing said": [{"role": "assistant", "content": None}],
    "a user's word": [{"role": "user", "content": "x"}],
    "half a surrogate pair": "red \ud83d",
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_row_among_others_is_counted_and_logged_once(model, odd, caplog):
    f = RewardFunction(model)
    with pytest.raises(InputError, match=r"completions\[0\]"):  # where nothing was ever right, asking is wrong
        f(["q"], [odd], user_id=["ann"])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            found = f(["q"] * 3, [PLAIN, odd, "red"], user_id=["ann"] * 3)
            assert found == pytest.approx(
                [*f(["q"], [PLAIN], user_id=["ann"]), None, *f(["q"], ["red"], user_id=["ann"])]
            )
    assert f(["q"], [odd], user_id=["ann"]) == [None]
    assert f.odd_rows == 4
    (record,) = caplog.records
    assert "completions[1]" in record.getMessage()
    assert pickle.loads(pickle.dumps(f)).odd_rows == 4


def test_an_odd_prompt_or_reference_ends_no_run(model):
    f = RewardFunction(model, normalise="win", reference="other")
    users = ["ann"] * 3
    found = f([3, "q", "q"], ["red"] * 3, user_id=users, other=["red", " ", "red"])
    assert found == [None, None, pytest.approx(0.5)]


def test_gathered_samples_of_verl(folder, model):
    said = [PLAIN, f"<think>{THOUGHT}", f"<think>x</think>{PLAIN}"] * 5

    async def all_of_them():
        info = {"user_id": "ann", "prompt": "q"}
        calls = [verl.compute_score_async("", text, "", info, reward=str(folder), blank=-9) for text in said]
        return await asyncio.gather(*calls)

    found = asyncio.run(all_of_them())
    (plain,) = RewardFunction(model)(["q"], [PLAIN], user_id=["ann"])
    assert [answer["score"] for answer in found] == pytest.approx([plain, -9.0, plain] * 5)
    assert [answer["no_text"] for answer in found] == [0.0, 1.0, 0.0] * 5


def test_scores_of_a_table(model, folder, command, tmp_path):
    said = [f"<think>{THOUGHT}</think>{PLAIN}", f"<think>{THOUGHT}", PLAIN, "", "red"]
    rows = pl.DataFrame({"user_id": ["ann"] * 5, "prompt": ["q"] * 5, "completion": said})
    rows.write_parquet(tmp_path / "rows.parquet")
    arguments = ["score", folder, tmp_path / "rows.parquet", "--out", tmp_path / "scored.parquet", "--best-of-n"]
    done = command(*arguments)
    assert done.code == 0, done.err
    assert "2 completions are empty or a thought that has not ended; they have no reward" in done.err
    scored = pl.read_parquet(tmp_path / "scored.parquet")
    assert scored["completion"].to_list() == said
    expected = RewardFunction(model)(["q"] * 5, said, user_id=["ann"] * 5)
    assert scored["reward"].to_list() == [None if r is None else pytest.approx(r, abs=1e-5) for r in expected]
    assert [rank is None for rank in scored["rank"]] == [False, True, False, True, False]
    assert sorted(rank for rank in scored["rank"] if rank is not None) == [1, 2, 3]
    assert command(*arguments, "--thought-tags").code == 0
    whole = pl.read_parquet(tmp_path / "scored.parquet")["reward"]
    assert whole.null_count() == 1
    assert whole[0] != scored["reward"][0]


def test_the_best_is_one_that_can_be_seen(model):
    found = best_of_n(model, ["q"], [[f"<think>{THOUGHT}", "red", " "]], ["ann"])
    assert (found.index.tolist(), found.margin.tolist()) == ([1], [np.inf])
    assert np.isneginf(found.reward[0]).tolist() == [True, False, True]
    by_rule = best_of_n(model, ["q"], [["<think>x", "red", "blue"]], None, rule="mean")
    np.testing.assert_allclose(
        by_rule.reward[0][1:], best_of_n(model, ["q"], [["red", "blue"]], None, rule="mean").reward[0]
    )
