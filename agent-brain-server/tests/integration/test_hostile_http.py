"""Clients that send malformed HTTP, stop half-way or never read get a clear answer or none, and leak nothing."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from agent_brain_server.lifecycle.control import start_server, stop_server
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.storage_paths import resolve_state_dir

LIMIT_S = 600.0
FILES = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for number in range(FILES):
        body = "\n".join(f"    part_{number}_{line} = value + {line}" for line in range(40))
        (root / f"part_{number}.py").write_text(f"def handle_part_{number}(value):\n{body}\n")
    return root


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeState]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENT_BRAIN_HOME", str(tmp_path_factory.mktemp("home")))
        state = start_server(root).state
        yield state
        stop_server(resolve_state_dir(root))


@pytest.fixture(scope="module")
def client(server: RuntimeState) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.Client(base_url=server.base_url, headers=headers, timeout=LIMIT_S) as client:
        job_id = client.post("/index", json={"folder_path": "."}).json()["job_id"]
        wait_until(lambda: client.get(f"/index/jobs/{job_id}").json()["state"] == "done")
        yield client


@pytest.fixture(autouse=True)
def unharmed(server: RuntimeState, client: httpx.Client, root: Path) -> Iterator[None]:
    """Check after each test that the server answers, holds no further connection and logged no error."""
    client.get("/health")
    before = count_connections(server)
    log = resolve_state_dir(root) / "logs" / "server.log"
    start = log.stat().st_size
    yield
    assert client.get("/health").json()["instance_id"] == server.instance_id
    assert client.post("/query", json={"query": "handle_part_7"}).json()["results"]
    wait_until(lambda: count_connections(server) <= before)
    logged = log.read_text()[start:]
    assert '"level": "error"' not in logged, logged


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def count_connections(server: RuntimeState) -> int:
    kinds = []
    for name in os.listdir(f"/proc/{server.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            kinds.append(os.readlink(f"/proc/{server.pid}/fd/{name}").partition(":")[0])
    return kinds.count("socket")


@contextlib.contextmanager
def connect(server: RuntimeState) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as connection:
        yield connection


def exchange(server: RuntimeState, *parts: bytes) -> bytes:
    """Send raw bytes and return everything until the server closes the connection."""
    with connect(server) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
            while part := connection.recv(65536):
                answer += part
    return answer


def request(line: str, *headers: str, body: bytes = b"", close: bool = True) -> bytes:
    lines = [line, "Host: 127.0.0.1", *headers, *(["Connection: close"] if close else [])]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def statuses_of(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


QUERY = b'{"query": "handle_part_3"}'


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("GET /health HTTP/1.0"), 200),
        (request("GET /health HTTP/1.0").replace(b"Host: 127.0.0.1\r\n", b""), 403),
        (request("GET http://127.0.0.1/health HTTP/1.1"), 200),
        (request("GET /health HTTP/1.1", "Upgrade: websocket"), 200),
        (request("GET /health HTTP/1.1", "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: x"), 200),
        (request("POST /query HTTP/1.1", "Expect: 100-continue", body=QUERY), 100),
        (request("OPTIONS * HTTP/1.1"), 404),
        (request("GET /query/chunks/%00 HTTP/1.1"), 404),
        (request("GET /query/chunks/a%00b HTTP/1.1"), 404),
        (request("GET /query/chunks/%ff%fe HTTP/1.1"), 404),
        (request("GET /query/chunks/%ED%A0%80 HTTP/1.1"), 404),
        (request("GET /query/chunks/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1"), 404),
        (request("GET /query/chunks/../../../etc/passwd HTTP/1.1"), 404),
        (request("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1"), 404),
        (request("GET /..%2f..%2fetc%2fpasswd HTTP/1.1"), 404),
        (request("GET //etc/passwd HTTP/1.1"), 404),
        (request("GET /%00 HTTP/1.1"), 404),
        (request("GET /index/jobs?project_id=%00&project_id=%ff HTTP/1.1"), 200),
        (request("GET /index/jobs/" + "x" * 60_000 + " HTTP/1.1"), 404),
        (request("GET /health?" + "a=1&" * 12_000 + " HTTP/1.1"), 200),
        (request("GET /\xff HTTP/1.1"), 400),
        (request("GET /\x00 HTTP/1.1"), 400),
        (request("BREW /health HTTP/1.1"), 400),
        (request("GET /health HTTP/1.1", "X-Request-ID: \xff\xfe"), 200),
        (request("GET /health HTTP/1.1", "X-Request-ID: a\r\n b"), 400),
        (request("POST /query HTTP/1.1", "Content-Length: 99999999999999999999"), 400),
        (request("POST /query HTTP/1.1", "Content-Length: 4000000000"), 413),
        (request("POST /query HTTP/1.1", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 422),
        (request("POST /query HTTP/1.1", "Transfer-Encoding: chunked") + b"zz\r\n", 400),
        (request("POST /query HTTP/1.1", "Transfer-Encoding: chunked") + b"-5\r\nhello\r\n0\r\n\r\n", 400),
        (request("POST /query HTTP/1.1", "Transfer-Encoding: chunked") + b"ffffffffffffffffff\r\n", 400),
        (request("POST /query HTTP/1.1", "Content-Encoding: gzip", body=QUERY), 200),  # encodings are ignored
        (request("POST /query HTTP/1.1", body=b"\xff" * 100), 422),
        (request("POST /query HTTP/1.1", body=b"[" * 1_000_000), 422),
        (request("POST /query HTTP/1.1", body=b'{"query": ' + b"9" * 1_000_000 + b"}"), 422),
        (request("POST /query HTTP/1.1", body=b'{"query": "x", "top_k": ' + b"9" * 100_000 + b"}"), 422),
        (request("POST /query HTTP/1.1", body=b'{"query": "x",' + b'"query": "x",' * 50_000 + b'"top_k": 1}'), 200),
    ],
)  # fmt: skip
def test_malformed_http_gets_a_clear_answer(server: RuntimeState, raw: bytes, status: int) -> None:
    answer = exchange(server, raw)
    statuses = statuses_of(answer)
    assert statuses[0] == status, (raw[:200], answer[:300])
    assert b"Traceback" not in answer
    if status >= 400:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"application/problem+json" in head
        assert json.loads(body)["status"] == status


def test_pipelined_requests_are_answered_in_order(server: RuntimeState) -> None:
    raw = request("POST /query HTTP/1.1", body=QUERY, close=False) + request("GET /health HTTP/1.1", close=False)
    answer = exchange(server, raw * 20 + request("GET /nothing HTTP/1.1"))
    assert statuses_of(answer) == [200] * 40 + [404]
    assert answer.index(b"query_time_ms") < answer.index(b"instance_id")


def test_request_sent_byte_by_byte_is_answered(server: RuntimeState) -> None:
    raw = request("POST /query HTTP/1.1", body=QUERY)
    answer = exchange(server, *(raw[i : i + 1] for i in range(len(raw))))
    assert statuses_of(answer) == [200]


def test_abandoned_event_streams_are_closed(server: RuntimeState, client: httpx.Client) -> None:
    job_id = client.post("/index", json={"folder_path": ".", "force": True}).json()["job_id"]
    with contextlib.ExitStack() as streams:
        open_ones = [streams.enter_context(connect(server)) for _ in range(30)]
        for connection in open_ones:
            connection.sendall(request(f"GET /index/jobs/{job_id}/events HTTP/1.1"))
        assert b"text/event-stream" in open_ones[0].recv(65536)
    wait_until(lambda: client.get(f"/index/jobs/{job_id}").json()["state"] == "done")


def test_client_gone_during_query_leaves_server_healthy(server: RuntimeState) -> None:
    for number in range(50):
        with connect(server) as connection:
            connection.sendall(request("POST /query HTTP/1.1", body=b'{"query": "value %d", "top_k": 100}' % number))


def test_client_that_never_reads_blocks_no_other(server: RuntimeState, client: httpx.Client) -> None:
    big = request("POST /query HTTP/1.1", body=b'{"query": "handle part value", "top_k": 100}', close=False)
    with connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(big * 20)
        for _ in range(20):
            assert client.get("/health").status_code == 200


GREEDY = [
    "**/" * 20 + "*.py",
    "*" * 200,
    "*a" * 60,
    "?" * 200,
    "[a-z]*" * 40,
    "(a+)+" * 40,
    "{a,b}" * 60,
    "a*" * 100 + "!",
]


@pytest.mark.parametrize("glob", GREEDY)
def test_greedy_glob_is_answered_or_refused(client: httpx.Client, root: Path, glob: str) -> None:
    (root / ("a" * 200 + ".py")).write_text("def many_letters():\n    pass\n")
    asked = client.post("/query", json={"query": "value", "file_paths": [glob] * 100})
    indexed = client.post("/index", json={"folder_path": ".", "include_patterns": [glob] * 100})
    assert asked.status_code in (200, 422)
    assert indexed.status_code in (202, 422)
    if indexed.status_code == 202:
        path = f"/index/jobs/{indexed.json()['job_id']}"
        wait_until(lambda: client.get(path).json()["state"] in ("done", "failed"))
        assert client.get(path).json()["state"] == "done"


WORDS = [
    *("a" * 4000, "a " * 2000, "handle_part_1 " * 285, "a_" * 2000, "aB" * 2000, "1" * 4000, "\u0301" * 4000),
    *("\ufdfa" * 4000, "* " * 2000, '"' * 4000, "(((" * 1300, "a:b " * 1000, "~" * 4000, "a OR " * 800, "NOT " * 1000),
]


@pytest.mark.parametrize("mode", ["bm25", "hybrid"])
@pytest.mark.parametrize("words", WORDS)
def test_extreme_query_text_is_answered(client: httpx.Client, words: str, mode: str) -> None:
    answer = client.post("/query", json={"query": words[:4000], "mode": mode, "top_k": 100, "explain": True})
    assert answer.status_code == 200


def test_simultaneous_queries_are_all_answered(server: RuntimeState) -> None:
    answers: list[list[int]] = []

    def ask(number: int) -> None:
        answers.append(statuses_of(exchange(server, request("POST /query HTTP/1.1", body=b'{"query": "%d"}' % number))))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert answers == [[200]] * 60
