"""The same user, prompt and visible text has one reward, whatever the door; what nobody sees has that of a blank."""

import asyncio
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from plurality.encoders import LsaSpec
from plurality.errors import InputError
from plurality.rl import areal, nemo_rl, openenv, openrlhf, skyrl, slime, swift, tinker, trl, verifiers, verl
from plurality.rl.openrlhf_protocol import OpenRLHFProtocol
from plurality.rl.reward_function import RewardFunction
from plurality.serving.app import Served, create_app
from tests.rl.trainers import provide, trace_of
from tests.serving.served import ask

PLAIN, THOUGHT, BLANK = "dog sour red", "sweet loud soft", -9.0


def user(text):
    return [{"role": "user", "content": text}]


def assistant(content, **more):
    return [{"role": "assistant", "content": content, **more}]


@pytest.fixture(scope="module")
def world(plant, codes, mean_code, tmp_path_factory):
    """A reward that depends on the prompt, its folder, and its server."""
    rng = np.random.default_rng(1)
    words = ["red", "blue", "sour", "sweet", "loud", "soft", "q", "hard"]
    corpus = tuple([" ".join(rng.choice(words, 5)) for _ in range(100)] for _ in range(2))
    encoder = LsaSpec(dim=6, min_df=1, max_ngram=1, template="conversation").fit(corpus, seed=0)
    model = plant(encoder, codes, mean_code)
    folder = model.save_pretrained(tmp_path_factory.mktemp("transports") / "reward")
    function = RewardFunction(model, blank=BLANK)
    app = create_app(function, served=Served(model.user_ids), protocol=OpenRLHFProtocol(reads_prompts=True))
    return SimpleNamespace(model=model, folder=str(folder), function=function, app=app)


@pytest.fixture
def ready(world, monkeypatch):
    """The environment of a trainer, and its base classes or stand-ins of them."""
    monkeypatch.setenv("PLURALITY_REWARD", world.folder)
    monkeypatch.setenv("PLURALITY_BLANK", str(BLANK))
    skyrl.env_class.cache_clear()
    world.own = provide(monkeypatch)
    yield world
    skyrl.env_class.cache_clear()


def posted(world, path, body):
    return ask(world.app, lambda client: client.post(path, json=body))


# doors that take a text


def by_function(world, prompt, said):
    return world.function([prompt], [said], user_id=["ann"])[0]


def by_trl(world, prompt, said):
    return trl.reward([prompt], [said], user_id=["ann"])[0]


def by_verl(world, prompt, said):
    return verl.compute_score("", said, "", {"user_id": "ann", "prompt": prompt})["score"]


def by_openrlhf(world, prompt, said):
    return openrlhf.reward_func([f"{prompt}{said}</s>"], [prompt], ["ann"])["rewards"].item()


def by_openrlhf_server(world, prompt, said):
    body = {"query": [f"{prompt}{said}<|im_end|>\n"], "prompts": [prompt], "labels": [{"user_id": "ann"}]}
    return posted(world, "/get_reward", body).json()["rewards"][0]


def by_slime(world, prompt, said):
    sample = SimpleNamespace(prompt=prompt, response=said, label=None, metadata={"user_id": "ann"})
    return asyncio.run(slime.rm(None, sample, evaluation=False))


def by_slime_label(world, prompt, said):
    sample = SimpleNamespace(prompt=prompt, response=f"{said}</s>", label=openrlhf.label_of("ann"), metadata=None)
    return asyncio.run(slime.rm(None, [sample, sample]))[1]


def by_slime_server(world, prompt, said):
    return posted(world, "/get_reward", {"prompt": prompt, "response": said, "label": "ann"}).json()


def by_areal(world, prompt, said):
    templated = f"<|im_start|>user\n{prompt.removesuffix('<think>').strip()}<|im_end|>\n<|im_start|>assistant\n"
    templated += "<think>\n" if "<think>" in prompt else ""
    messages = user(prompt.replace("<think>", "").strip())
    return areal.reward_fn(templated, f"{said}<|im_end|>", [1], [2], user_id="ann", messages=messages)


def by_skyrl(world, prompt, said):
    env = skyrl.PreferenceEnv(env_config=None, extras={"extra_info": {"user_id": "ann"}})
    env.init(user(prompt))
    step = env.step(said)
    assert (step["done"], step["observations"]) == (True, [])
    return step["reward"]


def by_openenv(world, prompt, said):
    rubric = openenv.rubric()
    found = rubric({"message": said}, SimpleNamespace(metadata={"user_id": "ann"}, prompt=prompt))
    assert rubric.last_score == found
    return found


TEXT = [by_function, by_trl, by_verl, by_openrlhf, by_openrlhf_server, by_slime, by_slime_label, by_slime_server]
TEXT += [by_areal, by_skyrl, by_openenv]


# doors that take messages


def by_messages(world, prompt, said):
    return world.function([prompt], [said], user_id=["ann"])[0]


