"""Over real sockets: `plurality serve` gives what Python gives, and whoever is being answered is answered."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import httpx
import numpy as np
import polars as pl
import pytest
import uvicorn
from scipy.special import expit

import plurality
from plurality.encoders import LsaSpec
from plurality.models import LowRank
from plurality.serving.app import Limits, create_app
from tests.serving.served import Rewarder, body, reward_of


@pytest.fixture(scope="module")
def model(town):
    data = plurality.read(town / "comparisons.parquet", users=town / "users.parquet", encoder=LsaSpec(dim=16))
    return LowRank(rank=2).fit(data)


@pytest.fixture(scope="module")
def candidates(town, model):
    """Eight completions, each to be judged by somebody the model knows."""
    frame = pl.read_parquet(town / "candidates.parquet").head(8)
    return frame.with_columns(user_id=pl.Series(model.user_ids[:8]))


def request_for(candidates, end="</s>"):
    rows = candidates.select("prompt", "completion", "user_id").rows()
    return body(*((prompt, completion + end, {"user_id": user}) for prompt, completion, user in rows))


class Running:
    """`plurality serve` in a process of its own, at any free port."""

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "plurality", "serve", *map(str, arguments), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert " answers at http://127.0.0.1:" in line, line + self.process.stderr.read()
        self.url = line.split(" answers at ")[1].split(";")[0]

    def stop(self, how):
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()


def test_the_command_gives_what_python_gives(model, candidates, tmp_path):
    model.save_pretrained(tmp_path / "reward")
    items = model.encoder.encode(candidates["prompt"].to_list(), candidates["completion"].to_list())
    users = candidates["user_id"].to_list()
    expected = model.score(items, np.arange(8), users)
    with Running(tmp_path / "reward") as server:
        said = httpx.post(server.url, json=request_for(candidates)).json()
        np.testing.assert_allclose(said["rewards"], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(said["scores"], expit(said["rewards"]), rtol=1e-9)
        assert said["extra_logs"] == {"known_user": [1.0] * 8}
        blank = httpx.post(server.url, json=body(("Hi ", "</s>", model.user_ids[0])))
        assert (blank.status_code, "blank" in blank.json()["error"]) == (422, True)
        unknown = httpx.post(server.url, json=body(("Hi ", "there", "nobody")))
        assert (unknown.status_code, "--unknown population" in unknown.json()["error"]) == (422, True)
        health = httpx.get(server.url.replace("get_reward", "health")).json()
        assert (health["ready"], health["users"], health["encoder"]["kind"]) == (True, 24, "lsa")
        assert "LowRank" in health["model"]
        thought = body(("Hi ", f"<think>{candidates['completion'][1]}</think>{candidates['completion'][0]}", users[0]))
        np.testing.assert_allclose(httpx.post(server.url, json=thought).json()["rewards"], expected[:1], rtol=1e-4)
        foreign = httpx.post(server.url, json=thought, headers={"host": "evil.example"})
        assert (foreign.status_code, "--allow-host" in foreign.json()["error"]) == (400, True)
        server.process.send_signal(signal.SIGHUP)  # the terminal is closed
        assert httpx.post(server.url, json=thought).status_code == 200
        assert server.stop(signal.SIGTERM) == (0, "", "")


def test_the_command_gives_win_probabilities(model, candidates, town, tmp_path):
    model.save_pretrained(tmp_path / "reward")
    reference = pl.read_parquet(town / "candidates.parquet").tail(5).select("prompt", "completion")
    reference.write_ndjson(tmp_path / "reference.jsonl")
    encode = model.encoder.encode
    items, against = (encode(f["prompt"].to_list(), f["completion"].to_list()) for f in (candidates, reference))
    users = [*candidates["user_id"].to_list()[:-1], "nobody"]
    u, r = (np.float64(model.utility(x, users, unknown="population")) for x in (items, against))
    expected = expit(u.diagonal()[:, None] - r).mean(1)
    win = ["--normalise", "win", "--reference", tmp_path / "reference.jsonl", "--unknown", "population"]
    win += ["--blank", 0.125, "--eos", "[END]"]
    with Running(tmp_path / "reward", *win) as server:
        request = request_for(candidates.with_columns(user_id=pl.Series(users)), "[END]")
        said = httpx.post(server.url, json=request).json()
        np.testing.assert_allclose(said["rewards"], expected, rtol=1e-4, atol=1e-5)
        assert said["scores"] == said["rewards"]
        assert said["extra_logs"] == {"known_user": [1.0] * 7 + [0.0]}
        blank = httpx.post(server.url, json=body(("Hi ", " [END]", "nobody"))).json()
        assert blank["rewards"] == blank["scores"] == [0.125]
        assert server.stop(signal.SIGINT)[0] == 0


def test_a_model_that_reads_prompts_wants_the_prompt_itself(town, candidates, tmp_path):
    """The label's prompt is what the encoder knew, the policy's chat template is not; users go by the model's unit."""
    encoder = LsaSpec(dim=16, template="conversation")
    users = pl.read_parquet(town / "users.parquet").with_columns(country=pl.col("user_id") + "-land")
    model = LowRank(rank=2, unit="country").fit(
        plurality.read(town / "comparisons.parquet", users=users, encoder=encoder)
    )
    model.save_pretrained(tmp_path / "reward")
    rows = candidates.select("prompt", "completion", pl.col("user_id") + "-land").rows()
    template = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    items = model.text_encoder().encode([prompt for prompt, _, _ in rows], [said for _, said, _ in rows])
    expected = model.score(items, np.arange(8), [user for _, _, user in rows])
    with Running(tmp_path / "reward") as server:
        templated = body(*((template.format(p), c, {"country": u}) for p, c, u in rows))
        refused = httpx.post(server.url, json=templated)
        assert (refused.status_code, "chat template" in refused.json()["error"]) == (400, True)
        own = body(*((template.format(p), c + "<|im_end|>", {"country": u, "prompt": p}) for p, c, u in rows))
        np.testing.assert_allclose(httpx.post(server.url, json=own).json()["rewards"], expected, rtol=1e-4, atol=1e-5)
        plain = body(*((p, c, {"country": u}) for p, c, u in rows))
        np.testing.assert_allclose(httpx.post(server.url, json=plain).json()["rewards"], expected, rtol=1e-4, atol=1e-5)


