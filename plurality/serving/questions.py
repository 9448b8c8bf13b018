"""Which question to ask somebody next: the one whose answer is expected to say most about their code."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log
from typing import Any, Literal

import numpy as np
import polars as pl

from plurality.arrays import Float, Int
from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, text_keys, uniform
from plurality.data.read import read
from plurality.elicitation.asking import batch_sides
from plurality.elicitation.scores import information_gain
from plurality.encoders.protocol import Prompt
from plurality.errors import InputError
from plurality.reward.links import prob
from plurality.reward.reward_model import RewardModel
from plurality.serving.learning import Learner
from plurality.serving.vectors import hashable

How = Literal["information", "random"]


@dataclass(frozen=True)
class Question:
    """A prompt, and the completions to choose from, or the one to rate."""

    prompt: Prompt
    completions: tuple[str, ...]

    @property
    def key(self) -> Any:
        """The same for the same question, in whatever order its completions stand."""
        return hashable(self.prompt), frozenset(self.completions)


@dataclass(frozen=True)
class Chosen:
    """The question to ask: its place among the candidates, what its answer tells (bits), and what a mean one tells."""

    index: int
    bits: float
    mean_bits: float
    left: int


class Questions:
    """Candidates, embedded once.

    learner      whose encoder embeds them
    questions    all of two completions or more, or all of one
    """

    def __init__(self, learner: Learner, questions: Sequence[Question]) -> None:
        self.questions = tuple(questions)
        if not self.questions:
            raise InputError("there is no question to ask; give some")
        self.keys = [question.key for question in self.questions]
        pairs = [
            (place, question.prompt, a, b)
            for place, question in enumerate(self.questions)
            for a, b in (combinations(question.completions, 2) if len(question.completions) > 1 else ())
        ]
        if pairs and len({place for place, *_ in pairs}) < len(self.questions):
            raise InputError("some questions have one completion, to be rated, and some have several; give one kind")
        self._of = np.array([place for place, *_ in pairs], dtype=np.int64)  # question of each pair
        self._pairs = self._read(learner, pairs) if pairs else None
        self._items: Any = None
        if not pairs:
            prompts, texts = zip(*((q.prompt, q.completions[0]) for q in self.questions), strict=True)
            items = learner.encoder.encode(prompts, texts)
            self._items = items, learner.encoder.encode_prompts(prompts) if learner.model.head.uses_prompts else None

    def choose(
        self, model: RewardModel, user_id: str, asked: Collection[Any] = (), *, how: How = "information", seed: int = 0
    ) -> Chosen | None:
        """The best question for a user of those that they were not asked; None where all were.

        model      as the user is known now, or without them
        user_id    whom to ask
        asked      keys of questions that were asked
        how        "random" draws one by seed, user and how many were asked
        """
        left = np.flatnonzero([key not in asked for key in self.keys])
        if not len(left):
            return None
        if model.head.n_codes == 0:
            raise InputError(
                f"{model.spec.name}: users have no code to ask about; serve a model that tells users apart"
            )
        worth = self._worth(model, user_id, left)
        place = int(worth.argmax())
        if how == "random":
            key = combine(text_keys([user_id]), np.array([len(self.keys) - len(left)], dtype=np.uint64))
            place = int(uniform(key, seed)[0] * len(left))
        return Chosen(int(left[place]), float(worth[place]) / log(2), float(worth.mean()) / log(2), len(left))

    def _worth(self, model: RewardModel, user_id: str, left: Int) -> Float:
        """Nats that each question left tells: of several completions the mean over their pairs."""
        belief = model.beliefs([user_id], "population")
        points, mass = model.head.points(belief)
        share = mass.expand(points.shape[:2]).exp().T[:, :, None].numpy()
        if self._pairs is None:  # one completion: whether it is above the mean item
            return self._ratings(model, points, share)[left]
        rows = np.flatnonzero(np.isin(self._of, left))
        first, second = batch_sides(model, self._pairs.take(rows))
        odds = model.whole_head.log_odds(first[:, None], second[:, None], points.to(first.dtype)[:, None]).detach()
        gain = information_gain(prob(odds.double()).permute(2, 0, 1).numpy(), share)[0]
        place = np.searchsorted(left, self._of[rows])
        return np.bincount(place, gain, len(left)) / np.bincount(place, minlength=len(left))

    def _ratings(self, model: RewardModel, points: Any, share: Float) -> Float:
        items, prompts = self._items
        first = model.features(items, prompts, None if model.base is None else np.zeros(len(items)))
        centre = model.centre(prompts)
        second = centre.expand(len(first), -1) if len(centre) == 1 else centre
        odds = model.whole_head.log_odds(first[:, None], second[:, None], points.to(first.dtype)[:, None]).detach()
        gain: Float = information_gain(prob(odds.double()).permute(2, 0, 1).numpy(), share)[0]
        return gain

    @staticmethod
    def _read(learner: Learner, pairs: list[tuple[int, Prompt, str, str]]) -> Comparisons:
        chat = any(not isinstance(prompt, str) for _, prompt, _, _ in pairs)
        asked = [
            [{"role": "user", "content": prompt}] if chat and isinstance(prompt, str) else prompt
            for _, prompt, _, _ in pairs
        ]
        frame = pl.DataFrame(
            {
                "user_id": ["nobody"] * len(pairs),
                "prompt": asked,
                "chosen": [a for *_, a, _ in pairs],
                "rejected": [b for *_, b in pairs],
            }
        )
        if learner.model.base is not None:  # what the base gives a question says nothing of a taste
            frame = frame.with_columns(score_chosen=0.0, score_rejected=0.0)
        prompts = learner.model.head.uses_prompts
        return read(frame, encoder=learner.encoder, prompts=prompts, repeats="keep")
