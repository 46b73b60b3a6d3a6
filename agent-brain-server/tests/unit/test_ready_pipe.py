"""What the server says once to whoever started it."""

import json
import os
import time
from collections.abc import Iterator

import pytest

from agent_brain_server.errors import PortInUseError, StartError
from agent_brain_server.ready_pipe import Failed, Held, Ready, ReadyPipe, receive_outcome
from agent_brain_server.runtime import RuntimeState

STATE = RuntimeState(
    mode="shared", instance_id="ds_1", base_url="http://127.0.0.1:1", bind_host="127.0.0.1", port=1, pid=7,
    started_at="2026-01-01T00:00:00+00:00", token="secret",
)  # fmt: skip


@pytest.fixture
def ends() -> Iterator[tuple[int, ReadyPipe]]:
    reader, writer = os.pipe()
    pipe = ReadyPipe(writer)
    yield reader, pipe
    os.close(reader)
    pipe.tell_held()


def soon() -> float:
    return time.monotonic() + 5


def test_readiness_carries_the_state_with_its_token(ends: tuple[int, ReadyPipe]) -> None:
    reader, pipe = ends
    pipe.tell_ready(STATE)
    assert receive_outcome(reader, soon()) == Ready(STATE)
    assert not pipe.is_open


def test_a_failure_keeps_its_kind_and_its_notes(ends: tuple[int, ReadyPipe]) -> None:
    reader, pipe = ends
    error = PortInUseError("Port 1 is taken.", hint="Free it.")
    error.add_note("Last lines of the log")
    pipe.tell_failed(error)
    outcome = receive_outcome(reader, soon())
    assert isinstance(outcome, Failed)
    assert type(outcome.error) is PortInUseError
    assert (outcome.error.message, outcome.error.hint, outcome.error.code) == (
        "Port 1 is taken.",
        "Free it.",
        "port_in_use",
    )
    assert outcome.error.__notes__ == ["Last lines of the log"]


def test_a_held_lock_is_no_failure(ends: tuple[int, ReadyPipe]) -> None:
    reader, pipe = ends
    pipe.tell_held()
    assert receive_outcome(reader, soon()) == Held()


def test_an_end_without_a_word_and_silence_are_told_apart(ends: tuple[int, ReadyPipe]) -> None:
    reader, _ = ends
    with pytest.raises(TimeoutError):
        receive_outcome(reader, time.monotonic() + 0.05)
    other_reader, other_writer = os.pipe()
    os.close(other_writer)
    assert receive_outcome(other_reader, soon()) is None
    os.close(other_reader)


def test_a_starter_that_is_gone_is_no_trouble_and_nothing_is_said_twice() -> None:
    reader, writer = os.pipe()
    pipe = ReadyPipe(writer)
    assert not os.get_inheritable(writer)
    os.close(reader)
    pipe.tell_ready(STATE)
    pipe.tell_held()
    ReadyPipe(None).tell_ready(STATE)


def test_what_another_version_says_is_a_failure_and_no_crash() -> None:
    strange_state = {"outcome": "ready", "state": {"mode": "odd"}}
    strange_kind = {"outcome": "failed", "kind": "Tomorrow", "message": "m", "hint": "h", "code": "c", "notes": 1}
    for said in (strange_state, strange_kind):
        reader, writer = os.pipe()
        os.write(writer, json.dumps(said).encode() + b"\n")
        outcome = receive_outcome(reader, soon())
        assert isinstance(outcome, Failed)
        assert type(outcome.error) is StartError
        os.close(reader)
        os.close(writer)
