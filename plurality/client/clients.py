"""The client that waits and the one that is awaited, over httpx."""

import asyncio
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from plurality.client.calls import AGAIN, Call, Calls, ServerError, refused

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class _Settings(Calls):
    """Where a server is, and how patiently it is asked."""

    def __init__(self, url: str, token: str | None, timeout_s: float, retries: int, transport: Any) -> None:
        self.url, self.retries = url.rstrip("/") + "/", retries
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._http_settings: dict[str, Any] = {
            "base_url": self.url,
            "headers": headers,
            "timeout": timeout_s,
            "transport": transport,
            "trust_env": False,
        }

    def _waits(self) -> Iterator[float | None]:
        """Seconds to wait after each attempt; None after the last."""
        yield from (min(0.1 * 2**attempt, 5.0) for attempt in range(self.retries))
        yield None

    def _read(self, call: Call[T], answer: "httpx.Response | httpx.TransportError") -> T:
        """What an answer means; raises the error that it is."""
        if isinstance(answer, Exception):
            reason = answer or type(answer).__name__
            raise ServerError(f"{self.url} cannot be reached ({reason}); is the server running?") from None
        if answer.is_success and call.raw:
            return call.read(answer.content)
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not answer.is_success or said is None:
            raise refused(self.url + call.path, answer.status_code, said)
        return call.read(said)


def _is_worth_another(answer: "httpx.Response | httpx.TransportError") -> bool:
    return isinstance(answer, Exception) or answer.status_code in AGAIN


class Client(_Settings):
    """A client of `plurality serve` that waits for answers; its methods are those of `plurality.client.Calls`.

    url         of the server, such as "http://127.0.0.1:5000"
    token       of its token file, or a user's key; None where it asks for none
    timeout_s   seconds to wait for an answer
    retries     times that a request is sent again, where the server could not be reached, was busy or too slow; a
                user's answers count once all the same, as they go under one request id
    transport   an httpx transport, for tests; None: the network

    >>> Client("http://127.0.0.1:5000").url
    'http://127.0.0.1:5000/'
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout_s: float = 60.0, retries: int = 5, transport: Any = None
    ) -> None:
        import httpx

        super().__init__(url, token, timeout_s, retries, transport)
        self._http = httpx.Client(**self._http_settings)

    def send(self, call: Call[T]) -> T:
        """What the answer to a call means.

        call    what is asked
        """
        import httpx

        answer: httpx.Response | httpx.TransportError
        for wait in self._waits():
            try:
                answer = self._http.request(call.method, call.path, json=call.body)
            except httpx.TransportError as error:
                answer = error
            if wait is None or not _is_worth_another(answer):
                break
            time.sleep(wait)
        return self._read(call, answer)

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class AsyncClient(_Settings):
    """A client of `plurality serve` whose methods, those of `plurality.client.Calls`, are awaited.

    url         of the server
    token       of its token file, or a user's key; None where it asks for none
    timeout_s   seconds to wait for an answer
    retries     times that a request is sent again
    transport   an httpx transport, for tests; None: the network
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout_s: float = 60.0, retries: int = 5, transport: Any = None
    ) -> None:
        import httpx

        super().__init__(url, token, timeout_s, retries, transport)
        self._http = httpx.AsyncClient(**self._http_settings)

    async def send(self, call: Call[T]) -> T:
        """What the answer to a call means.

        call    what is asked
        """
        import httpx

        answer: httpx.Response | httpx.TransportError
        for wait in self._waits():
            try:
                answer = await self._http.request(call.method, call.path, json=call.body)
            except httpx.TransportError as error:
                answer = error
            if wait is None or not _is_worth_another(answer):
                break
            await asyncio.sleep(wait)
        return self._read(call, answer)

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()
