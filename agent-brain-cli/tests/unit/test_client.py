"""The client with a real HTTP server that also answers as a healthy server never does."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agent_brain_cli.client import Client, parse_events
from agent_brain_server.errors import DeadlineError, NotRunningError, ServerRefusedError
from agent_brain_server.runtime import RuntimeState

TOKEN = "t0ken-of-sixteen-characters"


def make_state(port: int, token: str | None = TOKEN) -> RuntimeState:
    return RuntimeState(
        mode="project",
        project_root="/p",
        instance_id="ds_000001",
        base_url=f"http://127.0.0.1:{port}",
        bind_host="127.0.0.1",
        port=port,
        pid=1,
        started_at="2026-01-01T00:00:00+00:00",
        token=token,
    )


@contextmanager
def serving(answer) -> Iterator[int]:
    """Serve each request with `answer(handler)`; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def do_POST(self):
            answer(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(handler, status: int, document: object, kind: str = "application/json") -> None:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def make_job(state: str, done: int = 0) -> dict:
    return {"job_id": "j", "state": state, "progress": {"files_done": done}}


def event(name: str, job: dict) -> bytes:
    return f"event: {name}\ndata: {json.dumps(job)}\n\n".encode()


def test_client_sends_the_token_with_every_call():
    seen = []

    def answer(handler):
        seen.append(handler.headers["Authorization"])
        if handler.path.endswith("/events"):
            send(handler, 200, event("end", make_job("done")), "text/event-stream")
        else:
            send(handler, 200, make_job("running"))

    with serving(answer) as port:
        list(Client(make_state(port)).follow_job("j"))
    assert set(seen) == {f"Bearer {TOKEN}"}
    assert len(seen) == 2


def test_client_raises_problem_with_hint_and_code():
    problem = {"detail": "No such folder.", "hint": "Name another.", "code": "not_found", "status": 404}
    with serving(lambda handler: send(handler, 404, problem)) as port, pytest.raises(ServerRefusedError) as caught:
        Client(make_state(port)).post("/index", {})
    assert (caught.value.message, caught.value.hint, caught.value.code) == (
        "No such folder.",
        "Name another.",
        "not_found",
    )


def test_client_refuses_an_answer_that_is_no_object():
    with serving(lambda handler: send(handler, 200, [1])) as port, pytest.raises(ServerRefusedError):
        Client(make_state(port)).get("/health/status")


def test_client_without_server_raises_not_running():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(NotRunningError):
            Client(make_state(unused.getsockname()[1])).get("/health/status")


def test_client_of_silent_server_raises_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DeadlineError):
        Client(make_state(silent.getsockname()[1]), timeout_s=0.1).get("/health/status")


def test_client_retries_unavailable():
    answers = iter([(503, {"code": "unavailable", "detail": "opening"}), (200, {"ready": True})])
    with serving(lambda handler: send(handler, *next(answers))) as port:
        assert Client(make_state(port)).get("/health/status") == {"ready": True}


def test_follow_job_reconnects_a_broken_stream():
    streams = iter([event("progress", make_job("running", 1)), event("end", make_job("done", 2))])

    def answer(handler):
        if handler.path.endswith("/events"):
            send(handler, 200, next(streams), "text/event-stream")
        else:
            send(handler, 200, make_job("running"))

    with serving(answer) as port:
        seen = [job["progress"]["files_done"] for job in Client(make_state(port)).follow_job("j")]
    assert seen == [0, 1, 0, 2]


def test_follow_job_of_ended_job_opens_no_stream():
    with serving(lambda handler: send(handler, 200, make_job("done"))) as port:
        assert [job["state"] for job in Client(make_state(port)).follow_job("j")] == ["done"]


def test_follow_job_yields_events_as_they_arrive():
    first_seen = threading.Event()

    def answer(handler):
        if not handler.path.endswith("/events"):
            return send(handler, 200, make_job("running"))
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for chunk in (event("progress", make_job("running", 1)), event("end", make_job("done", 2))):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            handler.wfile.flush()
            assert first_seen.wait(120)
        return handler.wfile.write(b"0\r\n\r\n")

    with serving(answer) as port:
        for job in Client(make_state(port)).follow_job("j"):
            if job["progress"]["files_done"] == 1:
                first_seen.set()
        assert first_seen.is_set()


def test_follow_job_deadline_ignores_keep_alive_lines():
    def answer(handler):
        if not handler.path.endswith("/events"):
            return send(handler, 200, make_job("running"))
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b": keep-alive\n\n")
                handler.wfile.flush()
                time.sleep(0.02)
        except OSError:
            pass  # the client closed the connection, as expected
        return None

    with serving(answer) as port, pytest.raises(DeadlineError):
        list(Client(make_state(port)).follow_job("j", deadline=time.monotonic() + 0.3))


@pytest.mark.parametrize(
    ("lines", "events"),
    [
        ([b"event: end\n", b"data: 1\n", b"\n"], [("end", "1")]),
        ([b"data:1\r\n", b"data: 2\r\n", b"\r\n"], [("message", "1\n2")]),
        ([b": comment\n", b"\n", b"id: 7\n", b"event: x\n", b"\n"], []),
        ([b"event: cut\n", b"data: off\n"], []),
    ],
)
def test_parse_events_follows_the_standard(lines, events):
    assert list(parse_events(lines)) == events


@pytest.mark.parametrize(("mode", "suffix"), [("shared", "?project_id=p_1a2b3c4d"), ("project", "")])
def test_client_sends_project_id_only_to_the_daemon(mode, suffix):
    paths, bodies = [], []

    def answer(handler):
        paths.append(handler.path)
        bodies.append(json.loads(handler.rfile.read(int(handler.headers["Content-Length"] or 0)) or b"{}"))
        if "/events" in handler.path:
            send(handler, 200, event("end", make_job("done")), "text/event-stream")
        else:
            send(handler, 200, make_job("running"))

    with serving(answer) as port:
        state = make_state(port).model_copy(update={"mode": mode, "project_id": "p_1a2b3c4d"})
        client = Client(state)
        client.post("/query", {"query": "x"})
        client.get("/health/status")
        list(client.follow_job("j"))
    assert paths == [
        "/query",
        *(f"{path}{suffix}" for path in ("/health/status", "/index/jobs/j", "/index/jobs/j/events")),
    ]
    assert bodies[0] == ({"query": "x", "project_id": "p_1a2b3c4d"} if mode == "shared" else {"query": "x"})
