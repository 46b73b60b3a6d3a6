"""The lock of a state directory decides whether a server runs, whatever its files contain."""

import os
import signal
import subprocess
import sys
import time

import pytest

from agent_brain_server.errors import StateDirError
from agent_brain_server.locking import (
    StateLock,
    acquire_lock,
    cleanup_stale,
    is_stale,
    read_holder,
    read_pid,
    release_lock,
)
from agent_brain_server.storage_paths import crash_path, lock_path, pid_path, runtime_path
from agent_brain_server.support.processes import read_start_time

HOLD = """
import sys, time
from pathlib import Path
from agent_brain_server.locking import acquire_lock
print(acquire_lock(Path(sys.argv[1])), flush=True)
time.sleep(60)
"""

# acquires and releases until the deadline; while holding it, creates a file that must not exist
RACE = """
import os, sys, time
from pathlib import Path
from agent_brain_server.locking import StateLock
state_dir = Path(sys.argv[1])
inside = state_dir / "inside"
deadline = time.monotonic() + float(sys.argv[2])
taken = doubled = 0
lock = StateLock(state_dir)
while time.monotonic() < deadline:
    if lock.acquire():
        taken += 1
        try:
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            doubled += 1
        else:
            os.unlink(inside)
        lock.release()
print(taken, doubled)
"""


@pytest.fixture
def state_dir(tmp_path):
    directory = tmp_path / "Zustand ü"
    directory.mkdir()
    return directory


@pytest.fixture
def holder(state_dir):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(state_dir)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_acquire_lock_records_pid_and_release_removes_it(state_dir):
    assert acquire_lock(state_dir)
    assert read_pid(state_dir) == os.getpid()
    assert read_holder(state_dir) == (os.getpid(), read_start_time(os.getpid()))
    release_lock(state_dir)
    assert list(state_dir.iterdir()) == []


def test_acquire_lock_twice_in_one_process_is_refused(state_dir):
    assert acquire_lock(state_dir)
    assert not acquire_lock(state_dir)
    release_lock(state_dir)
    assert acquire_lock(state_dir)
    release_lock(state_dir)


@pytest.mark.process
def test_release_lock_not_held_changes_nothing(state_dir, holder):
    release_lock(state_dir)
    assert not acquire_lock(state_dir)


@pytest.mark.process
def test_is_stale_running_holder_keeps_its_files(state_dir, holder):
    runtime_path(state_dir).write_text("{}")
    assert not is_stale(state_dir)
    assert not cleanup_stale(state_dir)
    assert runtime_path(state_dir).exists()
    assert read_pid(state_dir) == holder.pid


@pytest.mark.process
def test_is_stale_suspended_holder_is_not(state_dir, holder):
    os.kill(holder.pid, signal.SIGSTOP)
    assert not is_stale(state_dir)
    assert not cleanup_stale(state_dir)


@pytest.mark.process
def test_cleanup_stale_removes_files_of_killed_holder(state_dir, holder):
    runtime_path(state_dir).write_text("{}")
    holder.kill()
    holder.wait()
    assert is_stale(state_dir)
    assert lock_path(state_dir).exists()
    assert cleanup_stale(state_dir)
    assert list(state_dir.iterdir()) == [crash_path(state_dir)]


def test_cleanup_stale_removes_temporary_files(state_dir):
    (state_dir / ".runtime.json.abc.tmp").touch()
    lock_path(state_dir).touch()
    assert cleanup_stale(state_dir)
    assert list(state_dir.iterdir()) == []


def test_is_stale_ignores_pid_of_another_process(state_dir):
    lock_path(state_dir).touch()
    pid_path(state_dir).write_text(f"{os.getppid()}\n")
    assert is_stale(state_dir)
    assert cleanup_stale(state_dir)
    assert list(state_dir.iterdir()) == []


def test_cleanup_stale_empty_directory_stays_empty(state_dir):
    assert is_stale(state_dir)
    assert cleanup_stale(state_dir)
    assert list(state_dir.iterdir()) == []


def test_acquire_patience_outlasts_a_probe(state_dir):
    looker = StateLock(state_dir)
    assert looker.acquire(record_pid=False)
    began = time.monotonic()
    assert not StateLock(state_dir).acquire(patience_s=0.05)
    assert time.monotonic() - began >= 0.05
    looker.release()
    with StateLock(state_dir) as lock:
        assert lock.is_intact()


def test_release_after_file_removal_keeps_successor(state_dir):
    first, second = StateLock(state_dir), StateLock(state_dir)
    assert first.acquire()
    assert first.is_intact()
    lock_path(state_dir).unlink()
    assert not first.is_intact()
    assert second.acquire()
    first.release()
    assert second.is_intact()
    assert read_pid(state_dir) == os.getpid()
    second.release()


def test_child_process_does_not_inherit_the_lock(state_dir):
    lock = StateLock(state_dir)
    assert lock.acquire()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    try:
        lock.release()
        assert acquire_lock(state_dir)
        release_lock(state_dir)
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("content", [b"", b"x", b"-1", b"0", b"99999999999999", b"\xff\xfe", b"1.5", b"\xc2\xb2"])
def test_read_pid_invalid_content_is_none(state_dir, content):
    pid_path(state_dir).write_bytes(content)
    lock_path(state_dir).write_bytes(content + b" 1")
    assert read_pid(state_dir) is None
    assert read_holder(state_dir) is None


def test_acquire_lock_symlink_is_refused(state_dir, tmp_path):
    lock_path(state_dir).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateDirError, match="symbolic link"):
        acquire_lock(state_dir)
    assert not (tmp_path / "elsewhere").exists()


def test_acquire_lock_missing_directory_is_named(tmp_path):
    with pytest.raises(StateDirError, match="missing"):
        acquire_lock(tmp_path / "missing")


@pytest.mark.process
def test_acquire_six_processes_never_hold_it_together(state_dir):
    seconds = "2"
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, str(state_dir), seconds], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    counts = [tuple(map(int, racer.communicate(timeout=30)[0].split())) for racer in racers]
    assert sum(doubled for _, doubled in counts) == 0
    assert sum(taken for taken, _ in counts) > 20
    assert list(state_dir.iterdir()) == []
