"""One connection: requests over the limits are refused, and slow clients are disconnected."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import uvicorn

from agent_brain_server.api.access import PEER_KEY, ConnectionGuard
from agent_brain_server.api.connection import MAX_HEAD_BYTES, MAX_HEADERS, MAX_REQUEST_BYTES, BoundedProtocol
from agent_brain_server.api.errors import problem_response
from agent_brain_server.api.server import make_uvicorn_config
from agent_brain_server.errors import RequestTimeoutError

HOST = b"Host: 127.0.0.1\r\n"
LIMIT_S = 600.0
ARRIVAL_LIMIT_S = 0.5


class ImpatientProtocol(BoundedProtocol):
    arrival_limit_s = ARRIVAL_LIMIT_S


async def count_body(scope: Any, receive: Any, send: Any) -> None:
    """Answer the size of the body; on /early without reading it, on /stream in two halves."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    try:
        size = 0 if scope["path"] == "/early" else await read_size(receive)
        if size is None:
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"got ", "more_body": True})
        if scope["path"] == "/stream":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await send({"type": "http.response.body", "body": str(size).encode()})
    except TimeoutError:
        await problem_response(RequestTimeoutError("slow"))(scope, receive, send)
    finally:
        scope["state"][PEER_KEY].unanswered -= 1  # as `AccessMiddleware` does


async def read_size(receive: Any) -> int | None:
    size, more = 0, True
    async with asyncio.timeout(ARRIVAL_LIMIT_S):
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            size += len(message["body"])
            more = message["more_body"]
    return size


@pytest.fixture(scope="module")
def server() -> Iterator[uvicorn.Server]:
    config = make_uvicorn_config(count_body, ConnectionGuard())
    config.http = partial(ImpatientProtocol, guard=ConnectionGuard())
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    server.address = listener.getsockname()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield server
    server.should_exit = True
    thread.join(LIMIT_S)
    assert not thread.is_alive()


@pytest.fixture
def client(server: uvicorn.Server) -> Iterator[socket.socket]:
    with socket.create_connection(server.address, timeout=LIMIT_S) as client:  # type: ignore[attr-defined]
        yield client


def read_all(client: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            answer += part
    return answer


def assert_refused(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)


def test_connection_is_kept_between_requests(client: socket.socket) -> None:
    for _ in range(3):
        client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello")
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):
            answer += client.recv(65536)
        assert b"200 OK" in answer
        time.sleep(ARRIVAL_LIMIT_S * 1.2)  # between requests a longer limit applies


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"x" * 1_000_000 + b": 1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: 1\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: 1\r\n" * MAX_HEADERS + b"\r\n",
        b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
    ids=["1 MB header", "too long header", "1 MB name", "10,000 headers", "one header too many", "1 MB path"],
)
def test_long_head_is_refused(client: socket.socket, head: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        client.sendall(head)
    assert_refused(read_all(client), 431, "headers_too_large")


def test_head_at_the_limit_is_accepted(client: socket.socket) -> None:
    fields = b"X: 1\r\n" * (MAX_HEADERS - 2) + b"Y: " + b"y" * (MAX_HEAD_BYTES - 2000) + b"\r\n"
    client.sendall(b"GET / HTTP/1.0\r\n" + HOST + fields + b"\r\n")
    assert b"200 OK" in read_all(client)


def test_long_head_in_pieces_is_refused_before_its_end(client: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"X: ")
    for _ in range(MAX_HEAD_BYTES // 4096 + 1):
        client.sendall(b"x" * 4096)
    assert_refused(read_all(client), 431, "headers_too_large")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the first bytes of TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT example.org:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
)
def test_malformed_request_is_refused(client: socket.socket, data: bytes) -> None:
    client.sendall(data)
    assert_refused(read_all(client), 400, "bad_request")


def test_malformed_chunk_is_refused(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzzz\r\n")
    assert_refused(read_all(client), 400, "bad_request")


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: ",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n",
    ],
    ids=["request line", "header", "body", "chunk"],
)
def test_slow_request_times_out(client: socket.socket, start: bytes) -> None:
    began = time.monotonic()
    client.sendall(start)
    client.settimeout(0.05)
    answer = b""
    while time.monotonic() - began < LIMIT_S:
        with contextlib.suppress(TimeoutError):
            try:
                part = client.recv(65536)
            except ConnectionResetError:  # the server closed while a byte was on its way
                part = b""
            answer += part
            if not part:
                break
            client.settimeout(LIMIT_S)
        with contextlib.suppress(ConnectionError):
            client.sendall(b"x")
    assert_refused(answer, 408, "request_timeout")


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
def test_silent_client_is_disconnected(client: socket.socket, sent: bytes) -> None:
    client.sendall(sent)
    read_all(client)  # fails with a timeout while the connection is open


def test_endless_body_after_the_answer_is_cut(client: socket.socket) -> None:
    client.sendall(b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000000000\r\n\r\n")
    began = time.monotonic()
    with pytest.raises(ConnectionError):
        while time.monotonic() - began < LIMIT_S:
            client.send(b"x" * 65536)


def test_endless_trailers_are_cut(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(MAX_REQUEST_BYTES // 65536 + 64):
            client.sendall(b"X: " + b"x" * 65536 + b"\r\n")
    assert b" 200 " not in read_all(client)  # which fails with a timeout while the connection is open


def test_malformed_request_during_a_stream_ends_it(client: socket.socket) -> None:
    client.sendall(b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n")
    answer = b""
    while b"got" not in answer:
        answer += client.recv(65536)
    client.sendall(b"nonsense\r\n\r\n")
    assert b"HTTP" not in read_all(client)


def test_pipelined_requests_are_answered_in_order(client: socket.socket) -> None:
    one = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n%s"
    last = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    client.sendall(b"".join(one % (size, b"x" * size) for size in range(10, 60)) + last)
    answer = read_all(client)
    assert answer.count(b"HTTP/1.1 200 OK") == 51
    assert [size for size in range(10, 60) if b"\r\n%d\r\n" % size not in answer] == []


def test_closed_connections_are_released(server: uvicorn.Server) -> None:
    for _ in range(50):
        with socket.create_connection(server.address) as client:  # type: ignore[attr-defined]
            client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nhalf")
    deadline = time.monotonic() + LIMIT_S
    while server.server_state.connections or server.server_state.tasks:
        assert time.monotonic() < deadline
        time.sleep(0.02)
