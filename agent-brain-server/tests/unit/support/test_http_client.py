"""Requests to servers: what is sent, and the result of each answer and of silence."""

import json
import socket
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agent_brain_server.errors import DeadlineError, NotRunningError, ServerRefusedError
from agent_brain_server.support import http_client as local_http
from agent_brain_server.support.http_client import MAX_HEALTH_BYTES, fetch_instance_id, request_json

LIMIT_S = 600.0


@dataclass(frozen=True)
class Address:
    base_url: str
    token: str | None = "geheim"
    mode: str = "project"


@pytest.fixture
def address(canned_server):
    return Address(canned_server.base_url)


@pytest.fixture
def silent_url():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


def test_request_json_sends_token_and_body(canned_server, address):
    canned_server.answer_json({"results": []})
    answer = request_json(address, "POST", "/query", {"query": "wo ist Straße?"})
    assert answer == {"results": []}
    head, _, body = canned_server.requests[0].partition("\r\n\r\n")
    assert head.startswith("POST /query HTTP/1.1")
    assert "Authorization: Bearer geheim" in head
    assert "Content-Type: application/json" in head
    assert json.loads(body) == {"query": "wo ist Straße?"}


def test_request_json_without_token_and_body(canned_server):
    canned_server.answer_json({})
    request_json(Address(canned_server.base_url, token=None), "GET", "/projects")
    assert "Authorization" not in canned_server.requests[0]
    assert "Content-Type" not in canned_server.requests[0]


def test_request_json_empty_answer_is_none(canned_server, address):
    canned_server.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    assert request_json(address, "DELETE", "/index") is None


def test_request_json_problem_has_code_and_hint(canned_server, address):
    problem = {"detail": "No such job.", "code": "unknown_job", "hint": "List them."}
    canned_server.answer_json(problem, status="404 Not Found")
    with pytest.raises(ServerRefusedError) as caught:
        request_json(address, "GET", "/index/jobs/x")
    error = caught.value
    assert (error.message, error.code, error.hint, error.exit_code) == ("No such job.", "unknown_job", "List them.", 4)


@pytest.mark.parametrize("body", ["", "null", "[]", '{"detail": 3, "hint": [], "code": {}}', "<html>", "[" * 50_000])
def test_request_json_error_without_problem_document(canned_server, address, body):
    canned_server.answer = f"HTTP/1.1 500 No\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    with pytest.raises(ServerRefusedError) as caught:
        request_json(address, "GET", "/health")
    assert caught.value.hint


def test_request_json_success_must_be_json(canned_server, address):
    canned_server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    with pytest.raises(ServerRefusedError, match="not JSON"):
        request_json(address, "GET", "/health")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_request_json_broken_http_is_not_running(canned_server, address, answer):
    canned_server.answer = answer
    with pytest.raises(NotRunningError, match="No server answers"):
        request_json(address, "GET", "/health")


def test_request_json_closed_port_is_not_running():
    with pytest.raises(NotRunningError, match="127.0.0.1:1"):
        request_json(Address("http://127.0.0.1:1"), "GET", "/health")


@pytest.mark.parametrize("url", ["", "http://", "https://127.0.0.1:1", "ftp://x", "http://[::1", "http://a:b", "x y"])
def test_request_json_invalid_address_is_not_running(url):
    with pytest.raises(NotRunningError, match="not (a valid|the) address"):
        request_json(Address(url), "GET", "/health")
    assert fetch_instance_id(url) is None


def test_request_json_silence_is_a_deadline(silent_url):
    with pytest.raises(DeadlineError, match=r"within 0\.1 s\."):
        request_json(Address(silent_url), "GET", "/health", timeout=0.1)


@pytest.mark.parametrize(
    ("mode", "command"), [("project", "agent-brain stop --force"), ("shared", "--mode shared --force")]
)
def test_request_json_hung_server_fails_early(silent_url, monkeypatch, mode, command):
    monkeypatch.setattr(local_http, "SILENCE_S", 0.1)
    with pytest.raises(DeadlineError, match="does not answer") as caught:
        request_json(Address(silent_url, mode=mode), "POST", "/query", {}, timeout=3_600)
    assert caught.value.exit_code == 6
    assert caught.value.hint.endswith(command)


def test_request_json_waits_for_a_busy_server(monkeypatch):
    class BusyServer(BaseHTTPRequestHandler):
        """Answer `/health` at once, and other requests after three requests for `/health`."""

        asked = threading.Semaphore(0)

        def do_GET(self):
            if self.path == "/health":
                self.asked.release()
            else:
                for _ in range(3):
                    assert self.asked.acquire(timeout=LIMIT_S)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"instance_id": "ds_012345"}')

        def log_message(self, *arguments):
            pass

    monkeypatch.setattr(local_http, "SILENCE_S", 0.5)
    with ThreadingHTTPServer(("127.0.0.1", 0), BusyServer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            answer = request_json(Address(f"http://127.0.0.1:{server.server_address[1]}"), "GET", "/slow")
        finally:
            server.shutdown()
            thread.join(LIMIT_S)
    assert answer == {"instance_id": "ds_012345"}


def test_fetch_instance_id_sends_no_token(canned_server):
    canned_server.answer_json({"instance_id": "ds_012345", "status": "degraded"})
    assert fetch_instance_id(canned_server.base_url) == "ds_012345"
    assert canned_server.requests[0].startswith("GET /health HTTP/1.1")
    assert "Authorization" not in canned_server.requests[0]


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"[1]", b'{"instance_id": 7}', b"{}", b"\xff\xfe", b"[" * 60_000, b'"ds_012345"']
)
def test_fetch_instance_id_other_answers_are_none(canned_server, content):
    canned_server.answer = b"HTTP/1.1 200 OK\r\n\r\n" + content
    assert fetch_instance_id(canned_server.base_url) is None


def test_fetch_instance_id_endless_answer_is_bounded():
    """Another program that sends an endless answer; counts the bytes sent."""
    sent = []

    def pour(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                while True:
                    sent.append(connection.send(b" " * 65_536))
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        pouring = threading.Thread(target=pour, args=(listener,))
        pouring.start()
        assert fetch_instance_id(f"http://127.0.0.1:{listener.getsockname()[1]}") is None
        pouring.join(local_http.HEALTH_TIMEOUT_S + 5)
    assert not pouring.is_alive()
    assert MAX_HEALTH_BYTES <= sum(sent) < 100 * MAX_HEALTH_BYTES  # the sockets buffer more


def test_fetch_instance_id_silent_port_is_none(silent_url):
    began = time.monotonic()
    assert fetch_instance_id(silent_url, timeout=0.2) is None
    assert time.monotonic() - began >= 0.2
