"""A connection takes a bounded request in a bounded time, and says what was wrong with any other."""

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

from agent_brain_server.api.connection import MAX_HEAD_BYTES, MAX_HEADERS, MAX_REQUEST_BYTES, BoundedProtocol
from agent_brain_server.api.connection_guard import ConnectionGuard
from agent_brain_server.api.server import make_uvicorn_config

HOST = b"Host: 127.0.0.1\r\n"
LIMIT_S = 120


class ImpatientProtocol(BoundedProtocol):
    arrival_limit_s = 0.5


async def count_body(scope: Any, receive: Any, send: Any) -> None:
    """Answer how many bytes came; on /early before they came, on /stream in two halves."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"got ", "more_body": True})
    if scope["path"] == "/stream":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    await send({"type": "http.response.body", "body": str(size).encode()})


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


def test_a_request_is_answered_and_the_connection_kept(client: socket.socket) -> None:
    for _ in range(3):
        client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello")
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):
            answer += client.recv(65536)
        assert b"200 OK" in answer
        time.sleep(ImpatientProtocol.arrival_limit_s * 1.2)  # between two requests another, longer limit holds


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
def test_a_long_head_is_refused(client: socket.socket, head: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        client.sendall(head)
    assert_refused(read_all(client), 431, "headers_too_large")


def test_a_head_within_the_limits_is_taken(client: socket.socket) -> None:
    fields = b"X: 1\r\n" * (MAX_HEADERS - 2) + b"Y: " + b"y" * (MAX_HEAD_BYTES - 2000) + b"\r\n"
    client.sendall(b"GET / HTTP/1.0\r\n" + HOST + fields + b"\r\n")
    assert b"200 OK" in read_all(client)


def test_a_long_head_in_small_pieces_is_refused_before_its_end(client: socket.socket) -> None:
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
def test_what_is_no_http_is_refused(client: socket.socket, data: bytes) -> None:
    client.sendall(data)
    assert_refused(read_all(client), 400, "bad_request")


def test_a_broken_chunk_ends_the_request(client: socket.socket) -> None:
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
def test_a_client_that_drips_is_not_waited_for(client: socket.socket, start: bytes) -> None:
    began = time.monotonic()
    client.sendall(start)
    client.settimeout(0.05)
    answer = b""
    while time.monotonic() - began < LIMIT_S:
        with contextlib.suppress(TimeoutError):
            part = client.recv(65536)
            answer += part
            if not part:
                break
            client.settimeout(LIMIT_S)
        with contextlib.suppress(ConnectionError):
            client.sendall(b"x")
    assert_refused(answer, 408, "request_timeout")


@pytest.mark.parametrize("said", [b"", b"\r\n"])
def test_a_client_that_says_nothing_is_hung_up_on(client: socket.socket, said: bytes) -> None:
    client.sendall(said)
    read_all(client)  # which fails with a timeout while the connection stays open


def test_a_body_after_the_answer_is_not_read_for_ever(client: socket.socket) -> None:
    client.sendall(b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000000000\r\n\r\n")
    began = time.monotonic()
    with pytest.raises(ConnectionError):
        while time.monotonic() - began < LIMIT_S:
            client.send(b"x" * 65536)


def test_trailers_without_end_are_refused(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(MAX_REQUEST_BYTES // 65536 + 64):
            client.sendall(b"X: " + b"x" * 65536 + b"\r\n")
    assert_refused(read_all(client), 413, "payload_too_large")


def test_nonsense_behind_a_stream_ends_the_stream(client: socket.socket) -> None:
    client.sendall(b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n")
    answer = b""
    while b"got" not in answer:
        answer += client.recv(65536)
    client.sendall(b"nonsense\r\n\r\n")
    assert b"HTTP" not in read_all(client)


def test_requests_sent_at_once_are_answered_in_turn(client: socket.socket) -> None:
    one = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n%s"
    last = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    client.sendall(b"".join(one % (size, b"x" * size) for size in range(10, 60)) + last)
    answer = read_all(client)
    assert answer.count(b"HTTP/1.1 200 OK") == 51
    assert [size for size in range(10, 60) if b"\r\n%d\r\n" % size not in answer] == []


def test_the_server_keeps_nothing_of_connections_that_ended(server: uvicorn.Server) -> None:
    for _ in range(50):
        with socket.create_connection(server.address) as client:  # type: ignore[attr-defined]
            client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nhalf")
    deadline = time.monotonic() + LIMIT_S
    while server.server_state.connections or server.server_state.tasks:
        assert time.monotonic() < deadline
        time.sleep(0.02)
