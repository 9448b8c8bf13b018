"""Who may ask for what: tokens, keys for one user, rates; and that much from one does not delay little from another."""

import asyncio
import json
import re

import httpx
import numpy as np
import pytest

from plurality.client import AsyncClient, Client, ServerError
from plurality.errors import InputError
from plurality.rl.batching import MicroBatcher
from plurality.serving.access import Client as Asking
from plurality.serving.access import Tokens, Turnstile, read_tokens
from plurality.serving.app import Learning, Limits, create_app
from plurality.serving.state import open_state
from tests.serving.served import Rewarder
from tests.serving.world import PROMPT, transport

TOKENS = """
[trainer]
token = "trainer-0123456789"
scopes = ["score"]
[boss]
token = "boss-0123456789abc"
scopes = ["admin"]
"""
PAIR = {"prompt": PROMPT, "chosen": "1 0", "rejected": "0 1"}


@pytest.fixture
def app(world, tmp_path):
    (tmp_path / "tokens.toml").write_text(TOKENS)
    state = open_state(str(tmp_path / "users.db"))
    yield world.app(state, Learning(tokens=read_tokens(tmp_path / "tokens.toml"), group_by="country"))
    state.close()


def as_(app, token, conversation):
    async def main():
        async with AsyncClient("http://server", token=token, transport=transport(app), retries=0) as client:
            return await conversation(client)

    return asyncio.run(main())


def test_scopes(app):
    def score(client):
        return client.score(["ann"], [PROMPT], ["1 0"])

    assert as_(app, "trainer-0123456789", score).known == [False]
    for token in (None, "trainer-0123456788", "Trainer-0123456789"):
        with pytest.raises(InputError, match="no valid token"):
            as_(app, token, score)
    with pytest.raises(InputError, match="trainer has not the scope feedback"):
        as_(app, "trainer-0123456789", lambda client: client.feedback("ann", [PAIR]))
    assert as_(app, "boss-0123456789abc", lambda client: client.feedback("ann", [PAIR])).counted
    assert as_(app, None, lambda client: client.health())["ready"]  # for the one who starts containers


def test_a_token_in_the_url_is_a_password(app):
    """OpenRLHF and others can be given a URL and no header."""

    async def main():
        async with httpx.AsyncClient(transport=transport(app), base_url="http://x:trainer-0123456789@server") as client:
            body = {"rows": [{"user_id": "ann", "prompt": PROMPT, "completion": "1 0"}]}
            return await client.post("/score", json=body)

    assert asyncio.run(main()).status_code == 200


def test_a_key_is_for_its_user_alone(app):
    tokens = Tokens([("boss-0123456789abc", Asking("boss", frozenset({"admin"})))])
    key = tokens.key("ann.é")
    assert as_(app, key, lambda client: client.feedback("ann.é", [PAIR])).counted
    for call in (
        lambda client: client.feedback("bob", [PAIR]),
        lambda client: client.next_question("bob", [(PROMPT, ["1 0", "0 1"])]),
        lambda client: client.user("ann.é"),
        lambda client: client.score(["ann.é"], [PROMPT], ["1 0"]),
    ):
        with pytest.raises(InputError, match=r"another user's|has not the scope"):
            as_(app, key, call)
    with pytest.raises(InputError, match="no valid token"):
        as_(app, key[:-1] + ("0" if key[-1] != "0" else "1"), lambda client: client.feedback("ann.é", [PAIR]))


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no token"), ('[a]\ntoken = "short"\nscopes = ["score"]', "16 characters"), ("[a", "not TOML"),
     ('[a]\ntoken = "0123456789abcdef"\nscopes = ["all"]', "score, feedback, admin"),
     (TOKENS.replace("boss-0123456789abc", "trainer-0123456789"), "the same token")],
)  # fmt: skip
def test_bad_token_files(tmp_path, text, message):
    (tmp_path / "tokens.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_tokens(tmp_path / "tokens.toml")


def test_rates_and_queues_are_each_client_s(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("plurality.serving.access.monotonic", lambda: now[0])
    turnstile = Turnstile(per_second=0.5)
    assert [turnstile.admits("a") for _ in range(6)] == [True] * 5 + [False]
    assert turnstile.admits("b")
    now[0] = 2.0
    assert [turnstile.admits("a") for _ in range(2)] == [True, False]

    app = create_app(Rewarder(), limits=Limits(client_queue=2))
    with pytest.raises(ServerError, match="of yours wait already"):
        as_(app, None, lambda client: client.score(["a"] * 3, ["p"] * 3, ["c"] * 3))


def test_much_from_one_does_not_delay_little_from_another():
    """A batch after it came the small request is answered, with thousands of rows before it in the line."""
    batches = []

    def work(items):
        batches.append(items)
        return items

    async def main():
        batcher = MicroBatcher(work, max_batch=10, max_wait_s=0)
        large = asyncio.create_task(batcher.submit_all(["large"] * 5000))
        await asyncio.sleep(0.01)
        before = len(batches)
        await batcher.submit("small")
        place = next(i for i, batch in enumerate(batches) if "small" in batch)
        assert (await large) == ["large"] * 5000
        return place - before

    assert asyncio.run(main()) <= 3


def test_metrics_name_groups_and_never_users(app, world):
    async def conversation(client):
        rng = np.random.default_rng(0)
        for user in [f"u{i}" for i in range(6)]:
            await client.feedback(user, [world.pair(rng)], about={"country": 'A"b' if user != "u5" else "alone"})
        users = [f"u{i}" for i in range(6)]
        scored = await client.score(users, [PROMPT] * 6, ["1 0"] * 6)
        return scored, (await client._http.get("/metrics")).text, (await client._http.get("/openapi.json")).json()

    scored, text, interface = as_(app, "boss-0123456789abc", conversation)
    (total,) = re.findall(r'plurality_group_reward_sum\{group="A\\"b"\} (\S+)', text)
    assert float(total) == pytest.approx(sum(scored.rewards[:5]))
    assert "alone" not in text
    assert not re.search(r"\bu\d\b", text)
    assert 'plurality_http_requests_total{route="/feedback",status="200"} 6' in text
    assert interface["paths"]["/feedback"]["post"]["security"] == [{"token": ["feedback"]}]
    names = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(interface)))
    assert names <= set(interface["components"]["schemas"])


def test_the_client_tries_again_and_says_what_is_wrong():
    seen = []

    def flaky(request):
        seen.append(json.loads(request.content)["request_id"])
        if len(seen) == 1:
            raise httpx.ConnectError("refused")
        if len(seen) == 2:
            return httpx.Response(503, json={"error": "busy"})
        return httpx.Response(200, json={"user_id": "ann", "counted": True, "answers": 1, "uncertainty": 0.5})

    with Client("http://server", transport=httpx.MockTransport(flaky)) as client:
        assert client.feedback("ann", [PAIR]).answers == 1
    assert len(seen) == 3
    assert len(set(seen)) == 1

    def down(request):
        raise httpx.ConnectError("refused")

    with Client("http://server", transport=httpx.MockTransport(down), retries=1) as client:
        with pytest.raises(ServerError, match="cannot be reached"):
            client.health()
        with pytest.raises(InputError, match="as many"):
            client.score(["a"], ["p"], [])
    with (
        Client("http://server", transport=httpx.MockTransport(lambda r: httpx.Response(404, text="no"))) as client,
        pytest.raises(InputError, match="is it a plurality server"),
    ):
        client.health()
