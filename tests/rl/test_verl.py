"""verl: real functions called one sample at a time, gathered where async; a manager over a stub of its base."""

import asyncio
import inspect
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import polars as pl
import pyarrow.parquet
import pytest
import torch

from plurality.encoders import Lsa, LsaSpec
from plurality.errors import InputError
from plurality.rl import verl
from plurality.rl.reward_function import RewardFunction


@pytest.fixture
def kwargs(folder):
    return {"reward": str(folder), "blank": -5}


def sample(user="ann", said="red", **more):
    extra = {"index": 0, "user_id": user, "prompt": [{"role": "user", "content": "q"}], **more}
    return {"data_source": "x", "solution_str": said, "ground_truth": "", "extra_info": extra}


def test_one_sample(model, kwargs, monkeypatch):
    (expected,) = RewardFunction(model)(["q"], ["red"], user_id=["ann"])
    answer = verl.compute_score(**sample(num_turns=2), **kwargs, reward_router_address=None)
    assert answer == {"score": pytest.approx(expected), "known_user": 1.0, "no_text": 0.0}
    assert verl.compute_score(**sample("who?"), **kwargs).keys() == answer.keys()
    assert type(answer["score"]) is float
    monkeypatch.setenv("PLURALITY_REWARD", kwargs["reward"])
    monkeypatch.setenv("PLURALITY_BLANK", "-5")
    assert verl.compute_score(**sample()) == answer


def test_both_are_functions_as_verl_tells_them():
    assert inspect.isfunction(verl.compute_score)
    assert not inspect.iscoroutinefunction(verl.compute_score)
    assert inspect.iscoroutinefunction(verl.compute_score_async)


def test_many_at_once_are_one_batch_and_nobody_s_reward_is_another_s(kwargs, texts, monkeypatch):
    calls = []
    encode = Lsa.encode
    monkeypatch.setattr(Lsa, "encode", lambda self, p, c, progress=False: calls.append(len(c)) or encode(self, p, c))
    said, users = texts(100, 3), ["ann", "bob", "7", "x"] * 25

    async def all_of_them():
        calls_ = [verl.compute_score_async(**sample(u, t), **kwargs) for u, t in zip(users, said, strict=True)]
        return await asyncio.gather(*calls_)

    for _ in range(2):  # in two event loops
        calls.clear()
        together = asyncio.run(all_of_them())
        assert len(calls) < 10
    alone = [verl.compute_score(**sample(u, t), **kwargs)["score"] for u, t in zip(users, said, strict=True)]
    np.testing.assert_allclose([t["score"] for t in together], alone, atol=1e-5)


def test_a_bad_sample_spoils_no_other(kwargs):
    async def both():
        strange = verl.compute_score_async(**sample("who?"), **kwargs, unknown="error")
        fine = [verl.compute_score_async(**sample("ann"), **kwargs, unknown="error") for _ in range(3)]
        return await asyncio.gather(strange, *fine, return_exceptions=True)

    strange, *fine = asyncio.run(both())
    assert isinstance(strange, InputError)
    assert all(f == fine[0] and f["known_user"] == 1.0 for f in fine)


def test_what_is_missing_is_named(kwargs, plant, codes, mean_code, texts, tmp_path):
    with pytest.raises(InputError, match=r"no user_id \(it has index.*to_parquet"):
        verl.compute_score("x", "red", "", {"index": 3}, **kwargs)
    with pytest.raises(InputError, match="nothing"):
        verl.compute_score("x", "red", "", None, **kwargs)
    for said in ("", "red"):  # at the first sample, not when the first empty one comes after hours
        with pytest.raises(InputError, match="PLURALITY_BLANK"):
            verl.compute_score(**sample(said=said), reward=kwargs["reward"])
    with pytest.raises(InputError, match="PLURALITY_UNKNOWN"):
        verl.compute_score(**sample(), **kwargs, unknown="none")
    assert verl.compute_score(**sample(said=""), **kwargs) == {"score": -5.0, "known_user": 1.0, "no_text": 1.0}
    with pytest.raises(InputError, match="'rewards' is unknown"):
        verl.compute_score(**sample(), rewards="x")
    info = {"user_id": "ann"}
    assert verl.compute_score("x", "red", "", info, **kwargs)  # its encoder reads completions alone
    encoder = LsaSpec(dim=6, min_df=1, max_ngram=1, template="conversation").fit((texts(80, 1), texts(80, 0)), seed=0)
    reader = plant(encoder, codes, mean_code).save_pretrained(tmp_path / "reader")
    with pytest.raises(InputError, match="no prompt, which this reward model reads"):
        verl.compute_score("x", "red", "", info, reward=str(reader), blank=-5)


