"""The reward server as an ASGI app: POST /get_reward and /verify, GET /health, GET /metrics.

It takes JSON and gives JSON, errors too: `{"error": "..."}`. Concurrent requests share batches.
"""

import asyncio
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, NamedTuple, Protocol

import torch
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from plurality.deprecation import renamed
from plurality.encoders.protocol import Prompt
from plurality.errors import InputError
from plurality.reward.links import prob
from plurality.rl.batching import MicroBatcher
from plurality.rl.openrlhf_protocol import OpenRLHFProtocol, Row
from plurality.serving.hosts import is_allowed, name_of
from plurality.serving.metrics import CONTENT_TYPE, Metrics
from plurality.serving.trainer_bodies import PLAIN, READERS, read_plain

__all__ = ["Limits", "Rewarder", "Served", "create_app"]

log = logging.getLogger(__name__)

CLIENT_GONE = 499  # no client reads the answer; counted so that the metrics add up


class Rewarder(Protocol):
    """What is served: rewards of completions, each for its user; None or InputError where there is none."""

    def __call__(self, *, prompts: list[Prompt], completions: list[str], user_id: list[str]) -> Sequence[float | None]:
        """Rewards (n,) of completions, each for its user.

        prompts        (n,) prompts
        completions    (n,) completions
        user_id        (n,) whose reward
        """


@dataclass(frozen=True)
class Limits:
    """What the server takes on.

    max_batch   rows in one call of the reward model
    max_wait_s  how long a silence it waits out for callers that it has just answered, so that they share a batch
    max_queue   rows accepted and not yet answered; more are rejected with 503
    max_body    bytes of a request's body; more are rejected with 413 as they come in
    timeout_s   seconds for the body to arrive (408) and for its answer (504), together
    """

    max_batch: int = 64
    max_wait_s: float = 0.02
    max_queue: int = 4096
    max_body: int = 4 * 2**20
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Served:
    """What is known of the reward model that is served.

    users     the users it knows; None: unknown, so that none can be rejected before the model is asked
    unknown   users it does not know are rejected with 422, or have the population's reward
    scale     "log_odds": scores are σ(reward); "probability": rewards are win probabilities, and the scores too
    about     more for GET /health, such as the model's and encoder's name
    """

    users: Collection[str] | None = None
    unknown: Literal["error", "population"] = "error"
    scale: Literal["log_odds", "probability"] = "log_odds"
    about: Mapping[str, Any] = field(default_factory=dict)


@renamed(contract="protocol")
def create_app(
    rewarder: Rewarder,
    *,
    served: Served | None = None,
    limits: Limits | None = None,
    protocol: OpenRLHFProtocol | None = None,
    hosts: Collection[str] | None = None,
) -> Starlette:
    """The app that serves `rewarder`, called batch by batch in one thread; `protocol` is how its requests are read.

    The answer's `rewards` are what it gives (log-odds, or probabilities by `served.scale`), its `scores` the
    probabilities in [0, 1] that go with them, its `extra_logs` say of each row whether its user was known (1 or 0).

    limits    what a request may hold, and how many may wait
    hosts     names that requests may call the server by, in their Host header (see `plurality.serving.hosts`); others
              are rejected with 400. None: any
    """
    server = _Server(rewarder, served or Served(), limits or Limits(), protocol or OpenRLHFProtocol())
    routes = [
        *(Route(path, server.get_reward, methods=["POST"]) for path in (*READERS, *PLAIN)),
        Route("/health", server.health),
        Route("/metrics", server.report),
    ]
    names = [] if hosts is None else [Middleware(_OnlyByName, names=frozenset(hosts))]
    return Starlette(routes=routes, exception_handlers={HTTPException: _not_served}, middleware=names)


