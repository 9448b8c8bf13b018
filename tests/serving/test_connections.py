"""Over real sockets: connections that ask for nothing cost those who ask nothing."""

import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from plurality.errors import InputError
from plurality.serving.app import create_app
from plurality.serving.connections import ConnectionLimits, guarded
from tests.serving.served import Rewarder, body, reward_of

HALF = b"POST /get_reward HTTP/1.1\r\nhost: localhost\r\nx-more: "
ASKED = body(("Hi ", "there", "ann"))


@contextmanager
def running(limits, base=HttpToolsProtocol):
    """A server in a thread: its port and its rewarder."""
    rewarder = Rewarder()
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    config = uvicorn.Config(create_app(rewarder), log_level="critical", lifespan="off", http=guarded(base, limits))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1], rewarder
    finally:
        rewarder.go_on.set()
        server.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def everything(wire):
    """All that the server says until it closes."""
    parts = []
    while part := wire.recv(65536):
        parts.append(part)
    return b"".join(parts)


def is_answered(port):
    answer = httpx.post(f"http://127.0.0.1:{port}/get_reward", json=ASKED, timeout=30)
    return answer.json().get("rewards") == [reward_of("ann", "Hi ", "there")]


@pytest.mark.parametrize("base", [HttpToolsProtocol, H11Protocol])
@pytest.mark.parametrize("sent", [b"", HALF])
def test_headers_that_do_not_come_are_timed_out(base, sent):
    with running(ConnectionLimits(header_timeout_s=0.3), base) as (port, _), connect(port) as wire:
        start = time.monotonic()
        wire.sendall(sent)
        assert everything(wire).startswith(b"HTTP/1.1 408 ")
        assert 0.2 < time.monotonic() - start < 10


def test_a_trickle_is_timed_out_too_and_so_is_a_second_request():
    with running(ConnectionLimits(header_timeout_s=0.5)) as (port, _), connect(port) as slow, connect(port) as again:
        again.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert again.recv(65536).startswith(b"HTTP/1.1 200")
        again.sendall(HALF)
        slow.sendall(HALF)
        start = time.monotonic()
        with suppress(OSError):  # a reset or a broken pipe
            while time.monotonic() < start + 30:
                slow.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() < start + 30
        assert everything(again).startswith(b"HTTP/1.1 408 ")


def test_a_slow_answer_is_no_slow_header():
    with running(ConnectionLimits(header_timeout_s=0.2)) as (port, rewarder):
        rewarder.hold()
        threading.Timer(0.6, rewarder.go_on.set).start()
        assert is_answered(port)


def test_two_hundred_halves_stop_nobody():
    """More than there may be: the oldest goes."""
    with running(ConnectionLimits(max_connections=50, header_timeout_s=60)) as (port, _), ExitStack() as stack:
        halves = [stack.enter_context(connect(port)) for _ in range(200)]
        for half in halves:
            half.sendall(HALF)
        assert is_answered(port)
        assert everything(halves[0]).startswith(b"HTTP/1.1 408 ")


def test_when_all_are_being_answered_the_next_is_told():
    with running(ConnectionLimits(max_connections=1)) as (port, rewarder):
        rewarder.hold()
        answers = []
        asking = threading.Thread(target=lambda: answers.append(is_answered(port)))
        asking.start()
        assert rewarder.entered.wait(30)
        with connect(port) as wire:
            assert everything(wire).startswith(b"HTTP/1.1 503 ")
        rewarder.go_on.set()
        asking.join(30)
        assert answers == [True]
        assert is_answered(port)


def test_endless_headers():
    with running(ConnectionLimits()) as (port, _), connect(port) as wire:
        wire.sendall(HALF + b"x" * 80_000)
        assert b" 431 " in everything(wire)[:20]


def test_limits_that_are_none():
    for bad in ({"max_connections": 0}, {"header_timeout_s": 0.0}, {"idle_timeout_s": float("nan")}):
        with pytest.raises(InputError, match="1 or more"):
            ConnectionLimits(**bad)
