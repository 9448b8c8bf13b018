"""A planted world to serve: people whose tastes are known, and a model that has seen none of them answer."""

from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import polars as pl

from plurality.data.read import read
from plurality.models import LowRank
from plurality.reward.reward_model import RewardModel
from plurality.rl.reward_function import RewardFunction
from plurality.serving.app import Learning, Limits, Served, create_app
from plurality.serving.engine import Live
from plurality.serving.learning import Learner
from plurality.serving.state import State

PROMPT = "Which?"


class Points:
    """A toy encoder: a text is two numbers, its place in the plane."""

    dim = 2
    fingerprint = "points"

    def __init__(self) -> None:
        self.calls = 0

    def describe(self) -> dict[str, Any]:
        return {"kind": "points", "name": "points", "template": "completion"}

    def encode(self, prompts: Any, completions: Any, progress: bool = False) -> np.ndarray:
        self.calls += 1
        return np.array([[float(x) for x in text.split()] for text in completions], dtype=np.float32).reshape(-1, 2)

    def encode_prompts(self, prompts: Any, progress: bool = False) -> np.ndarray:
        return np.zeros((len(prompts), 2), dtype=np.float32)

    def save(self, folder: Any) -> None:
        folder.mkdir()


@dataclass
class World:
    """Texts, and a model of people who like one direction of the plane each."""

    model: RewardModel
    texts: list[str]
    encoder: Points

    @staticmethod
    def make(seed: int = 0) -> "World":
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(40, 2)).round(3)
        texts = [f"{x} {y}" for x, y in points]
        tastes = 2 * rng.normal(size=(40, 2))
        sides = np.array([rng.choice(40, 2, replace=False) for _ in range(800)])
        who = np.repeat(np.arange(40), 20)
        gap = ((points[sides[:, 0]] - points[sides[:, 1]]) * tastes[who]).sum(1)
        won = rng.random(800) < 1 / (1 + np.exp(-gap))
        better = np.where(won, sides[:, 0], sides[:, 1])
        worse = np.where(won, sides[:, 1], sides[:, 0])
        rows = {
            "user_id": [f"fitted{i}" for i in who],
            "prompt": [PROMPT] * 800,
            "chosen": [texts[i] for i in better],
            "rejected": [texts[i] for i in worse],
        }
        encoder = Points()
        return World(LowRank(rank=2).fit(read(pl.DataFrame(rows), encoder=encoder, repeats="keep")), texts, encoder)

    def app(self, state: State | None, learning: Learning | None = None, **limits: Any) -> Any:
        """A server of the model that learns."""
        return create_app(
            self.live(state),
            served=Served(None, "population", about={"remembers": state is not None}),
            limits=Limits(**limits),
            learning=learning,
        )

    def live(self, state: State | None) -> Live:
        """What the server computes with."""
        learner = Learner(self.model, state)
        return Live(learner, RewardFunction(learner.model, user_column="user_id"), "population")

    def pair(self, rng: np.random.Generator) -> dict[str, str]:
        """An answer of somebody who likes what is far to the right."""
        i, j = rng.choice(len(self.texts), 2, replace=False)
        if float(self.texts[i].split()[0]) < float(self.texts[j].split()[0]):
            i, j = j, i
        return {"prompt": PROMPT, "chosen": self.texts[i], "rejected": self.texts[j]}


def adapted(world: World, user: str, rows: list[dict[str, Any]]) -> RewardModel:
    """What `adapt` makes of a user's answers: the independent way."""
    frame = pl.DataFrame([{"user_id": user, **row} for row in rows], infer_schema_length=None)
    return world.model.adapt(read(frame, encoder=world.encoder, repeats="keep"))


def transport(app: Any) -> httpx.ASGITransport:
    return httpx.ASGITransport(app)
