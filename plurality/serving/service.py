"""What the functions behind routes share: rewards within limits, what is remembered, the study's questions."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request

from plurality.errors import InputError
from plurality.rl.openrlhf_protocol import OpenRLHFProtocol, Row
from plurality.serving.access import Client, Turnstile
from plurality.serving.engine import Answer, Engine, Live
from plurality.serving.metrics import Metrics
from plurality.serving.questions import Questions
from plurality.serving.rejected import Rejected
from plurality.serving.served import Learning, Served
from plurality.serving.state import State

Handle = Callable[["Service", Client, Request, bytes], Awaitable[Any]]


@dataclass(frozen=True)
class Endpoint:
    """A route.

    path, method   where
    handle         what it does: gives JSON, (status, JSON) or a response
    summary        what it is for
    scope          which a token must have; None: open to all
    body           class of the body
    slow           may take longer than requests may
    """

    path: str
    method: str
    handle: Handle
    summary: str
    scope: str | None = None
    body: type[BaseModel] | None = None
    slow: bool = False


@dataclass
class Service:
    """What handlers share."""

    engine: Engine
    served: Served
    protocol: OpenRLHFProtocol
    max_queue: int
    learning: Learning
    turnstile: Turnstile = field(default_factory=Turnstile)
    _questions: tuple[Any, Questions] | None = None

    def __post_init__(self) -> None:
        self.users = None if self.served.users is None else frozenset(self.served.users)

    @property
    def metrics(self) -> Metrics:
        """What is counted."""
        return self.engine.metrics

    @property
    def state(self) -> State:
        """What is remembered. Rejected where nothing is."""
        live = self.engine.rewarder
        if not isinstance(live, Live) or live.learner.state is None:
            raise Rejected(409, "this server remembers no answers; start it with --state and a file, such as users.db")
        return live.learner.state

    def known(self, rows: list[Row]) -> dict[str, list[float]]:
        """Whether each user is known, as a log. Rejects unknown ones before anything is computed, where asked."""
        if self.users is None or not rows:
            return {}
        known = [row.user_id in self.users for row in rows]
        if self.served.unknown == "error" and not all(known):
            i = known.index(False)
            raise Rejected(
                422,
                f"row {i}: user {rows[i].user_id!r:.80} is not known to this model; adapt it with some of their "
                "comparisons, or serve it with --unknown population",
            )
        return {"known_user": [float(k) for k in known]}

    async def rewards(self, client: Client, rows: list[Row]) -> list[Answer]:
        """Rewards of rows, in turn with what others ask for. Rejected as a whole for one that has none."""
        n, pending, most = len(rows), self.engine.pending, self.max_queue
        if n > most:
            raise Rejected(413, f"{n:,} completions are more than the {most:,} that may wait; send fewer at a time")
        if pending + n > most:
            raise Rejected(503, f"{pending:,} completions wait already; try again in a moment")
        mine, own = self.turnstile.rows, self.turnstile.most_rows
        if own is not None and mine[client.name] + n > own:
            raise Rejected(429, f"{mine[client.name]:,} completions of yours wait already, {own:,} may; try again")
        mine[client.name] += n
        try:
            results = await self.engine.rewards(rows)
        finally:
            mine[client.name] -= n
        answers = checked(results)
        self.metrics.rewards += len(answers)
        return answers

    def questions(self, live: Live) -> Questions:
        """The study's questions, embedded once for a model."""
        if self.learning.study is None:
            raise InputError("candidates are missing, and no study is served; give candidates, or serve with --study")
        if self._questions is None or self._questions[0] is not live.learner:
            self._questions = live.learner, Questions(live.learner, self.learning.study.questions)
        return self._questions[1]


def checked(results: "Sequence[Answer | InputError]") -> list[Answer]:
    """The answers, if each is one to train on."""
    answers = []
    for i, result in enumerate(results):
        if isinstance(result, InputError):
            raise Rejected(422, f"row {i}: {result}")
        if not math.isfinite(result.reward):
            raise Rejected(500, f"row {i}: the reward is {result.reward}, no number to train on")
        if not 0 <= result.score <= 1:
            raise Rejected(500, f"row {i}: the reward {result.reward} should be a probability and is none")
        answers.append(result)
    return answers
