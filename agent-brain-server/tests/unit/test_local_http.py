"""Calls to a server of ours, and to what is none: every failure is one of our own errors."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agent_brain_server.errors import DeadlineError, NotRunningError, ServerRefusedError
from agent_brain_server.local_http import fetch_instance_id, request_json


@dataclass(frozen=True)
class Address:
    base_url: str
    token: str | None = None


@pytest.fixture
def serve() -> Iterator[Callable[..., Address]]:
    """Return a function that starts a server which always answers the same, and notes what it was sent."""
    running = []

    def start(status: int, body: bytes, token: str | None = None) -> Address:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers["Content-Length"] or 0)
                seen.append((self.command, self.path, self.headers["Authorization"], self.rfile.read(length)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 - names that the base class calls

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        running.append((server, thread))
        return Address(f"http://127.0.0.1:{server.server_address[1]}", token)

    seen: list[tuple[str, str, str | None, bytes]] = []
    start.seen = seen  # type: ignore[attr-defined]
    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_call_carries_token_and_body_and_returns_what_is_answered(serve) -> None:
    address = serve(200, b'{"a": 1}', "secret")
    assert request_json(address, "POST", "/index?x=1", {"folder": "ü"}) == {"a": 1}
    ((method, path, right, body),) = serve.seen
    assert (method, path, right, json.loads(body)) == ("POST", "/index?x=1", "Bearer secret", {"folder": "ü"})
    assert request_json(serve(204, b""), "DELETE", "/index") is None
    assert serve.seen[-1][2] is None


@pytest.mark.parametrize(
    ("status", "body", "message", "code"),
    [
        (404, b'{"detail": "No job 7.", "code": "unknown_job", "hint": "List them."}', "No job 7.", "unknown_job"),
        (500, b"", "status 500", "server_refused"),
        (400, b'["odd"]', "status 400", "server_refused"),
        (409, b'{"detail": null, "code": 7, "hint": []}', "status 409", "server_refused"),
        (200, b"<html>", "not JSON", "server_refused"),
        (200, b"[" * 100_000, "not JSON", "server_refused"),
    ],
)
def test_a_refusal_says_what_the_server_said(serve, status: int, body: bytes, message: str, code: str) -> None:
    with pytest.raises(ServerRefusedError, match=message) as caught:
        request_json(serve(status, body), "GET", "/x")
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "https://127.0.0.1", "http://", "nonsense", "http://[::1", "http://h:99999"]
)
def test_where_nobody_answers_no_server_runs(url: str) -> None:
    with pytest.raises(NotRunningError):
        request_json(Address(url), "GET", "/health", timeout=5)
    assert fetch_instance_id(url, timeout=5) is None


def test_silence_has_an_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DeadlineError, match="0.1 seconds"):
            request_json(Address(url), "GET", "/x", timeout=0.1)
        assert fetch_instance_id(url, timeout=0.1) is None


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"instance_id": "ds_1"}', "ds_1"),
        (b'{"instance_id": 7}', None),
        (b'["ds_1"]', None),
        (b"ds_1", None),
        (b"[" * 100_000, None),
        (b'{"filling": "' + b"x" * 1_000_000 + b'", "instance_id": "ds_1"}', None),
    ],
    ids=range(6),
)
def test_only_a_server_of_ours_has_an_instance_id(serve, body: bytes, found: str | None) -> None:
    address = serve(200, body, "secret")
    assert fetch_instance_id(address.base_url) == found
    assert serve.seen[-1][2] is None  # whoever answers may be a stranger: no token is sent