def by_verifiers(world, prompt, said):
    class Task:
        user_reward = verifiers.reward(weight=0.5)

    assert Task.user_reward._vf_weight == 0.5
    return asyncio.run(Task().user_reward(trace_of(prompt, said, {"user_id": "ann"})))


def by_nemo_rl(world, prompt, said):
    env = nemo_rl.environment_class()({"reward": world.folder, "num_workers": 8})
    logs = [[{**turn, "token_ids": torch.zeros(2)} for turn in [*prompt, *said]]]
    done = env.step(logs, [{"user_id": "ann"}])
    assert done.terminateds.tolist() == [True]
    return done.rewards.item()


def by_swift(world, prompt, said):
    found = swift.reward_class()()([said[-1]["content"]], messages=[[*prompt, *said]], user_id=["ann"], solution=[""])
    return found[0]


def by_tinker(world, prompt, said):
    """The utility of A, by how it compares with one of a known utility."""
    judge = tinker.builder(world.function, user="ann")()
    other = world.function(["q"], ["soft"], user_id=["ann"])[0]
    comparison = SimpleNamespace(prompt_conversation=prompt, completion_A=said, completion_B=assistant("soft"))
    swapped = SimpleNamespace(prompt_conversation=prompt, completion_A=assistant("soft"), completion_B=said)
    found = asyncio.run(judge(comparison))
    assert found == pytest.approx(-asyncio.run(judge(swapped)))
    return other - 2 * math.atanh(found)