@pytest.mark.parametrize("chat", [False, True])
def test_a_training_set_survives_parquet(kwargs, model, tmp_path, chat):
    prompts = ["q one", "q two"]
    messages = [[{"role": "system", "content": "s"}, {"role": "user", "content": p}] for p in prompts]
    frame = pl.DataFrame({"prompt": messages if chat else prompts, "user_id": ["ann", "bob"], "ability": ["a", "b"]})
    path = verl.to_parquet(frame, tmp_path / "train.parquet")
    rows = pyarrow.parquet.read_table(path).to_pylist()
    expected = messages if chat else [[{"role": "user", "content": p}] for p in prompts]
    assert [row["prompt"] for row in rows] == expected
    assert rows[1] == {
        "data_source": "plurality",
        "prompt": expected[1],
        "ability": "b",
        "reward_model": {"style": "model", "ground_truth": ""},
        "extra_info": {"index": 1, "user_id": "bob", "prompt": expected[1]},
    }
    by_pandas = pyarrow.parquet.read_table(path).to_pandas()  # lists come as arrays
    answer = verl.compute_score("x", "red", "", by_pandas["extra_info"][1], **kwargs)
    assert answer["score"] == pytest.approx(RewardFunction(model)(["q"], ["red"], user_id=["bob"])[0])


def test_no_training_set_of_halves(tmp_path):
    good = pl.DataFrame({"prompt": ["q"], "user_id": ["ann"]})
    for frame, message in (
        (good.drop("user_id"), "user_id is missing"),
        (good.with_columns(prompt=pl.lit(" ")), "empty"),
    ):
        with pytest.raises(InputError, match=message):
            verl.to_parquet(frame, tmp_path / "train.parquet")
    with pytest.raises(InputError, match=r"\.parquet"):
        verl.to_parquet(good, tmp_path / "train.csv")
    assert not list(tmp_path.iterdir())


class Data(list):
    """As much of verl's DataProto as a manager sees: slices are data, an index gives an item."""

    def __getitem__(self, index):
        found = super().__getitem__(index)
        return Data(found) if isinstance(index, slice) else found


class Tokenizer:
    def decode(self, ids, skip_special_tokens):
        assert skip_special_tokens
        return " ".join(["red", "sour", "soft"][i] for i in ids.tolist())


@pytest.fixture
def stub_of_verl(monkeypatch):
    class RewardManagerBase:
        def __init__(self, config, tokenizer, compute_score):
            self.config, self.tokenizer, self.compute_score = config, tokenizer, compute_score

    name = "verl.experimental.reward_loop.reward_manager.base"
    for i in range(name.count(".") + 1):
        part = ".".join(name.split(".")[: i + 1])
        monkeypatch.setitem(sys.modules, part, ModuleType(part))
    vars(sys.modules[name])["RewardManagerBase"] = RewardManagerBase
    verl._reward_manager.cache_clear()
    yield RewardManagerBase
    verl._reward_manager.cache_clear()


def test_the_manager_reads_the_batch_s_own_columns(stub_of_verl, model, folder, monkeypatch):
    monkeypatch.setenv("PLURALITY_REWARD", str(folder))
    monkeypatch.setenv("PLURALITY_BLANK", "-5")
    manager = verl.RewardManager(None, Tokenizer(), None, reward_router_address=None)
    assert isinstance(manager, stub_of_verl)
    batch = {"responses": torch.tensor([1, 2, 0, 0]), "attention_mask": torch.tensor([0, 1, 1, 1, 1, 0, 0])}
    columns = {"user_id": "bob", "raw_prompt": np.array([{"role": "user", "content": "q"}]), "extra_info": {"x": 1}}
    item = SimpleNamespace(batch=batch, non_tensor_batch=columns)
    answer = asyncio.run(manager.run_single(Data([None, item])))
    (expected,) = RewardFunction(model)(["q"], ["sour soft"], user_id=["bob"])
    assert answer["reward_score"] == pytest.approx(expected)
    assert answer["reward_extra_info"] == {"score": pytest.approx(expected), "known_user": 1.0, "no_text": 0.0}


def test_without_verl_the_manager_says_so():
    verl._reward_manager.cache_clear()
    with pytest.raises(InputError, match="needs verl"):
        _ = verl.RewardManager
    with pytest.raises(AttributeError):
        _ = verl.Manager
