"""Body limits, and the record of when the server was used."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive

from agent_brain_server.api.errors import BODY_KEY
from agent_brain_server.api.middleware import MAX_BODY_BYTES, Activity, buffer_body
from agent_brain_server.errors import PayloadTooLargeError, RequestTimeoutError


def make_receive(*messages: Message) -> Receive:
    waiting = list(messages)

    async def receive() -> Message:
        return waiting.pop(0)

    return receive


def make_part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def make_scope(length: str | None = None) -> dict[str, Any]:
    headers = [] if length is None else [(b"content-length", length.encode())]
    return {"type": "http", "headers": headers}


def test_buffer_body_joins_parts_and_then_passes_on() -> None:
    disconnect: Message = {"type": "http.disconnect"}
    scope = make_scope()

    async def read() -> list[Message]:
        receive = await buffer_body(scope, make_receive(make_part(b"ab", more=True), make_part(b"cd"), disconnect))
        return [await receive(), await receive()]

    assert asyncio.run(read()) == [make_part(b"abcd"), disconnect]
    assert scope[BODY_KEY] == b"abcd"


def test_buffer_body_refuses_an_announced_length_unread() -> None:
    with pytest.raises(PayloadTooLargeError):
        asyncio.run(buffer_body(make_scope(str(MAX_BODY_BYTES + 1)), make_receive()))


def test_buffer_body_counts_a_length_not_announced() -> None:
    parts = [make_part(b"x" * 65536, more=True) for _ in range(MAX_BODY_BYTES // 65536 + 1)]
    with pytest.raises(PayloadTooLargeError):
        asyncio.run(buffer_body(make_scope(), make_receive(*parts)))


def test_buffer_body_allows_the_limit_and_ignores_a_bad_length() -> None:
    async def read() -> Message:
        return await (await buffer_body(make_scope("²"), make_receive(make_part(b"x" * MAX_BODY_BYTES))))()

    assert len(asyncio.run(read())["body"]) == MAX_BODY_BYTES


def test_buffer_body_limits_the_time() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    with pytest.raises(RequestTimeoutError):
        asyncio.run(buffer_body(make_scope(), receive, 0.01))


def test_activity_touch_restarts_the_idle_time() -> None:
    activity = Activity()
    activity.last_active -= 100
    assert activity.measure_idle_seconds() >= 100
    activity.touch()
    assert activity.measure_idle_seconds() < 50


def test_activity_is_not_idle_while_a_job_runs() -> None:
    is_running = True
    activity = Activity(lambda: is_running)
    activity.last_active -= 100
    assert activity.measure_idle_seconds() < 50
    is_running = False
    assert activity.measure_idle_seconds() < 50  # the time of the job does not count afterwards either


def test_activity_unused_ignores_observing_requests() -> None:
    activity = Activity()
    activity.last_used -= 100
    for path in ("/health", "/health/status", "/metrics", "/projects"):
        with activity.track(path):
            assert activity.measure_unused_seconds() >= 100
    assert activity.measure_idle_seconds() < 50


def test_activity_unused_is_zero_during_a_request() -> None:
    activity = Activity()
    activity.last_used -= 100
    with activity.track("/query"):
        activity.last_used -= 100
        assert activity.measure_unused_seconds() == 0
    assert activity.measure_unused_seconds() < 50


def test_activity_unused_is_zero_while_a_job_runs() -> None:
    activity = Activity(lambda: True)
    activity.last_used -= 100
    assert activity.measure_unused_seconds() == 0