def by_nemo_gym(world, prompt, said):
    output = []
    for turn in said:
        if turn.get("reasoning_content"):
            output.append({"type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]})
        if turn["role"] == "tool":
            output.append({"type": "function_call_output", "call_id": "1", "output": "42"})
        elif turn.get("tool_calls"):
            output.append({"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"})
        else:
            parts = [{**p, "type": "output_text"} if p["type"] == "text" else p for p in parts_of(turn["content"])]
            output.append({"type": "message", "role": "assistant", "content": parts})
    row = {"responses_create_params": {"input": prompt}, "response": {"output": output}, "user_id": "ann", "x": 1}
    answer = posted(world, "/verify", row).json()
    assert {k: answer[k] for k in row} == row
    return answer["reward"]


def parts_of(content):
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


CHAT = [by_messages, by_verifiers, by_nemo_rl, by_swift, by_tinker, by_nemo_gym]

SAID = {
    "plain": assistant(PLAIN),
    "inline": assistant(f"<think>{THOUGHT}</think>{PLAIN}"),
    "prefilled": assistant(f"{THOUGHT}</think>\n{PLAIN}"),
    "in parts": assistant([{"type": "text", "text": "dog sour"}, {"type": "text", "text": " red"}]),
    "thought in parts": assistant([{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": PLAIN}]),
    "reasoning apart": assistant(PLAIN, reasoning_content=THOUGHT),
    "after a tool": [
        *assistant(None, tool_calls=[{"id": "1"}]),
        {"role": "tool", "content": ""},
        *assistant(PLAIN),
    ],
}
UNSEEN = {
    "unclosed": assistant(f"<think>{THOUGHT}"),
    "blank": assistant(" "),
    "a tool's turn": assistant(None, tool_calls=[{"id": "1"}]),
    "a tool's answer": [*assistant(None, tool_calls=[{"id": "1"}]), {"role": "tool", "content": "42"}],
}


def applies(door, said):
    """ms-swift hands completions over as text."""
    return not (door is by_swift and (len(said) > 1 or not isinstance(said[0]["content"], str)))


@pytest.fixture(scope="module")
def expected(world):
    plain, all_of_it = world.function(["q"] * 2, [PLAIN, f"{THOUGHT} {PLAIN}"], user_id=["ann"] * 2)
    assert abs(plain - all_of_it) > 1e-2
    assert abs(plain - world.function(["sweet hard"], [PLAIN], user_id=["ann"])[0]) > 1e-2
    return plain


@pytest.mark.parametrize("door", TEXT, ids=lambda door: door.__name__)
def test_texts(ready, expected, door):
    for prompt, said in [("q", turn[0]["content"]) for turn in list(SAID.values())[:3]]:
        assert door(ready, prompt, said) == pytest.approx(expected, abs=1e-5)
    assert door(ready, "q<think>\n", f"{THOUGHT}</think>{PLAIN}") == pytest.approx(expected, abs=1e-5)
    for prompt, said in (("q", f"<think>{THOUGHT}"), ("q<think>\n", THOUGHT), ("q", " ")):
        assert door(ready, prompt, said) == BLANK


@pytest.mark.parametrize("door", CHAT, ids=lambda door: door.__name__)
def test_messages(ready, expected, door):
    for said in SAID.values():
        if applies(door, said):
            assert door(ready, user("q"), said) == pytest.approx(expected, abs=1e-4)
    for said in UNSEEN.values():
        if applies(door, said):
            assert door(ready, user("q"), said) == pytest.approx(BLANK, abs=1e-4)


def test_an_unknown_user_is_the_population_by_every_door(ready):
    common = ready.function(["q"], [PLAIN], user_id=["nobody"])[0]
    sample = SimpleNamespace(prompt="q", response=PLAIN, label="nobody", metadata={})
    assert asyncio.run(slime.rm(None, sample)) == pytest.approx(common)
    assert areal.reward_fn("q", PLAIN, [], [], user_id="nobody") == pytest.approx(common)


def test_what_is_missing_is_named(ready, monkeypatch):
    sample = SimpleNamespace(prompt="q", response=PLAIN, label=None, metadata={"x": 1})
    with pytest.raises(InputError, match=r"metadata or label has no user_id \(it has x\)"):
        asyncio.run(slime.rm(None, sample))
    with pytest.raises(InputError, match="chat template"):
        areal.reward_fn("<|im_start|>user\nq", PLAIN, [], [], user_id="ann")
    with pytest.raises(InputError, match=r"no message .*completion="):
        openenv.rubric()({"text": PLAIN}, {"user_id": "ann"})
    with pytest.raises(InputError, match="no messages"):
        swift.reward_class()()([PLAIN], user_id=["ann"])
    with pytest.raises(InputError, match="say user="):
        tinker.preference_model(ready.function)
    answer = posted(ready, "/verify", {"responses_create_params": {"input": "q"}, "response": {"output": []}})
    assert (answer.status_code, "no user_id" in answer.text) == (400, True)
    for body in ({"response": {}}, {"responses_create_params": {}, "response": {"output": 3}, "user_id": "ann"}, [1]):
        assert posted(ready, "/verify", body).status_code == 400
    assert posted(ready, "/get_reward", {"prompt": "q", "response": 3, "label": "ann"}).status_code == 400
    monkeypatch.delenv("PLURALITY_BLANK")
    for call in (lambda: asyncio.run(slime.rm(None, sample)), lambda: areal.reward_fn("q", PLAIN, [], [])):
        with pytest.raises(InputError, match="takes a number for every completion"):
            call()


def test_tinker_without_rewards(ready):
    """What nobody sees loses, unless it has a reward."""
    assert tinker.preference(None, 3.0) == 1.0
    assert tinker.preference(-9.0, None) == -1.0
    assert tinker.preference(None, None) == 0.0
    assert tinker.preference(0.0, math.log(3)) == pytest.approx(0.5)  # 2·(3/4) − 1
    with pytest.raises(InputError, match="log-odds"):
        tinker.preference_model(
            RewardFunction(ready.model, normalise="z", reference=(["q"] * 2, ["red", "soft"])), user="ann"
        )


def test_the_rest_of_nemo_gym_s_contract(ready):
    assert posted(ready, "/seed_session", {"responses_create_params": {}, "user_id": "ann"}).json() == {}
    for path in ("/seed_session", "/close_session"):
        assert posted(ready, path, {"resources_session_id": "s"}).json() == {"resources_session_id": "s"}
    rows = [{"_ng_task_index": t, "reward": r} for t, r in ((0, 1.0), (0, 3.0), (1, 5.0))]
    masked = {"_ng_task_index": 1, "reward": 99.0, "mask_sample": True}
    found = posted(ready, "/aggregate_metrics", {"verify_responses": [*rows, masked]}).json()
    assert found["key_metrics"] == {"mean/reward": 3.0}
    assert [(g["_ng_task_index"], g["mean/reward"]) for g in found["group_level_metrics"]] == [(0, 2.0), (1, 5.0)]
    assert found["agent_metrics"]["std/reward"] == 2.0
    assert posted(ready, "/aggregate_metrics", {"verify_responses": []}).json()["agent_metrics"] == {}
    assert posted(ready, "/aggregate_metrics", {"verify_responses": [{}]}).status_code == 400


def test_swift_knows_the_reward_by_name(ready):
    swift.register("taste", ready.function)
    from swift.rewards.orm import ORM, orms

    made = orms.pop("taste")
    assert issubclass(made, ORM)
    assert made(args=None)(["red"], messages=[user("q")], user_id=["ann"]) == ready.function(
        [user("q")], ["red"], user_id=["ann"]
    )


def test_nemo_rl_s_batch(ready):
    env = nemo_rl.environment_class()({"reward": ready.folder})
    done = env.step([[*user("q"), *assistant(PLAIN)]] * 2, [{"user_id": "ann"}, {"user_id": "bob"}])
    assert done.rewards.tolist() == pytest.approx(ready.function(["q"] * 2, [PLAIN] * 2, user_id=["ann", "bob"]))
    assert env.step([], []).rewards.tolist() == []
    nemo_rl.register("taste")
    from nemo_rl.environments.utils import ENV_REGISTRY

    assert ENV_REGISTRY.pop("taste")["actor_class_fqn"] == "plurality.rl.nemo_rl.PreferenceEnvironment"
    batch = {"total_reward": torch.tensor([1.0, 3.0])}
    assert env.global_post_process_and_metrics(batch) == (batch, {"user_reward/mean": 2.0})
