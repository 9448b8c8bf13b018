"""A server that learns under load: rewards and answers interleaved, against a process of its own.

The encoder takes the same time for a batch of any size, as a GPU does; a text is two numbers. At the end each user's
reward must be that of `adapt` on exactly the answers that they gave.
"""

import asyncio
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl

from benchmarks.rows import Row
from plurality.data.read import read
from plurality.models import LowRank
from plurality.reward.reward_model import RewardModel

CLIENTS, REQUESTS, USERS = 32, 20_000, 200
LATENCIES = (0.05, 0.01)  # seconds a batch
SHARE = 0.5  # of requests that are answers


class Points:
    """A text is two numbers, its place in the plane."""

    dim, fingerprint = 2, "points"

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency

    def describe(self) -> dict[str, Any]:
        """What it is."""
        return {"kind": "points", "name": "points", "template": "completion"}

    def encode(self, prompts: Any, completions: Any, progress: bool = False) -> np.ndarray:
        """(n, 2)."""
        time.sleep(self.latency)
        return np.array([[float(x) for x in text.split()] for text in completions], dtype=np.float32).reshape(-1, 2)

    def encode_prompts(self, prompts: Any, progress: bool = False) -> np.ndarray:
        """Zeros (n, 2)."""
        return np.zeros((len(prompts), 2), dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Nothing to keep."""


def run(requests: int = REQUESTS) -> Iterator[Row]:
    """Two encoders of different speed."""
    for latency in LATENCIES:
        rewards, answers, total, wrong = under_load(latency, requests)
        p50, p99 = np.quantile(rewards, [0.5, 0.99])
        yield Row(
            f"{requests:,} requests, half of them answers, {CLIENTS} clients, encoder {1000 * latency:.0f} ms a batch",
            f"rewards p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms = {p99 / latency:.2f} × encoder; answers p50 "
            f"{1000 * np.median(answers):.0f} ms, p99 {1000 * np.quantile(answers, 0.99):.0f} ms; "
            f"{requests / total:,.0f} requests/s",
            "p99 < 2 × encoder",
            bool(p99 < 2 * latency),
        )
        yield Row("users whose code is not that of their own answers", str(wrong), "0", wrong == 0)


def planted(latency: float) -> RewardModel:
    """A model of people who like one direction of the plane each."""
    rng = np.random.default_rng(0)
    points, tastes = rng.normal(size=(40, 2)).round(3), 2 * rng.normal(size=(40, 2))
    who, sides = np.repeat(np.arange(40), 20), np.array([rng.choice(40, 2, replace=False) for _ in range(800)])
    first = ((points[sides[:, 0]] - points[sides[:, 1]]) * tastes[who]).sum(1) > 0
    texts = np.array([f"{x} {y}" for x, y in points])
    chosen, rejected = np.where(first, *sides.T), np.where(first, *sides.T[::-1])
    rows = {
        "user_id": [f"f{i}" for i in who],
        "prompt": ["?"] * 800,
        "chosen": texts[chosen],
        "rejected": texts[rejected],
    }
    encoder = Points()
    model = LowRank(rank=2).fit(read(pl.DataFrame(rows), encoder=encoder, repeats="keep"))
    encoder.latency = latency
    return model


def serve(listener: socket.socket, latency: float, path: str) -> None:
    """The server's process."""
    from plurality.cli.serve import answer
    from plurality.rl.reward_function import RewardFunction
    from plurality.serving.app import Served, create_app
    from plurality.serving.engine import Live
    from plurality.serving.learning import Learner
    from plurality.serving.state import open_state

    learner = Learner(planted(latency), open_state(path))
    live = Live(learner, RewardFunction(learner.model, user_column="user_id"), "population")
    answer(create_app(live, served=Served(unknown="population")), listener, timeout_s=60)


def under_load(latency: float, requests: int) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Seconds of each reward and of each answer, in all, and users whose code is wrong at the end."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port = listener.getsockname()[1]
        arguments = (listener, latency, f"{folder}/users.db")
        server = multiprocessing.get_context("spawn").Process(target=serve, args=arguments)
        server.start()
        try:
            return asyncio.run(_clients(f"http://127.0.0.1:{port}", requests))
        finally:
            server.terminate()
            server.join()


async def _clients(url: str, requests: int) -> tuple[np.ndarray, np.ndarray, float, int]:
    rng = np.random.default_rng(1)
    users, is_answer = rng.integers(USERS, size=requests), rng.random(requests) < SHARE
    places = rng.normal(size=(requests, 4)).round(3)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    told: list[dict[str, str]] = []
    todo = iter(range(requests))

    async def client(http: httpx.AsyncClient) -> None:
        for i in todo:
            user, first, second = f"u{users[i]}", f"{places[i, 0]} {places[i, 1]}", f"{places[i, 2]} {places[i, 3]}"
            start = time.perf_counter()
            if is_answer[i]:
                pair = {"prompt": "?", "chosen": first, "rejected": second}
                body: dict[str, Any] = {"user_id": user, "request_id": str(i), "answers": [pair]}
                told.append({"user_id": user, **pair})
            else:
                body = {"rows": [{"user_id": user, "prompt": "?", "completion": first}]}
            said = await http.post("/feedback" if is_answer[i] else "/score", json=body)
            said.raise_for_status()
            seconds[bool(is_answer[i])].append(time.perf_counter() - start)

    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        await http.get("/health")  # it is there
        start = time.perf_counter()
        await asyncio.gather(*(client(http) for _ in range(CLIENTS)))
        total = time.perf_counter() - start
        names = sorted({row["user_id"] for row in told})
        rows = [{"user_id": user, "prompt": "?", "completion": "1 1"} for user in names]
        found = np.array((await http.post("/score", json={"rows": rows})).json()["rewards"])
    model = planted(0.0)
    after = model.adapt(read(pl.DataFrame(told), encoder=Points(), repeats="keep"))
    expected = after.score(np.array([[1.0, 1.0]]), [0] * len(names), names)
    wrong = int((~np.isclose(found, expected, rtol=1e-3, atol=1e-4)).sum())
    return np.array(seconds[False]), np.array(seconds[True]), total, wrong
