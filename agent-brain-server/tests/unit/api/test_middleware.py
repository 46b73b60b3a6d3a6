"""A body is read whole, given on unchanged, and refused once it is too long."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive

from agent_brain_server.api.middleware import MAX_BODY_BYTES, buffer_body
from agent_brain_server.errors import PayloadTooLargeError


def sender(*messages: Message) -> Receive:
    waiting = list(messages)

    async def receive() -> Message:
        return waiting.pop(0)

    return receive


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def scope(length: str | None = None) -> dict[str, Any]:
    headers = [] if length is None else [(b"content-length", length.encode())]
    return {"type": "http", "headers": headers}


def test_parts_come_out_as_one_and_then_what_follows() -> None:
    disconnect: Message = {"type": "http.disconnect"}

    async def read() -> list[Message]:
        receive = await buffer_body(scope(), sender(part(b"ab", more=True), part(b"cd"), disconnect))
        return [await receive(), await receive()]

    assert asyncio.run(read()) == [part(b"abcd"), disconnect]


def test_an_announced_length_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(PayloadTooLargeError):
        asyncio.run(buffer_body(scope(str(MAX_BODY_BYTES + 1)), sender()))


def test_a_length_that_was_not_announced_is_counted() -> None:
    parts = [part(b"x" * 65536, more=True) for _ in range(MAX_BODY_BYTES // 65536 + 1)]
    with pytest.raises(PayloadTooLargeError):
        asyncio.run(buffer_body(scope(), sender(*parts)))


def test_the_limit_itself_is_allowed_and_nonsense_lengths_are_not_believed() -> None:
    async def read() -> Message:
        return await (await buffer_body(scope("²"), sender(part(b"x" * MAX_BODY_BYTES))))()

    assert len(asyncio.run(read())["body"]) == MAX_BODY_BYTES
