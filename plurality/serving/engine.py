"""What computes: all that needs the encoder runs in one thread, in batches that all requests share.

A batch holds rows to reward, texts to embed and jobs, such as choosing a question. Answers of users are learned from in
a second thread once their texts are embedded, many at once, so that no reward waits for the disk.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal, NamedTuple, Protocol

import torch

from plurality.encoders.protocol import Prompt
from plurality.errors import InputError
from plurality.reward.links import prob
from plurality.reward.reward_model import RewardModel
from plurality.rl.batching import MicroBatcher
from plurality.rl.openrlhf_protocol import Row
from plurality.rl.reward_function import RewardFunction
from plurality.serving.learning import Learner
from plurality.serving.metrics import Metrics
from plurality.serving.state import Told, Written
from plurality.serving.vectors import as_prompt, hashable

BASE = "base"  # the column of base scores
Text = tuple[Prompt, str]
Scale = Literal["log_odds", "probability"]


class Rewarder(Protocol):
    """What is served: rewards of completions, each for its user; None or InputError where there is none."""

    def __call__(self, *, prompts: list[Prompt], completions: list[str], user_id: list[str]) -> Sequence[float | None]:
        """Rewards (n,) of completions, each for its user.

        prompts        (n,) prompts
        completions    (n,) completions
        user_id        (n,) whose reward
        """


@dataclass(frozen=True)
class Live:
    """A model that learns, and how its rewards are made: exchanged as a whole when another model is loaded.

    learner    beliefs of users
    rewarder   rewards of the model it began with, whose people are replaced by those that the learner knows
    unknown    users that are not known are an error, or have the population's reward
    """

    learner: Learner
    rewarder: RewardFunction
    unknown: Literal["error", "population"] = "error"

    def people(self, user_ids: Sequence[str]) -> RewardModel:
        """The model with those of these users that are known."""
        return self.learner.of(user_ids)

    def of_rows(self, rows: Sequence[Row]) -> tuple[Sequence[float | None], list[bool]]:
        """Rewards (n,), each user's as known now, and whether they are known.

        rows    (n,) completions and whose reward of them
        """
        people = self.people([row.user_id for row in rows])
        known, columns = set(people.user_ids), {}
        new = next((row.user_id for row in rows if row.user_id not in known), None)
        if new is not None and self.unknown == "error":
            raise InputError(
                f"user {new!r:.80} is not known to this model and has answered nothing; send some of their answers to "
                "/feedback, or serve with --unknown population"
            )
        if people.base is not None:
            bad = next((row for row in rows if row.base is None), None)
            if bad is not None:
                raise InputError("this model starts from a base reward; send base, its score, with every completion")
            columns = {BASE: [row.base for row in rows]}
        rewards = self.rewarder.for_people(people)(
            [row.prompt for row in rows],
            [row.completion for row in rows],
            user_id=[row.user_id for row in rows],
            **columns,
        )
        return rewards, [row.user_id in known for row in rows]


class Answer(NamedTuple):
    """A reward, the probability that goes with it, and whether the user was known (None: nobody looked)."""

    reward: float
    score: float
    known: bool | None = None


class Heard(NamedTuple):
    """How it ended that a user said something, how many of their answers are stored, and what is not known of them.

    What is not known is a share of what is not known of a new user; None where all have one reward.
    """

    written: Written
    answers: int
    uncertainty: float | None


@dataclass(frozen=True, eq=False)
class Job:
    """Something to do with the model: `work`, for which `texts` are embedded beforehand."""

    work: Callable[[Live], Any]
    texts: Sequence[Text] = ()


class Engine:
    """Batches of rows and jobs.

    rewarder     gives rewards; a `Live` one learns
    max_batch    rows in one call of the reward model
    max_wait_s   as in `MicroBatcher`
    scale        what rewards are
    metrics      where batches are counted
    """

    def __init__(
        self, rewarder: "Rewarder | Live", max_batch: int, max_wait_s: float, scale: Scale, metrics: Metrics
    ) -> None:
        self.rewarder, self.scale, self.metrics, self.max_batch = rewarder, scale, metrics, max_batch
        self.groups: Mapping[str, str] = {}
        self.group_by: str | None = None
        self.batcher: MicroBatcher[Row | Text | Job, Any] = MicroBatcher(self._batch, max_batch, max_wait_s)
        self.teller: MicroBatcher[Told, Any] = MicroBatcher(self._tell, 256, 0.0)

    @property
    def pending(self) -> int:
        """Rows accepted and not yet answered."""
        return self.batcher.pending

    async def rewards(self, rows: Sequence[Row]) -> "list[Answer | InputError]":
        """The reward of every row, or why it has none."""
        return await self.batcher.submit_all(rows)

    async def do(self, work: Callable[[Live], Any], texts: Sequence[Text] = ()) -> Any:
        """What `work` gives, once texts are embedded."""
        if len(texts) > self.max_batch // 4:  # in turn with what others ask for
            await self._embedded(texts)
        return _checked(await self.batcher.submit(Job(work, texts), again=False))

    async def tell(self, told: Told, texts: Sequence[Text]) -> "Heard":
        """Take in what a user says."""
        await self._embedded(texts)
        heard: Heard = _checked(await self.teller.submit(told, again=False))
        return heard

    async def _embedded(self, texts: Sequence[Text]) -> None:
        """Whoever asks for it has something else to do with it next, and is not waited for."""
        await self.batcher.submit_all(list(dict.fromkeys((hashable(p), c) for p, c in texts)), again=False)

    async def exchange(self, make: Callable[[], Live]) -> None:
        """Serve another model: it is loaded beside the one that answers, and takes its place between two batches."""
        new = await asyncio.to_thread(make)

        def swap(old: Live) -> None:
            self.rewarder = new

        await self.do(swap)

    def _batch(self, items: "list[Row | Text | Job]") -> list[Any]:
        start = perf_counter()
        live = self.rewarder if isinstance(self.rewarder, Live) else None
        if live is not None:
            self._embed(live, items)
        results: dict[int, Any] = {}
        for place, item in enumerate(items):
            if isinstance(item, Job):
                results[place] = _outcome(item, live)
        places = [i for i, item in enumerate(items) if isinstance(item, Row)]
        rows = [item for item in items if isinstance(item, Row)]
        if rows:
            results |= dict(zip(places, self._answers(rows), strict=True))
            self.metrics.batch_seconds.observe(perf_counter() - start)
            self.metrics.batch_rows.observe(len(rows))
        return [results.get(place) for place in range(len(items))]

    def _answers(self, rows: list[Row]) -> "list[Answer | InputError]":
        rewards = self._rewards(rows)
        numbers = torch.tensor([math.nan if isinstance(r, InputError) else r[0] for r in rewards], dtype=torch.float64)
        scores = (prob(numbers) if self.scale == "log_odds" else numbers).tolist()
        answers = [
            r if isinstance(r, InputError) else Answer(r[0], s, r[1]) for r, s in zip(rewards, scores, strict=True)
        ]
        if self.groups or self.group_by:
            self._count(rows, answers)
        return answers

    def _count(self, rows: list[Row], answers: "list[Answer | InputError]") -> None:
        """Rewards by group, for the metrics."""
        live, about = self.rewarder, {}
        if self.group_by and isinstance(live, Live) and live.learner.state is not None:
            about = live.learner.state.about(list({row.user_id for row in rows}))
        for row, answer in zip(rows, answers, strict=True):
            group = self.groups.get(row.user_id) or about.get(row.user_id, {}).get(self.group_by or "")
            if group is not None and isinstance(answer, Answer) and math.isfinite(answer.reward):
                self.metrics.reward(group, row.user_id, answer.reward)

    def _rewards(self, rows: list[Row]) -> list[tuple[float, bool | None] | InputError]:
        """Rewards; if the model raises for a batch, its halves are tried, so that a bad row costs no other its own."""
        try:
            rewards, known = self._asked(rows)
        except InputError as error:
            if len(rows) == 1:
                return [error]
            half = len(rows) // 2
            return self._rewards(rows[:half]) + self._rewards(rows[half:])
        if len(rewards) != len(rows):
            raise ValueError(f"the reward model gave {len(rewards)} rewards for {len(rows)} completions")
        return [
            InputError("the model has no reward for it: the completion is blank, or its user unknown")
            if r is None
            else (float(r), k)
            for r, k in zip(rewards, known, strict=True)
        ]

    def _asked(self, rows: list[Row]) -> "tuple[Sequence[float | None], Sequence[bool | None]]":
        if isinstance(self.rewarder, Live):
            return self.rewarder.of_rows(rows)
        rewards = self.rewarder(
            prompts=[row.prompt for row in rows],
            completions=[row.completion for row in rows],
            user_id=[row.user_id for row in rows],
        )
        return rewards, [None] * len(rows)

    def _tell(self, told: list[Told]) -> list[Any]:
        assert isinstance(self.rewarder, Live)
        return _told(self.rewarder.learner, told)

    @staticmethod
    def _embed(live: Live, items: "list[Row | Text | Job]") -> None:
        """Embed what all items need, in one call."""
        texts: dict[Text, None] = {}
        for item in items:
            if isinstance(item, Job):
                texts |= dict.fromkeys((hashable(p), c) for p, c in item.texts)
            elif isinstance(item, Row):
                texts[hashable(item.prompt), item.completion] = None
            else:
                texts[item] = None
        texts = {text: None for text in texts if text[1].strip()}
        if texts:
            try:
                live.learner.encoder.encode([as_prompt(p) for p, _ in texts], [c for _, c in texts])
            except InputError:
                return  # whose it is shows when each is asked for


def _told(learner: Learner, told: list[Told]) -> list[Any]:
    """What becomes of all that users say at once; what cannot be learned from is not written, and costs no other."""
    try:
        written = learner.tell(told)
    except Exception as error:  # whose is it?
        return [error] if len(told) == 1 else [_told(learner, [one])[0] for one in told]
    assert learner.state is not None
    people = list(dict.fromkeys(one.user_id for one in told))
    model, counts = learner.of(people), learner.state.answers_of(people)
    unsure = model.head.uncertainty(model.posterior, model.prior).tolist() if model.head.n_codes else []
    uncertainty = dict(zip(model.user_ids, unsure, strict=False))
    return [
        Heard(end, counts.get(one.user_id, 0), uncertainty.get(one.user_id))
        for one, end in zip(told, written, strict=True)
    ]


def _checked(result: Any) -> Any:
    if isinstance(result, Exception):
        raise result
    return result


def _outcome(job: Job, live: Live | None) -> Any:
    """What a job gives; its error is its own, and costs no other in the batch."""
    assert live is not None
    try:
        return job.work(live)
    except Exception as error:
        return error
