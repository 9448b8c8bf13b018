"""The reward server as an ASGI app: how requests are taken in, and what may be wrong; `routes` says what they do.

It takes JSON and gives JSON, errors too: `{"error": "..."}`. Concurrent requests share batches.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from time import perf_counter

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from plurality.deprecation import renamed
from plurality.errors import InputError
from plurality.rl.openrlhf_protocol import OpenRLHFProtocol
from plurality.serving.access import Client, Tokens, Turnstile
from plurality.serving.engine import Engine, Live, Rewarder
from plurality.serving.hosts import is_allowed, name_of
from plurality.serving.metrics import Metrics
from plurality.serving.rejected import Rejected
from plurality.serving.routes import endpoints
from plurality.serving.served import Learning, Limits, Served
from plurality.serving.service import Endpoint, Service

__all__ = ["Learning", "Limits", "Rewarder", "Served", "create_app"]

log = logging.getLogger(__name__)

CLIENT_GONE = 499  # no client reads the answer; counted so that the metrics add up
PAGE = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


@renamed(contract="protocol")
def create_app(
    rewarder: "Rewarder | Live",
    *,
    served: Served | None = None,
    limits: Limits | None = None,
    protocol: OpenRLHFProtocol | None = None,
    hosts: Collection[str] | None = None,
    learning: Learning | None = None,
) -> Starlette:
    """The app that serves `rewarder`, called batch by batch in one thread; `protocol` is how its requests are read.

    The answer's `rewards` are what it gives (log-odds, or probabilities by `served.scale`), its `scores` the
    probabilities in [0, 1] that go with them, its `extra_logs` say of each row whether its user was known (1 or 0).

    limits    what a request may hold, and how many may wait
    hosts     names that requests may call the server by, in their Host header (see `plurality.serving.hosts`); others
              are rejected with 400. None: any
    learning  what a server that learns has beside a `Live` rewarder
    """
    served, limits, learning = served or Served(), limits or Limits(), learning or Learning()
    metrics = Metrics()
    engine = Engine(rewarder, limits.max_batch, limits.max_wait_s, served.scale, metrics)
    engine.groups, engine.group_by = learning.groups, learning.group_by
    service = Service(engine, served, protocol or OpenRLHFProtocol(), limits.max_queue, learning)
    door = _Door(service, limits, learning.tokens)
    found = endpoints(live=isinstance(rewarder, Live), study=learning.study is not None)
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in found:
        by_path.setdefault(endpoint.path.replace("}", ":path}"), []).append(endpoint)  # an id may hold a slash
    routes = [Route(path, door.answer_of(some), methods=[e.method for e in some]) for path, some in by_path.items()]
    names = [] if hosts is None else [Middleware(_OnlyByName, names=frozenset(hosts))]

    async def not_served(request: Request, error: Exception) -> Response:
        """404 and 405, as JSON."""
        assert isinstance(error, HTTPException)
        there = ", ".join(f"{e.method} {e.path}" for e in found)
        reason = f"{request.method} {request.url.path} is not served; there are {there}"
        return _error(error.status_code, reason, error.headers)

    app = Starlette(routes=routes, exception_handlers={HTTPException: not_served}, middleware=names)
    app.state.service = service
    return app


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


class _Door:
    """Who may come in with what: tokens, rates, bodies and time; what becomes of errors."""

    def __init__(self, service: Service, limits: Limits, tokens: Tokens | None) -> None:
        self.service, self.limits, self.tokens = service, limits, tokens
        service.turnstile = Turnstile(limits.client_rate, limits.client_queue)

    def answer_of(self, some: list[Endpoint]) -> Callable[[Request], Awaitable[Response]]:
        """What answers the requests to a path, by method."""
        by_method = {endpoint.method: endpoint for endpoint in some}

        async def answer(request: Request) -> Response:
            return await self._answer(by_method["GET" if request.method == "HEAD" else request.method], request)

        return answer

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        start = perf_counter()
        response: Response
        try:
            response = await self._admitted(endpoint, request)
        except Rejected as rejection:
            response = _error(rejection.status, str(rejection))
        except ClientDisconnect:
            response = Response(status_code=CLIENT_GONE)
        except Exception:
            log.exception("the reward model failed")
            response = _error(500, "the reward model failed; the server's log says how")
        self.service.metrics.observe(endpoint.path, response.status_code, perf_counter() - start)
        return response

    async def _admitted(self, endpoint: Endpoint, request: Request) -> Response:
        client = self._client(endpoint, request)
        late = Rejected(408, f"the body did not arrive within {self.limits.timeout_s:g} s")
        try:
            async with asyncio.timeout(None if endpoint.slow else self.limits.timeout_s):
                body = await self._body(request) if endpoint.method == "POST" else b""
                late = Rejected(504, f"no answer within {self.limits.timeout_s:g} s; the server is slow or busy")
                try:
                    said = await endpoint.handle(self.service, client, request, body)
                except InputError as error:
                    raise Rejected(400, str(error)) from None
        except TimeoutError:
            raise late from None
        if isinstance(said, Response):
            if said.media_type == "text/html":
                said.headers.update(PAGE)
            return said
        return JSONResponse(said[1], said[0]) if isinstance(said, tuple) else JSONResponse(said)

    def _client(self, endpoint: Endpoint, request: Request) -> Client:
        address = request.client.host if request.client else "unknown"
        client: Client | None = Client(address)
        if self.tokens is not None and endpoint.scope is not None:
            client = self.tokens.client(request.headers.get("authorization", ""))
            if client is None:
                raise Rejected(401, "no valid token; send the header Authorization: Bearer TOKEN")
            if not client.may(endpoint.scope):
                raise Rejected(403, f"the token of {client.name} has not the scope {endpoint.scope}")
        assert client is not None
        if endpoint.scope is not None and not self.service.turnstile.admits(client.name):
            raise Rejected(429, f"more than {self.limits.client_rate:g} requests a second; send fewer")
        return client

    async def _body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Rejected(415, f"content type {kind or 'unknown'} is not served; send application/json")
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Rejected(415, "a compressed body is not served; send plain JSON")
        most = self.limits.max_body
        too_large = Rejected(413, f"the body is larger than {most:,} bytes; send fewer completions at a time")
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > most:
            raise too_large
        body = bytearray()
        async for chunk in request.stream():
            if len(body) + len(chunk) > most:
                raise too_large
            body += chunk
        return bytes(body)


def _error(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    if status in (429, 503):
        headers = {"retry-after": "1"}
    if status == 401:
        headers = {"www-authenticate": "Bearer"}
    return JSONResponse({"error": reason}, status, headers)
