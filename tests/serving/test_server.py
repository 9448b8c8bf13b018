"""The server: the right reward for everybody, whoever else asks, and a clear no to everything else."""

import asyncio
import json
import re

import numpy as np
import pytest
from scipy.special import expit

from plurality.rl.openrlhf_protocol import OpenRLHFProtocol
from plurality.serving.app import Limits, Served, create_app
from tests.serving.served import Rewarder, ask, body, client_of, post, reward_of

ROWS = [("Tea?", " Yes", "ann"), ("Tea?", " Yes", "bob"), ("Hi", "", "ann")]
EMPTY = {"query": [], "prompts": [], "labels": []}


async def accepted(rewarder):
    """Wait until the rewarder is inside a call."""
    assert await asyncio.to_thread(rewarder.entered.wait, 30)


async def pending(client, n):
    """Wait until n rows are accepted and not yet answered."""
    while (await client.get("/health")).json()["pending"] != n:
        await asyncio.sleep(0)


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    return answer.json()["error"]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]])
def test_rewards_scores_and_logs(rows):
    answer = post(create_app(Rewarder(), served=Served(["ann"], "population")), json=body(*rows))
    assert answer.status_code == 200
    said = answer.json()
    assert said.keys() == {"rewards", "scores", "extra_logs"}
    assert said["rewards"] == [reward_of(u, p, c) for p, c, u in rows]
    np.testing.assert_allclose(said["scores"], expit(said["rewards"]), rtol=1e-12)
    assert said["extra_logs"] == {"known_user": [float(u == "ann") for _, _, u in rows]}


def test_end_tokens_and_the_label_s_prompt_reach_the_rewarder():
    label = json.dumps({"user_id": "ann", "prompt": [{"role": "user", "content": "Tea?"}]})
    app = create_app(Rewarder(), protocol=OpenRLHFProtocol(end_tokens=("[END]",)))
    answer = post(app, json=body(("[USER] Tea? [AI]", "Yes[END]", label)))
    assert answer.json()["rewards"] == [reward_of("ann", [{"role": "user", "content": "Tea?"}], "Yes")]
    assert answer.json()["extra_logs"] == {}


def test_a_model_that_reads_prompts_is_given_no_template():
    """It would take the template for a person's words; the label may have the prompt itself."""
    rewarder = Rewarder()
    app = create_app(rewarder, protocol=OpenRLHFProtocol(reads_prompts=True))
    templated = "<|im_start|>user\nTea?<|im_end|>\n<|im_start|>assistant\n"
    refused = post(app, json=body(("Tea?", " Yes", "ann"), (templated, "Yes", "ann")))
    assert error_of(refused, 400).startswith("row 1: the prompt went through the policy's chat template")
    assert rewarder.batches == []
    label = {"user_id": "ann", "prompt": "Tea?"}
    assert post(app, json=body((templated, "Yes", label))).json()["rewards"] == [reward_of("ann", "Tea?", "Yes")]


def test_probabilities_are_scores_already():
    def rewarder(*, prompts, completions, user_id):
        return [float(completion) for completion in completions]

    app = create_app(rewarder, served=Served(scale="probability"))
    said = post(app, json=body(("Hi ", "0.25", "ann"), ("Hi ", "1", "ann"))).json()
    assert said["rewards"] == said["scores"] == [0.25, 1.0]
    assert error_of(post(app, json=body(("Hi ", "1.25", "ann"))), 500)


@pytest.mark.parametrize("unknown", ["error", "population"])
def test_nothing_asked_nothing_answered(unknown):
    rewarder = Rewarder()
    answer = post(create_app(rewarder, served=Served(["ann"], unknown)), json=EMPTY)
    assert (answer.status_code, answer.json()) == (200, {"rewards": [], "scores": [], "extra_logs": {}})
    assert rewarder.batches == []


def test_one_forward_for_many_requests():
    rewarder = Rewarder()
    app = create_app(rewarder, limits=Limits(max_batch=16))

    async def talk(client):
        rewarder.hold()
        first = asyncio.create_task(client.post("/get_reward", json=body(ROWS[0])))
        await accepted(rewarder)
        others = [asyncio.create_task(client.post("/get_reward", json=body(("Hi", str(i), "ann")))) for i in range(20)]
        await pending(client, 21)
        rewarder.go_on.set()
        return [(await task).json()["rewards"] for task in [first, *others]]

    rewards = ask(app, talk)
    assert rewards == [[reward_of("ann", "Tea?", " Yes")], *([reward_of("ann", "Hi", str(i))] for i in range(20))]
    assert rewarder.batches == [1, 16, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "not valid JSON"), (b'{"query": [NaN]}', "NaN"), (json.dumps({**EMPTY, "query": [1]}), "1, 0 and 0")],
)
def test_bad_bodies(content, message):
    answer = post(create_app(Rewarder()), content=content, headers={"content-type": "Application/JSON; charset=utf-8"})
    assert message in error_of(answer, 400)


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/x-pickle"}, {"content-type": "text/json"},
                                     {"content-type": "application/json", "content-encoding": "gzip"}])  # fmt: skip
