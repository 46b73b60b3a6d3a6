"""The order in which a server publishes its address, serves, withdraws and closes."""

import http.client
import os
import signal
import socket
import threading

import pytest

from agent_brain_server.api.access import ConnectionGuard
from agent_brain_server.api.middleware import Activity
from agent_brain_server.api.server import (
    STOP_SIGNALS,
    ProjectServer,
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

    return app


def run(app, sock, publish, withdraw, find_stop_reason=lambda _: None):
    server = ProjectServer(
        make_uvicorn_config(app, ConnectionGuard()),
        publish=publish,
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


def test_server_publishes_and_withdraws_while_it_answers():
    events = []
    sock = bind()
    port = sock.getsockname()[1]

    def ask_and_stop():
        events.append(f"answered {ask(port)}")
        os.kill(os.getpid(), signal.SIGTERM)

    client = threading.Thread(target=ask_and_stop)

    def publish():
        events.append("published")
        client.start()

    run(make_app(events), sock, publish, lambda: events.append("withdrawn"))
    client.join()
    assert events == ["opened", "published", "answered 200", "withdrawn", "closed"]


def test_server_stops_for_a_reason():
    events = []
    run(make_app(events), bind(), lambda: None, lambda: None, lambda _: "enough")
    assert events == ["opened", "closed"]


def test_failed_publication_closes_the_application():
    events = []

    def publish():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        run(make_app(events), bind(), publish, lambda: events.append("withdrawn"))
    assert events == ["opened", "withdrawn", "closed"]


def test_failed_startup_is_never_published():
    error = StoreError("The store is damaged.")
    app = make_app([], error)
    published = []
    with bind() as sock, pytest.raises(SystemExit):
        run(app, sock, lambda: published.append(1), lambda: None)
    assert published == []
    assert translate_startup_error(error) is error


def test_translate_startup_error_wraps_other_errors():
    error = translate_startup_error(ValueError("odd"))
    assert isinstance(error, StartError)
    assert "ValueError: odd" in error.message


@pytest.mark.parametrize(
    ("limit_s", "idle_s", "busy", "serving", "stops"),
    [
        (10, 11, False, False, True),
        (10, 5, False, False, False),
        (0, 11, False, False, False),
        (10, 11, True, False, False),
        (10, 11, False, True, False),
    ],
)
def test_find_idle_reason_of_requests_and_jobs(limit_s, idle_s, busy, serving, stops):
    activity = Activity(lambda: busy)
    activity.last_active -= idle_s
    assert (find_idle_reason(activity, is_serving=serving, limit_s=limit_s) is not None) == stops