HELD_UP = """
import sys
from plurality.cli.serve import _listen, answer
from plurality.serving.app import create_app

def rewarder(*, prompts, completions, user_id):
    print("uvloop" in sys.modules, "httptools" in sys.modules, "h11" in sys.modules, flush=True)
    sys.stdin.readline()
    return [0.5]

listener = _listen("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)
answer(create_app(rewarder), listener, 60)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_after_its_answers(how):
    """On the loop and parser of the `serve` extra."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HELD_UP], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            port = int(process.stdout.readline())
            answers, url = [], f"http://127.0.0.1:{port}/get_reward"
            request = body(("Hi ", "there", "ann"))
            asking = threading.Thread(target=lambda: answers.append(httpx.post(url, json=request, timeout=60)))
            asking.start()
            assert process.stdout.readline() == "True True False\n"
            process.send_signal(how)
            with pytest.raises(ConnectionError):
                knock_until_closed(port)
            assert process.poll() is None
            _, err = process.communicate("\n", timeout=60)
            asking.join(60)
        finally:
            process.kill()
    assert (answers[0].json()["rewards"], process.returncode, err) == ([0.5], 0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--normalise", "win"], "--normalise win and --reference go together"),
        (["--reference", "rows.csv"], "--normalise win and --reference go together"),
        (["--normalise", "win", "--reference", "rows.csv"], "rows.csv does not exist"),
        (["--port", "TAKEN"], "127.0.0.1:[0-9]+: cannot be listened on .*; give another address"),
        (["--port", "70000"], "--port 70000: ports end at 65535"),
        (["--blank", "nan"], "--blank nan: give a number"),
        (["--blank", "2", "--normalise", "win", "--reference", "rows.csv"], "--blank 2.0: give a number"),
        (["--max-batch", "0"], "'0' is not a whole number of 1 or more"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(model, command, tmp_path, arguments, message):
    model.save_pretrained(tmp_path / "reward")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", tmp_path / "reward", *(port if a == "TAKEN" else a for a in arguments))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert re.search(message, done.err), done.err


def test_a_model_without_an_encoder_is_not_served(model, command, tmp_path):
    replace(model, encoder=None).save_pretrained(tmp_path / "reward")
    done = command("serve", tmp_path / "reward", "--port", 0)
    assert (done.code, "ready-made embeddings" in done.err) == (2, True)


@pytest.fixture
def live():
    """A server in a thread: its URL, its rewarder, and how it is told to stop."""
    rewarder = Rewarder()
    app = create_app(rewarder, limits=Limits(max_body=100_000))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", rewarder, server
    finally:
        rewarder.go_on.set()
        server.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


def knock_until_closed(port):
    while True:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as late:
            late.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert late.recv(1000)[:15] in (b"HTTP/1.1 200 OK", b"")


def test_who_is_being_answered_is_answered_before_the_end(live):
    url, rewarder, server = live
    answers = []
    rewarder.hold()
    request = body(("Hi ", "there", "ann"))
    asking = threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/get_reward", json=request, timeout=60)))
    asking.start()
    assert rewarder.entered.wait(30)
    server.should_exit = True
    with pytest.raises(ConnectionError):  # refused, or reset when it waited to be accepted
        knock_until_closed(httpx.URL(url).port)
    rewarder.go_on.set()
    asking.join(60)
    assert answers[0].json()["rewards"] == [reward_of("ann", "Hi ", "there")]


def test_a_large_body_is_answered_and_the_next_request_too(live):
    """The client learns why, although it was not heard to the end."""
    url, _, _ = live
    with httpx.Client(base_url=url) as client:
        for content in (b" " * 3_000_000, (b" " * 50_000 for _ in range(60))):
            answer = client.post("/get_reward", content=content, headers={"content-type": "application/json"})
            assert (answer.status_code, list(answer.json())) == (413, ["error"])
        answer = client.post("/get_reward", json=body(("Hi ", "there", "ann")))
        assert answer.json()["rewards"] == [reward_of("ann", "Hi ", "there")]


def test_what_is_no_http_disturbs_nobody(live):
    url, _, _ = live
    with socket.create_connection(("127.0.0.1", httpx.URL(url).port), timeout=30) as rude:
        rude.sendall(b"\x80\x04]\x94.\r\n\r\n")
        assert rude.recv(100).startswith(b"HTTP/1.1 400")
    answer = httpx.post(f"{url}/get_reward", content=json.dumps(body(("Hi ", "there", "ann"))),
                        headers={"content-type": "application/json"})  # fmt: skip
    assert answer.json()["rewards"] == [reward_of("ann", "Hi ", "there")]


def test_a_direction_over_objectives_needs_no_user(town, candidates, tmp_path):
    data = plurality.read(town / "comparisons.parquet", users=town / "users.parquet", encoder=LsaSpec(dim=8))
    several = plurality.MORE(source="age", multi_head=True, decay=3.0, steps=20).fit(data)
    direction = dict(zip(several.objectives, (0.8, -0.6), strict=False))
    folder = several.save_pretrained(tmp_path / "several")
    asked = body(*((p, c + "</s>", None) for p, c in candidates.select("prompt", "completion").rows()))
    with Running(folder, "--direction", ",".join(f"{name}={v}" for name, v in direction.items())) as served:
        answer = httpx.post(served.url, json=asked, timeout=60)
    assert answer.status_code == 200, answer.text
    wanted = plurality.RewardFunction(several, direction=direction)(
        candidates["prompt"].to_list(), candidates["completion"].to_list()
    )
    np.testing.assert_allclose(answer.json()["rewards"], wanted, atol=1e-5)
    np.testing.assert_allclose(answer.json()["scores"], expit(wanted), atol=1e-5)