def test_only_json(headers):
    assert "JSON" in error_of(post(create_app(Rewarder()), content=json.dumps(EMPTY), headers=headers), 415).upper()


def test_other_paths_and_methods():
    app = create_app(Rewarder())
    assert "POST /get_reward" in error_of(ask(app, lambda client: client.get("/")), 404)
    answer = ask(app, lambda client: client.get("/get_reward"))
    assert error_of(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_a_body_that_says_it_is_too_large_is_not_read():
    async def unread():
        pytest.fail("the body was read")
        yield b""

    app = create_app(Rewarder(), limits=Limits(max_body=1000))
    announced = {"content-type": "application/json", "content-length": "1001"}
    assert "1,000 bytes" in error_of(post(app, content=unread(), headers=announced), 413)
    least = json.dumps(EMPTY).encode()
    exactly = least + b" " * (1000 - len(least))
    assert post(app, content=exactly, headers={"content-type": "application/json"}).status_code == 200


def test_a_body_is_an_error_as_soon_as_it_is_too_large():
    sent = []

    async def endless():
        while True:
            sent.append(100)
            yield b" " * 100

    app = create_app(Rewarder(), limits=Limits(max_body=1000))
    assert error_of(post(app, content=endless(), headers={"content-type": "application/json"}), 413)
    assert sum(sent) == 1100


def test_a_body_that_does_not_come():
    async def silent():
        yield b"{"
        await asyncio.Event().wait()

    app = create_app(Rewarder(), limits=Limits(timeout_s=0.05))
    assert "did not arrive" in error_of(post(app, content=silent(), headers={"content-type": "application/json"}), 408)


def test_a_client_that_hangs_up():
    app = create_app(Rewarder())
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/get_reward", "query_string": b"", "headers": headers}

    async def receive():
        return next(messages)

    async def send(message):
        pass

    asyncio.run(app(scope, receive, send))
    assert 'plurality_requests_total{status="499"} 1' in ask(app, lambda client: client.get("/metrics")).text


def test_an_answer_that_does_not_come():
    rewarder = Rewarder()
    app = create_app(rewarder, limits=Limits(timeout_s=0.05))

    async def talk(client):
        rewarder.hold()
        late = await client.post("/get_reward", json=body(*ROWS))
        rewarder.go_on.set()
        return late, (await client.get("/health")).json()["pending"]

    answer, waiting = ask(app, talk)
    assert "no answer within 0.05 s" in error_of(answer, 504)
    assert waiting == 0


def test_a_full_queue_pushes_back():
    rewarder = Rewarder()
    app = create_app(rewarder, limits=Limits(max_queue=4))

    async def talk(client):
        rewarder.hold()
        accepted_one = asyncio.create_task(client.post("/get_reward", json=body(*ROWS)))
        await accepted(rewarder)
        refused = await client.post("/get_reward", json=body(*ROWS[:2]))
        last_place = asyncio.create_task(client.post("/get_reward", json=body(ROWS[0])))
        await pending(client, 4)
        full = await client.get("/health")
        rewarder.go_on.set()
        served = [(await task).status_code for task in (accepted_one, last_place)]
        return refused, full, served, await client.get("/health")

    refused, full, served, free = ask(app, talk)
    assert "try again" in error_of(refused, 503)
    assert refused.headers["retry-after"] == "1"
    assert (full.status_code, full.json()["ready"]) == (503, False)
    assert (free.status_code, free.json()["ready"]) == (200, True)
    assert served == [200, 200]
    assert "at a time" in error_of(post(app, json=body(*ROWS, *ROWS)), 413)


def test_unknown_users_are_an_error_before_anything_is_computed():
    rewarder = Rewarder()
    answer = post(create_app(rewarder, served=Served(["ann"])), json=body(*ROWS))
    assert error_of(answer, 422).startswith("row 1: user 'bob' is not known")
    assert rewarder.batches == []


@pytest.mark.parametrize(
    ("completion", "status", "message"),
    [
        ("refuse", 422, "row 1: this completion cannot be embedded"),
        ("none", 422, "row 1: the model has no reward for it"),
        ("nan", 500, "row 1: the reward is nan"),
    ],
)
def test_a_bad_row_costs_no_other_request_its_reward(completion, status, message):
    """All in one batch."""
    rewarder = Rewarder()
    app = create_app(rewarder)

    async def talk(client):
        bad = client.post("/get_reward", json=body(("Hi ", "good", "ann"), ("Hi ", completion, "bob")))
        good = [client.post("/get_reward", json=body(("Hi ", str(i), "ann"))) for i in range(14)]
        return await asyncio.gather(*good[:7], bad, *good[7:])

    answers = ask(app, talk)
    assert rewarder.batches[0] == 16
    assert error_of(answers.pop(7), status).startswith(message)
    assert [a.json()["rewards"] for a in answers] == [[reward_of("ann", "Hi ", str(i))] for i in range(14)]


def test_a_crash_is_told_without_its_secrets(caplog):
    app = create_app(Rewarder())
    assert "secret" not in error_of(post(app, json=body(("Hi ", "crash", "ann"))), 500)
    assert "a secret of the server" in caplog.text
    assert post(app, json=body(ROWS[0])).status_code == 200


def test_health_tells_what_is_served():
    app = create_app(Rewarder(), served=Served(["ann", "bob"], about={"model": "pal", "encoder": {"name": "lsa"}}))
    answer = ask(app, lambda client: client.get("/health"))
    about = {"ready": True, "pending": 0, "users": 2, "model": "pal", "encoder": {"name": "lsa"}}
    assert (answer.status_code, answer.json()) == (200, about)


def page_of(text):
    """Samples of a Prometheus page by name and labels; every one under a family of a stated type."""
    samples, families = {}, {}
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            families[name] = kind
        elif not line.startswith("# HELP "):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            assert name in families or families[re.sub("_(bucket|sum|count)$", "", name)] == "histogram"
            assert (name, labels) not in samples
            samples[name, labels] = float(value)
    return samples


def test_metrics_add_up():
    app = create_app(Rewarder(), limits=Limits(max_batch=4))

    async def talk(client):
        for rows in (ROWS, ROWS[:1], ROWS * 3):
            await client.post("/get_reward", json=body(*rows))
        await client.post("/get_reward", json={})
        return await client.get("/metrics")

    answer = ask(app, talk)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    page = page_of(answer.text)
    assert page["plurality_requests_total", 'status="200"'] == 3
    assert page["plurality_requests_total", 'status="400"'] == 1
    assert page["plurality_rewards_total", None] == page["plurality_batch_rows_sum", None] == 13
    assert page["plurality_pending_rows", None] == 0
    rows = {labels: n for (name, labels), n in page.items() if name == "plurality_batch_rows_bucket"}
    # batches of 3, 1, then 9 rows as 4, 4 and 1
    assert list(rows.values()) == [2, 2, *[5] * 9]
    assert list(rows)[-1] == 'le="+Inf"'
    assert page["plurality_batch_rows_count", None] == page["plurality_batch_seconds_count", None] == 5
    assert page["plurality_request_seconds_count", None] == 4
    assert page["plurality_request_seconds_sum", None] >= page["plurality_batch_seconds_sum", None] > 0


def test_nobody_gets_another_s_answer():
    """2,000 requests of 64 clients at once, users interleaved, bad ones among them."""
    rewarder, rng = Rewarder(), np.random.default_rng(0)
    app = create_app(rewarder, served=Served([f"u{i}" for i in range(40)]), limits=Limits(max_body=20_000))
    users, sizes, kinds = rng.integers(0, 40, 2000), rng.integers(1, 4, 2000), rng.integers(0, 10, 2000)
    turn = iter(range(2000))

    async def client_s_work(client):
        for i in turn:
            rows = [(f"p{i % 7} ", f"c{i} {j}", f"u{users[i]}") for j in range(sizes[i])]
            match kinds[i]:
                case 0:
                    answer = await client.post("/get_reward", json={**body(*rows), "labels": []})
                    assert error_of(answer, 400)
                case 1:
                    answer = await client.post("/get_reward", json=body(*rows, ("p", "x" * 20_000, "u1")))
                    assert error_of(answer, 413)
                case 2:
                    answer = await client.post("/get_reward", json=body(*rows, ("p", "x", "nobody")))
                    assert error_of(answer, 422)
                case _:
                    said = (await client.post("/get_reward", json=body(*rows))).json()
                    assert said["rewards"] == [reward_of(u, p, c) for p, c, u in rows]

    async def main():
        async with client_of(app) as client, asyncio.TaskGroup() as clients:
            for _ in range(64):
                clients.create_task(client_s_work(client))

    asyncio.run(main())
    assert sum(rewarder.batches) == sizes[kinds > 2].sum()
    assert np.mean(rewarder.batches) > 8
