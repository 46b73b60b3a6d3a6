"""Processes are identified by pid and start time, because pids are reused."""

import os
import signal
import subprocess
import sys
import time

import pytest

from agent_brain_server.support.processes import (
    MAX_PID,
    ProcessHandle,
    has_file_open,
    is_own_process,
    is_same_process,
    measure_process_age,
    read_resident_bytes,
    read_start_time,
)


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_read_start_time_is_constant(sleeper):
    started_at = read_start_time(sleeper.pid)
    assert started_at is not None
    assert read_start_time(sleeper.pid) == started_at
    assert is_same_process(sleeper.pid, started_at)
    assert is_same_process(sleeper.pid, None)
    assert not is_same_process(sleeper.pid, "1")


@pytest.mark.parametrize("pid", [-1, 0, 2**31 - 1, 2**63, 10**30])
def test_read_start_time_invalid_pid_is_none(pid):
    assert read_start_time(pid) is None
    assert ProcessHandle.open(pid, None) is None


def test_read_start_time_command_with_parentheses(tmp_path):
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([program, "60"])
    try:
        # exec may not have happened yet when Popen returns under vfork, but the start time is the same
        assert is_same_process(process.pid, read_start_time(process.pid))
        assert read_start_time(process.pid) is not None
    finally:
        process.kill()
        process.wait()


def test_process_handle_other_start_time_is_refused(sleeper):
    assert ProcessHandle.open(sleeper.pid, "1") is None


def test_process_handle_signals_and_waits(sleeper):
    handle = ProcessHandle.open(sleeper.pid, read_start_time(sleeper.pid))
    assert handle is not None
    with handle:
        assert not handle.wait(0.05)
        handle.send(signal.SIGTERM)
        assert handle.wait(10)
        assert read_start_time(sleeper.pid) is None  # a zombie now
        sleeper.wait()
        handle.send(signal.SIGKILL)


def test_process_handle_without_pidfd_uses_start_time(sleeper, monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")
    handle = ProcessHandle.open(sleeper.pid, read_start_time(sleeper.pid))
    assert handle is not None
    assert not handle.wait(0.05)
    handle.send(signal.SIGTERM)
    assert handle.wait(10)
    handle.close()


@pytest.mark.process
def test_process_age_and_memory_are_measured() -> None:
    script = "import time; from agent_brain_server.support.processes import measure_process_age as age; "
    script += "first = age(); time.sleep(0.5); print(first, age() - first)"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    first, later = map(float, done.stdout.split())
    assert 0 < first < time.monotonic() - began + 0.05
    assert later >= 0.5
    assert measure_process_age(MAX_PID) is None
    assert measure_process_age(os.getpid()) == pytest.approx(measure_process_age(), abs=1)
    assert read_resident_bytes(os.getpid()) > 1_000_000
    assert read_resident_bytes(MAX_PID) == 0


@pytest.fixture
def strangers_process():
    if os.geteuid() != 0:
        pytest.skip("only root can start a process of another user")
    process = subprocess.Popen(["/bin/sleep", "60"], user=65533, group=65533, extra_groups=[])
    yield process
    process.kill()
    process.wait()


def test_is_own_process_of_another_user(sleeper, strangers_process):
    assert is_own_process(sleeper.pid)
    assert not is_own_process(strangers_process.pid)


def test_is_own_process_ended():
    assert not is_own_process(MAX_PID)


def test_process_handle_of_another_user_is_refused(strangers_process):
    assert ProcessHandle.open(strangers_process.pid, read_start_time(strangers_process.pid)) is None


def test_has_file_open_finds_the_opener(sleeper, tmp_path):
    path = tmp_path / "lock"
    path.touch()
    assert not has_file_open(os.getpid(), path)
    with path.open():
        assert has_file_open(os.getpid(), path)
        assert not has_file_open(sleeper.pid, path)
        path.unlink()
        assert not has_file_open(os.getpid(), path)
        path.touch()
        assert not has_file_open(os.getpid(), path)


def test_has_file_open_ended_process(tmp_path):
    assert not has_file_open(MAX_PID, tmp_path)
