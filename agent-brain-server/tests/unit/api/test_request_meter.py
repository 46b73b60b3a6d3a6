"""What a failed request asked for is told in a few words, whatever was sent."""

import json

import pytest

from agent_brain_server.api.request_metrics import BODY_KEY, MAX_SHOWN_CHARACTERS, describe_body


def test_the_question_is_told_and_cut() -> None:
    body = json.dumps({"query": "x" * 1000, "mode": "bm25", "token": "secret"}).encode()
    assert describe_body({BODY_KEY: body}) == {"asked_query": "x" * MAX_SHOWN_CHARACTERS, "asked_mode": "bm25"}


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 5000, b'{"other": 1}'])
def test_what_is_no_question_tells_nothing(body: bytes) -> None:
    assert describe_body({BODY_KEY: body}) == {}
    assert describe_body({}) == {}
