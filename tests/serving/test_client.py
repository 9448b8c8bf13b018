"""Both clients are one description of each call: the same requests, the same answers, the same errors."""

import asyncio
import inspect

import httpx
import pytest

from plurality.client import AsyncClient, Call, Calls, Client, Rewards, ServerError
from plurality.errors import InputError

ASKED = {
    "score": (["ann"], ["Tea?"], ["Green"]),
    "best_of_n": ("ann", "Tea?", ["Green", "Black"]),
    "feedback": ("ann", [{"prompt": "Tea?", "chosen": "Green", "rejected": "Black"}]),
    "next_question": ("ann", [([{"role": "user", "content": "Tea?"}], ["Green", "Black"])]),
    "user": ("a/é",),
    "erase": ("ann",),
    "reload": (),
    "export": (),
    "health": (),
}
SAID = {
    "rewards": [1.0], "scores": [0.7], "known_user": [True], "index": 1, "completion": "Black", "user_id": "ann",
    "counted": True, "answers": 1, "uncertainty": 0.5, "erased_answers": 2, "model": "m",
    "about": {}, "words": "", "question": None, "why": "", "progress": {"answered": 3},
}  # fmt: skip
FIELDS = {
    "best_of_n": {"index", "completion", "rewards"},
    "feedback": {"user_id", "counted", "answers", "uncertainty"},
    "user": {"user_id", "answers", "about", "words"},
}


def both(name, status, said):
    """What each client gives for a call, and what each sent."""
    sent, given = [], []

    def answer(request):
        sent.append((request.method, request.url.raw_path, request.content, request.headers["authorization"]))
        return httpx.Response(status, json=said)

    transport = httpx.MockTransport(answer)

    async def awaited():
        async with AsyncClient("http://server/at", token="t", retries=0, transport=transport) as client:
            return await getattr(client, name)(*ASKED[name], **options)

    options = {"request_id": "r"} if name == "feedback" else {}
    with Client("http://server/at/", token="t", retries=0, transport=transport) as client:
        for ask in (lambda: getattr(client, name)(*ASKED[name], **options), lambda: asyncio.run(awaited())):
            try:
                given.append(ask())
            except (InputError, ServerError) as error:
                given.append((type(error), str(error)))
    return given, sent


def test_there_is_a_case_for_each_call():
    calls = {name for name in vars(Calls) if not name.startswith("_")}
    assert calls == set(ASKED)
    for name in calls:
        described = inspect.signature(getattr(Calls, name))
        assert described.return_annotation.__origin__ is Call
        assert list(inspect.signature(getattr(Client("http://x"), name)).parameters) == list(described.parameters)[1:]


@pytest.mark.parametrize("name", ASKED)
def test_both_clients_ask_and_read_alike(name):
    said = {key: SAID[key] for key in FIELDS.get(name, SAID)}
    (first, second), sent = both(name, 200, said)
    assert first == second
    assert sent[0] == sent[1]
    assert sent[0][1].startswith(b"/at/")
    if name == "score":
        assert first == Rewards([1.0], [0.7], [True])
    if name == "user":
        assert sent[0][1] == b"/at/users/a%2F%C3%A9"
    (first, second), _ = both(name, 404, {"error": "not here"})
    assert first == second
    assert first[0] is InputError
    assert first[1].endswith("not here (HTTP 404)")


def test_what_failed_is_asked_again_and_counts_once():
    """As often as was said, with one request id; then the last error is told."""
    seen = []

    def answer(request):
        seen.append(request.read())
        if len(seen) == 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(503, json={"error": "busy"})

    with (
        Client("http://server", retries=2, transport=httpx.MockTransport(answer)) as client,
        pytest.raises(ServerError, match="busy") as error,
    ):
        client.feedback("ann", [{"prompt": "Tea?", "chosen": "Green", "rejected": "Black"}])
    assert error.value.status == 503
    assert len(seen) == 3
    assert len(set(seen)) == 1


def test_lists_of_different_length_are_an_error():
    client = Client("http://server")
    for base in (None, []):
        with pytest.raises(InputError, match="not as many"):
            client.score(["ann"] if base == [] else [], ["Tea?"], ["Green"], base=base)
