"""Embeddings from a server: the same rewards as with the encoder at hand, and no silence when the server is another."""

import asyncio
import inspect
import json
import pickle

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from plurality.encoders import TransformersEncoder, TransformersSpec
from plurality.errors import InputError
from plurality.rl.remote import EmbeddingServer
from plurality.rl.reward_function import AsyncRewardFunction, RewardFunction

URL = "http://embeddings.test/v1/embeddings"


class Served:
    """An embedding server in this process; `vectors` turns texts into an array."""

    def __init__(self, vectors, **settings):
        self.vectors, self.asked, self.failures, self.running, self.most = vectors, [], [], 0, 0
        app = Starlette(routes=[Route("/v1/embeddings", self.answer, methods=["POST"])])
        transport = httpx.ASGITransport(app)
        self.server = EmbeddingServer(URL, **{"model": "m", "backoff_s": 0.0, "transport": transport, **settings})

    async def answer(self, request):
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(5):
            await asyncio.sleep(0)  # others may come meanwhile
        self.running -= 1
        if self.failures:
            return self.failures.pop(0)
        asked = await request.json()
        self.asked.append(asked)
        rows = [{"index": i, "embedding": x} for i, x in enumerate(self.vectors(asked["input"]).tolist())]
        return JSONResponse({"object": "list", "model": "m", "data": rows[::-1]})  # in any order


@pytest.fixture
def unrecorded(plant, codes, mean_code):
    """A model of ready-made embeddings."""
    return plant(None, codes, mean_code)


@pytest.fixture
def served(lsa):
    return Served(lambda texts: lsa.encode([""] * len(texts), texts), template="completion")


def test_rewards_are_those_of_the_encoder_itself(unrecorded, lsa, served, texts):
    said, users, pool = texts(30, 1), ["ann", "bob", "x"] * 10, texts(5, 2)
    for arguments in ({}, {"normalise": "win", "reference": (["p"] * 5, pool)}, {"unknown": "none"}):
        here = RewardFunction(unrecorded, lsa, **arguments)(["p"] * 30, said, user_id=users)
        f = AsyncRewardFunction(unrecorded, served.server, **arguments)
        assert inspect.iscoroutinefunction(f.__call__)  # how TRL tells
        there = asyncio.run(f(["p"] * 30, said, user_id=users))
        assert [r is None for r in there] == [r is None for r in here]
        pairs = [(a, b) for a, b in zip(here, there, strict=True) if a is not None]
        np.testing.assert_allclose(*zip(*pairs, strict=True), atol=1e-6)
    asked = served.asked[0]
    assert (asked["model"], asked["use_activation"]) == ("m", False)
    assert "add_special_tokens" not in asked


def test_requests_are_cut_and_bounded(unrecorded, lsa, texts):
    served = Served(lambda t: lsa.encode(t, t), template="completion", batch=3, concurrency=2, use_activation=None)
    f = AsyncRewardFunction(unrecorded, served.server)
    said = sorted(set(texts(60, 1)))

    async def both():
        call = f(["p"] * len(said), said, user_id="ann")
        return await asyncio.gather(call, f(["p"], ["red"], user_id="ann"))

    rewards, _ = asyncio.run(both())
    np.testing.assert_allclose(
        rewards, RewardFunction(unrecorded, lsa)(["p"] * len(said), said, user_id="ann"), atol=1e-6
    )
    assert max(len(asked["input"]) for asked in served.asked) == 3
    assert served.most == 2
    assert "use_activation" not in served.asked[0]


