"""Messages of a starting server over the ready pipe."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from agent_brain_server.errors import DaemonNotRunningError, PortInUseError, StartError, StateDirError
from agent_brain_server.lifecycle.spawn import Failed, Held, Ready, ReadyPipe, receive_outcome
from agent_brain_server.runtime import RuntimeState

STATE = RuntimeState(
    mode="project", project_root="/srv/große Projekte\n", instance_id="ds_012345", base_url="http://127.0.0.1:4321",
    bind_host="127.0.0.1", port=4321, pid=1234, started_at="2026-01-02T03:04:05+00:00", token="geheim",
)  # fmt: skip
LIMIT_S = 600.0


@pytest.fixture
def ends():
    """The reading and the writing end, closed after the test."""
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def hear(reader, limit_s=LIMIT_S):
    return receive_outcome(reader, time.monotonic() + limit_s)


def test_receive_outcome_ready_has_the_state(ends):
    pipe = ReadyPipe(ends[1])
    assert pipe.is_open
    pipe.send_ready(STATE)
    assert not pipe.is_open
    assert hear(ends[0]) == Ready(STATE)


def test_receive_outcome_held(ends):
    ReadyPipe(ends[1]).send_held()
    assert hear(ends[0]) == Held()


@pytest.mark.parametrize("kind", [StateDirError, PortInUseError, DaemonNotRunningError])
def test_receive_outcome_failed_rebuilds_error_and_notes(ends, kind):
    error = kind("Port 7 belongs\nto another process.", hint="Tu das: ü", code="port_in_use_here")
    error.add_note("Last lines:\nboom")
    ReadyPipe(ends[1]).send_failed(error)
    outcome = hear(ends[0])
    assert isinstance(outcome, Failed)
    heard = outcome.error
    assert (type(heard), heard.message, heard.hint, heard.code) == (kind, error.message, error.hint, error.code)
    assert heard.__notes__ == error.__notes__


def test_receive_outcome_unknown_error_is_start_error(ends):
    message = {"outcome": "failed", "kind": "Unheard", "message": "m", "hint": "h", "code": "c", "notes": None}
    os.write(ends[1], json.dumps(message).encode() + b"\n")
    outcome = hear(ends[0])
    assert isinstance(outcome, Failed)
    assert (type(outcome.error), outcome.error.message) == (StartError, "m")


def test_receive_outcome_invalid_state_is_failed(ends):
    os.write(ends[1], json.dumps({"outcome": "ready", "state": {"mode": "quantum"}}).encode() + b"\n")
    outcome = hear(ends[0])
    assert isinstance(outcome, Failed)
    assert "description of itself is invalid" in outcome.error.message


def test_receive_outcome_end_is_not_silence(ends):
    with pytest.raises(TimeoutError):
        hear(ends[0], limit_s=0.05)
    os.write(ends[1], b'{"outcome": "rea')
    with pytest.raises(TimeoutError):
        hear(ends[0], limit_s=0.05)
    os.close(ends[1])
    assert hear(ends[0]) is None


def test_receive_outcome_message_in_pieces(ends):
    data = json.dumps({"outcome": "held"}).encode() + b"\n"

    def write_slowly():
        for byte in data:
            os.write(ends[1], bytes([byte]))
            time.sleep(0.002)

    writing = threading.Thread(target=write_slowly)
    writing.start()
    assert hear(ends[0]) == Held()
    writing.join()


def test_ready_pipe_sends_first_message_only(ends):
    pipe = ReadyPipe(ends[1])
    pipe.send_held()
    pipe.send_failed(StartError("too late"))
    assert hear(ends[0]) == Held()
    assert os.read(ends[0], 100) == b""


def test_ready_pipe_ended_starter_is_ignored(ends):
    os.close(ends[0])
    ReadyPipe(ends[1]).send_ready(STATE)


def test_ready_pipe_without_descriptor_sends_nothing():
    pipe = ReadyPipe(None)
    assert not pipe.is_open
    pipe.send_ready(STATE)
    pipe.send_failed(StartError("unheard"))


def test_ready_pipe_is_not_inherited(ends):
    os.set_inheritable(ends[1], True)  # as in the server process
    pipe = ReadyPipe(ends[1])
    assert fcntl.fcntl(ends[1], fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        pipe.send_held()
        assert hear(ends[0]) == Held()
        assert os.read(ends[0], 100) == b""  # the child runs, and the pipe is closed
    finally:
        child.communicate(b"\n")
