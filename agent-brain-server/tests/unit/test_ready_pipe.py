"""What a starting server says over the pipe is what its starter hears, and silence is told from an end."""

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
LIMIT_S = 120.0


@pytest.fixture
def ends():
    """The reading and the writing end; what is still open is closed afterwards."""
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def hear(reader, limit_s=LIMIT_S):
    return receive_outcome(reader, time.monotonic() + limit_s)


def test_a_server_that_is_ready_is_heard_with_all_that_it_says_of_itself(ends):
    pipe = ReadyPipe(ends[1])
    assert pipe.is_open
    pipe.send_ready(STATE)
    assert not pipe.is_open
    assert hear(ends[0]) == Ready(STATE)


def test_a_lock_that_is_held_is_heard(ends):
    ReadyPipe(ends[1]).send_held()
    assert hear(ends[0]) == Held()


@pytest.mark.parametrize("kind", [StateDirError, PortInUseError, DaemonNotRunningError])
def test_a_failure_arrives_as_the_error_that_it_was_with_its_notes(ends, kind):
    error = kind("Port 7 belongs\nto another process.", hint="Tu das: ü", code="port_in_use_here")
    error.add_note("Last lines:\nboom")
    ReadyPipe(ends[1]).send_failed(error)
    outcome = hear(ends[0])
    assert isinstance(outcome, Failed)
    heard = outcome.error
    assert (type(heard), heard.message, heard.hint, heard.code) == (kind, error.message, error.hint, error.code)
    assert heard.__notes__ == error.__notes__


def test_an_error_of_a_later_version_is_a_failed_start(ends):
    message = {"outcome": "failed", "kind": "Unheard", "message": "m", "hint": "h", "code": "c", "notes": None}
    os.write(ends[1], json.dumps(message).encode() + b"\n")
    outcome = hear(ends[0])
    assert isinstance(outcome, Failed)
    assert (type(outcome.error), outcome.error.message) == (StartError, "m")


def test_a_server_of_another_version_that_describes_itself_otherwise_is_a_failed_start(ends):
    os.write(ends[1], json.dumps({"outcome": "ready", "state": {"mode": "quantum"}}).encode() + b"\n")
    outcome = hear(ends[0])
    assert isinstance(outcome, Failed)
    assert "description of itself is invalid" in outcome.error.message


def test_an_end_without_a_word_or_in_the_middle_of_one_is_told_from_silence(ends):
    with pytest.raises(TimeoutError):
        hear(ends[0], limit_s=0.05)
    os.write(ends[1], b'{"outcome": "rea')
    with pytest.raises(TimeoutError):
        hear(ends[0], limit_s=0.05)
    os.close(ends[1])
    assert hear(ends[0]) is None


def test_a_message_that_comes_in_pieces_is_heard_whole(ends):
    data = json.dumps({"outcome": "held"}).encode() + b"\n"

    def write_slowly():
        for byte in data:
            os.write(ends[1], bytes([byte]))
            time.sleep(0.002)

    writing = threading.Thread(target=write_slowly)
    writing.start()
    assert hear(ends[0]) == Held()
    writing.join()


def test_only_the_first_message_is_sent(ends):
    pipe = ReadyPipe(ends[1])
    pipe.send_held()
    pipe.send_failed(StartError("too late"))
    assert hear(ends[0]) == Held()
    assert os.read(ends[0], 100) == b""


def test_a_starter_that_is_gone_is_no_trouble(ends):
    os.close(ends[0])
    ReadyPipe(ends[1]).send_ready(STATE)


def test_where_nobody_waits_nothing_is_sent():
    pipe = ReadyPipe(None)
    assert not pipe.is_open
    pipe.send_ready(STATE)
    pipe.send_failed(StartError("unheard"))


def test_no_child_of_the_server_keeps_the_pipe_open(ends):
    os.set_inheritable(ends[1], True)  # as it is when the server gets it
    pipe = ReadyPipe(ends[1])
    assert fcntl.fcntl(ends[1], fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        pipe.send_held()
        assert hear(ends[0]) == Held()
        assert os.read(ends[0], 100) == b""  # the child lives, and the pipe is at its end
    finally:
        child.communicate(b"\n")