def test_it_works_after_a_pickle_and_in_another_loop(unrecorded, lsa, served):
    f = AsyncRewardFunction(unrecorded, served.server)
    rewards = [asyncio.run(f(["p"], ["red"], user_id="ann")) for _ in range(2)]
    over_network = AsyncRewardFunction(unrecorded, EmbeddingServer(URL, model="m", template="completion"))
    assert pickle.loads(pickle.dumps(over_network)).encoder.server == over_network.encoder.server
    assert rewards[0] == rewards[1]


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_comes_back_is_asked_again(unrecorded, served, status):
    served.failures = [PlainTextResponse("busy", status)] * 3
    assert len(asyncio.run(AsyncRewardFunction(unrecorded, served.server)(["p"], ["red"], user_id="ann"))) == 1
    served.failures = [PlainTextResponse("busy", status)] * 4
    with pytest.raises(InputError, match=f"after 4 tries .*{status}: busy"):
        asyncio.run(AsyncRewardFunction(unrecorded, served.server)(["p"], ["red"], user_id="ann"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (PlainTextResponse("no such model", 404), "did not embed the texts .*no such model"),
        (PlainTextResponse("<html>"), "not JSON"),
        (JSONResponse({"error": "x"}), "not a list of embeddings"),
        (JSONResponse({"data": []}), "0 embeddings for 1"),
        (JSONResponse({"data": [{"index": 0, "embedding": "AAAA"}]}), "not a list of embeddings"),
        (JSONResponse({"data": [{"index": 0, "embedding": [1.0, 2.0]}]}), "width 6"),
        (PlainTextResponse(json.dumps({"data": [{"index": 0, "embedding": [float("nan")] * 6}]})), "NaN"),
    ],
)
def test_answers_that_are_none(unrecorded, served, answer, message):
    served.failures = [answer]
    with pytest.raises(InputError, match=message):
        asyncio.run(AsyncRewardFunction(unrecorded, served.server)(["p"], ["red"], user_id="ann"))


def test_a_server_that_is_not_there(unrecorded):
    def unreachable(request):
        raise httpx.ConnectError("nobody listens")

    server = EmbeddingServer(
        URL, model="m", template="completion", retries=1, backoff_s=0.0, transport=httpx.MockTransport(unreachable)
    )
    with pytest.raises(InputError, match=r"after 2 tries \(ConnectError: nobody listens\)"):
        asyncio.run(AsyncRewardFunction(unrecorded, server)(["p"], ["red"], user_id="ann"))


def test_the_key_comes_from_the_environment(unrecorded, monkeypatch):
    seen = []

    def answer(request):
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={"data": [{"index": 0, "embedding": [0.0] * 6}]})

    monkeypatch.setenv("SOME_KEY", "s3cret")
    transport = httpx.MockTransport(answer)
    server = EmbeddingServer(URL, model="m", template="completion", key_variable="SOME_KEY", transport=transport)
    asyncio.run(AsyncRewardFunction(unrecorded, server)(["p"], ["red"], user_id="ann"))
    assert seen == ["Bearer s3cret"]


def test_templates_are_written_out_as_the_encoder_does(policy, plant):
    """With a chat template the tokenizer's; vectors of unit length where the record says so."""
    z = np.random.default_rng(0).normal(size=16)
    encoder = TransformersEncoder(TransformersSpec(str(policy)), cache=False)
    model = plant(encoder, {"ann": z}, z, width=16)
    served = Served(lambda t: np.ones((len(t), 16)), model="elsewhere/policy")
    chat, reply = [{"role": "user", "content": "ab"}], [{"role": "assistant", "content": "ba"}]
    asyncio.run(AsyncRewardFunction(model, served.server)(["ab", chat], ["ba", reply], user_id="ann"))
    assert served.asked[0]["input"] == ["<user>ab<assistant>ba"] * 2
    assert served.asked[0]["add_special_tokens"] is False
    plain = TransformersEncoder(TransformersSpec(str(policy), chat_template=False), cache=False)
    asyncio.run(
        AsyncRewardFunction(plant(plain, {"ann": z}, z, width=16), served.server)(["ab"], ["ba"], user_id="ann")
    )
    assert served.asked[1]["input"] == ["ab\n\nba"]


def test_another_model_is_an_error(policy, plant, model, unrecorded):
    encoder = TransformersEncoder(TransformersSpec(str(policy)), cache=False)
    recorded = plant(encoder, {"ann": np.ones(16)}, np.ones(16), width=16)
    with pytest.raises(InputError, match=r"'m', but the model was fitted on '.*policy'"):
        AsyncRewardFunction(recorded, EmbeddingServer(URL, model="m"))
    AsyncRewardFunction(recorded, EmbeddingServer(URL, model="m", stands_for=str(policy)))
    with pytest.raises(InputError, match="lsa"):
        AsyncRewardFunction(model, EmbeddingServer(URL, model="lsa"))
    with pytest.raises(InputError, match="template="):
        AsyncRewardFunction(unrecorded, EmbeddingServer(URL, model="m"))
    with pytest.raises(InputError, match="concurrency=0"):
        EmbeddingServer(URL, model="m", concurrency=0)
