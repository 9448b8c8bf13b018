"""What a connection may cost before it asks for anything: how long its headers may take, how many there may be."""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from plurality.errors import InputError

__all__ = ["ConnectionLimits", "guarded"]

MOST_HEADER_BYTES = 65_536


@dataclass(frozen=True)
class ConnectionLimits:
    """What the server takes on before a request is there.

    max_connections   open at once; beyond them the one that has waited longest without a request is closed, or where
                      all are being answered the new one is rejected with 503
    header_timeout_s  seconds for a request's headers to arrive, all of them (408)
    idle_timeout_s    seconds that a connection stays open between two requests
    """

    max_connections: int = 512
    header_timeout_s: float = 10.0
    idle_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if self.max_connections < 1 or not (self.header_timeout_s > 0 and self.idle_timeout_s > 0):
            raise InputError(f"{self}: give 1 or more connections, and timeouts of more than 0 s")


def guarded(base: type[asyncio.Protocol], limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """The protocol of a web server that keeps the limits, made from uvicorn's of either parser.

    base      uvicorn's protocol, whose `cycle` is the request that is being answered
    limits    what a connection may cost
    """
    everyone: dict[Any, None] = {}  # open connections, the oldest first
    waiting: dict[Any, asyncio.TimerHandle] = {}  # those whose headers are awaited, likewise

    class Guarded(base):  # type: ignore[misc,valid-type]
        """A connection that ends when it dawdles."""

        wire: asyncio.Transport | None = None  # none where it was rejected
        heard: int  # bytes of headers that are not complete

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            wire = cast(asyncio.Transport, transport)
            if len(everyone) >= limits.max_connections:
                if not waiting:
                    _reject(wire, "503 Service Unavailable", "all connections are in use; try again in a moment")
                    return
                next(iter(waiting)).end("408 Request Timeout", "others need the connection")
            self.wire, self.heard = wire, 0
            everyone[self] = None
            super().connection_made(transport)
            self.await_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            if self.wire is None:
                return
            self.forget()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.wire is None or self not in everyone:
                return
            super().data_received(data)
            cycle = self.cycle
            if cycle is not None and not cycle.response_complete:  # the headers are there
                self.heard = 0
                if (timer := waiting.pop(self, None)) is not None:
                    timer.cancel()
                return
            self.heard += len(data)
            if self.heard > MOST_HEADER_BYTES:
                self.end("431 Request Header Fields Too Large", f"headers are larger than {MOST_HEADER_BYTES:,} bytes")
            elif self not in waiting:
                self.await_headers()

        def eof_received(self) -> bool | None:
            return super().eof_received() if self.wire is not None else None

        def await_headers(self) -> None:
            late = f"the headers did not arrive within {limits.header_timeout_s:g} s"
            loop = asyncio.get_running_loop()
            waiting[self] = loop.call_later(limits.header_timeout_s, self.end, "408 Request Timeout", late)

        def end(self, status: str, reason: str) -> None:
            self.forget()
            assert self.wire is not None
            _reject(self.wire, status, reason)

        def forget(self) -> None:
            everyone.pop(self, None)
            if (timer := waiting.pop(self, None)) is not None:
                timer.cancel()

    return Guarded


def _reject(wire: asyncio.Transport, status: str, reason: str) -> None:
    """Say why, and close at once: whoever does not read it is not waited for."""
    if not wire.is_closing():
        body = f'{{"error": "{reason}"}}'
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close"
        )
        wire.write(f"{head}\r\n\r\n{body}".encode())
        wire.close()
