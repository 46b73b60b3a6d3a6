"""The order in which a server announces itself, serves, withdraws and closes."""

import http.client
import os
import signal
import socket
import threading

import pytest
from fastapi import FastAPI

from agent_brain_server.api.connection_guard import ConnectionGuard
from agent_brain_server.api.middleware import Activity
from agent_brain_server.api.server import (
    STOP_SIGNALS,
    ProjectServer,
    StartupErrors,
    find_idle_reason,
    make_uvicorn_config,
    translate_startup_error,
)
from agent_brain_server.errors import StartError, StoreError


@pytest.fixture(autouse=True)
def keep_signal_handlers():
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def make_app(events, error=None):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            assert (await receive())["type"] == "lifespan.startup"
            if error is not None:
                raise error
            events.append("opened")
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            events.append("closed")
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return StartupErrors(app)


def run(app, sock, announce, withdraw, find_stop_reason=lambda _: None):
    server = ProjectServer(
        make_uvicorn_config(app, ConnectionGuard()),
        announce=announce,
        withdraw=withdraw,
        find_stop_reason=find_stop_reason,
    )
    server.run(sockets=[sock])


def bind():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def ask(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


def test_it_announces_once_it_answers_and_withdraws_before_it_closes():
    events = []
    sock = bind()
    port = sock.getsockname()[1]

    def ask_and_stop():
        events.append(f"answered {ask(port)}")
        os.kill(os.getpid(), signal.SIGTERM)

    client = threading.Thread(target=ask_and_stop)

    def announce():
        events.append("announced")
        client.start()

    run(make_app(events), sock, announce, lambda: events.append("withdrawn"))
    client.join()
    assert events == ["opened", "announced", "answered 200", "withdrawn", "closed"]


def test_a_reason_to_stop_ends_it():
    events = []
    run(make_app(events), bind(), lambda: None, lambda: None, lambda _: "enough")
    assert events == ["opened", "closed"]


def test_an_announcement_that_fails_closes_the_application_and_is_told():
    events = []

    def announce():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        run(make_app(events), bind(), announce, lambda: events.append("withdrawn"))
    assert events == ["opened", "withdrawn", "closed"]


def test_an_application_that_cannot_start_is_never_announced_and_says_why():
    error = StoreError("The store is damaged.")
    app = make_app([], error)
    announced = []
    with bind() as sock, pytest.raises(SystemExit):
        run(app, sock, lambda: announced.append(1), lambda: None)
    assert announced == []
    assert translate_startup_error(app.error) is error


def test_any_other_failure_of_the_start_is_put_into_words():
    error = translate_startup_error(ValueError("odd"))
    assert isinstance(error, StartError)
    assert "ValueError: odd" in error.message


class Serving:
    is_serving = False


@pytest.mark.parametrize(
    ("limit_s", "idle_s", "working", "serving", "ends"),
    [
        (10, 11, False, False, True),
        (10, 5, False, False, False),
        (0, 11, False, False, False),
        (10, 11, True, False, False),
        (10, 11, False, True, False),
    ],
)
def test_idle_is_neither_asked_nor_working_nor_answering(limit_s, idle_s, working, serving, ends):
    app = FastAPI()
    app.state.activity = Activity(lambda: working)
    app.state.activity.last_active -= idle_s
    server = Serving()
    server.is_serving = serving
    assert (find_idle_reason(app, server, limit_s) is not None) == ends
