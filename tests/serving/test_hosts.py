"""The server answers to its own names and to no other's."""

import socket

import pytest

from plurality.serving.app import create_app
from plurality.serving.hosts import is_allowed, names_here
from tests.serving.served import Rewarder, ask, body, reward_of


@pytest.mark.parametrize("host", ["localhost:5000", "LOCALHOST", "127.0.0.1:1", "[::1]:5000", "[::1]", "localhost."])
def test_loopback_names(host):
    assert is_allowed(host, names_here("127.0.0.1"))


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil:5000", "[::2]", "0.0.0.0"]
)
def test_foreign_names(host):
    assert not is_allowed(host, names_here("127.0.0.1"))
    assert is_allowed(host, names_here("127.0.0.1", ["*"]))


def test_names_of_the_address():
    assert is_allowed("10.0.0.7:5000", names_here("10.0.0.7"))
    assert is_allowed("Rewards.svc", names_here("10.0.0.7", ["rewards.svc"]))
    everywhere = names_here("0.0.0.0")
    assert is_allowed(f"{socket.gethostname()}:5000", everywhere)
    assert not is_allowed("0.0.0.0", everywhere)
    assert not is_allowed("evil.example", everywhere)


def test_requests_under_another_name_are_rejected_before_they_are_read():
    rewarder = Rewarder()
    app = create_app(rewarder, hosts=names_here("127.0.0.1"))

    async def talk(client):
        rows = body(("Hi ", "there", "ann"))
        for path in ("/get_reward", "/health", "/metrics"):
            refused = await client.post(path, json=rows, headers={"host": "evil.example:5000"})
            assert (refused.status_code, "'evil.example' is not served" in refused.json()["error"]) == (400, True)
        assert rewarder.batches == []
        return await client.post("/get_reward", json=rows, headers={"host": "localhost:5000"})

    assert ask(app, talk).json()["rewards"] == [reward_of("ann", "Hi ", "there")]