class _OnlyByName:
    """Requests under another name than the server's are rejected before anything is read."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self.app, self.names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host", "")
        if is_allowed(host, self.names):
            await self.app(scope, receive, send)
            return
        reason = f"host {name_of(host)!r:.80} is not served; start the server with --allow-host and that name"
        await _error(400, reason)(scope, receive, send)


class _Rejected(Exception):
    """A request that is answered by a status and a reason instead of rewards."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Server:
    def __init__(self, rewarder: Rewarder, served: Served, limits: Limits, protocol: OpenRLHFProtocol) -> None:
        self.rewarder, self.served, self.limits, self.protocol = rewarder, served, limits, protocol
        self.users = None if served.users is None else frozenset(served.users)
        self.batcher = MicroBatcher(self._batch, limits.max_batch, limits.max_wait_s)
        self.metrics = Metrics()

    async def get_reward(self, request: Request) -> Response:
        start = perf_counter()
        response: Response
        try:
            response = JSONResponse(await self._answer(request))
        except _Rejected as rejection:
            response = _error(rejection.status, str(rejection))
        except ClientDisconnect:
            response = Response(status_code=CLIENT_GONE)
        except Exception:
            log.exception("the reward model failed")
            response = _error(500, "the reward model failed; the server's log says how")
        self.metrics.requests[response.status_code] += 1
        self.metrics.request_seconds.observe(perf_counter() - start)
        return response

    async def health(self, request: Request) -> Response:
        pending = self.batcher.pending
        ready = pending < self.limits.max_queue
        users = None if self.users is None else len(self.users)
        about = {"ready": ready, "pending": pending, "users": users, **self.served.about}
        return JSONResponse(about, 200 if ready else 503)

    async def report(self, request: Request) -> Response:
        text = self.metrics.text(self.batcher.pending)
        return PlainTextResponse(text, headers={"content-type": CONTENT_TYPE})

    async def _answer(self, request: Request) -> Any:
        late = _Rejected(408, f"the body did not arrive within {self.limits.timeout_s:g} s")
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                body = await self._body(request)
                late = _Rejected(504, f"no answer within {self.limits.timeout_s:g} s; the server is slow or busy")
                path = request.url.path
                try:
                    if path in PLAIN:
                        return read_plain(path, body)
                    asked = READERS[path](body, self.protocol)
                except InputError as error:
                    raise _Rejected(400, str(error)) from None
                rows = asked.rows
                known = self._known(rows)
                self._admit(len(rows))
                results = await self.batcher.submit_all(rows)
        except TimeoutError:
            raise late from None
        answers = _checked(results)
        self.metrics.rewards += len(answers)
        return asked.answer([a.reward for a in answers], [a.score for a in answers], known)

    async def _body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise _Rejected(415, f"content type {kind or 'unknown'} is not served; send application/json")
        if request.headers.get("content-encoding", "identity") != "identity":
            raise _Rejected(415, "a compressed body is not served; send plain JSON")
        most = self.limits.max_body
        too_large = _Rejected(413, f"the body is larger than {most:,} bytes; send fewer completions at a time")
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > most:
            raise too_large
        body = bytearray()
        async for chunk in request.stream():
            if len(body) + len(chunk) > most:
                raise too_large
            body += chunk
        return bytes(body)

    def _known(self, rows: list[Row]) -> dict[str, list[float]]:
        """Whether each user is known, as a log. Rejects unknown ones before anything is computed, where asked."""
        if self.users is None or not rows:
            return {}
        known = [row.user_id in self.users for row in rows]
        if self.served.unknown == "error" and not all(known):
            i = known.index(False)
            raise _Rejected(
                422,
                f"row {i}: user {rows[i].user_id!r:.80} is not known to this model; adapt it with some of their "
                "comparisons, or serve it with --unknown population",
            )
        return {"known_user": [float(k) for k in known]}

    def _admit(self, n: int) -> None:
        most = self.limits.max_queue
        if n > most:
            raise _Rejected(413, f"{n:,} completions are more than the {most:,} that may wait; send fewer at a time")
        if self.batcher.pending + n > most:
            raise _Rejected(503, f"{self.batcher.pending:,} completions wait already; try again in a moment")

    def _batch(self, rows: list[Row]) -> "list[_Answer | InputError]":
        start = perf_counter()
        rewards = self._rewards(rows)
        numbers = torch.tensor([math.nan if isinstance(r, InputError) else r for r in rewards], dtype=torch.float64)
        scores = (prob(numbers) if self.served.scale == "log_odds" else numbers).tolist()
        self.metrics.batch_seconds.observe(perf_counter() - start)
        self.metrics.batch_rows.observe(len(rows))
        return [r if isinstance(r, InputError) else _Answer(r, s) for r, s in zip(rewards, scores, strict=True)]

    def _rewards(self, rows: list[Row]) -> list[float | InputError]:
        """Rewards; if the model raises for a batch, its halves are tried, so that a bad row costs no other its own."""
        try:
            rewards = self.rewarder(
                prompts=[row.prompt for row in rows],
                completions=[row.completion for row in rows],
                user_id=[row.user_id for row in rows],
            )
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
            else float(r)
            for r in rewards
        ]


class _Answer(NamedTuple):
    reward: float
    score: float


def _checked(results: "Sequence[_Answer | InputError]") -> list[_Answer]:
    answers = []
    for i, result in enumerate(results):
        if isinstance(result, InputError):
            raise _Rejected(422, f"row {i}: {result}")
        if not math.isfinite(result.reward):
            raise _Rejected(500, f"row {i}: the reward is {result.reward}, no number to train on")
        if not 0 <= result.score <= 1:
            raise _Rejected(500, f"row {i}: the reward {result.reward} should be a probability and is none")
        answers.append(result)
    return answers


def _error(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    if status == 503:
        headers = {"retry-after": "1"}
    return JSONResponse({"error": reason}, status, headers)


async def _not_served(request: Request, error: Exception) -> Response:
    """404 and 405, as JSON."""
    assert isinstance(error, HTTPException)
    there = f"POST {', '.join((*READERS, *PLAIN))}; GET /health, /metrics"
    reason = f"{request.method} {request.url.path} is not served; there are {there}"
    return _error(error.status_code, reason, error.headers)
