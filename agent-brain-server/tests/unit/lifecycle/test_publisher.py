"""The publisher rewrites damaged or removed files until the server withdraws."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent_brain_server.lifecycle import registry
from agent_brain_server.lifecycle.publisher import RuntimePublisher
from agent_brain_server.lifecycle.registry import RegistryEntry
from agent_brain_server.locking import StateLock, read_holder, read_pid
from agent_brain_server.runtime import RuntimeState, read_runtime
from agent_brain_server.storage_paths import lock_path, pid_path, prepare_state_dir, registry_path, runtime_path
from agent_brain_server.support.processes import read_start_time

WAIT_LIMIT_S = 600.0


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    state_dir = tmp_path / "state"
    prepare_state_dir(state_dir)
    return state_dir


@pytest.fixture
def lock(state_dir: Path) -> Iterator[StateLock]:
    with StateLock(state_dir) as lock:
        yield lock


@pytest.fixture
def state(tmp_path: Path) -> RuntimeState:
    pid = os.getpid()
    return RuntimeState(
        mode="project", project_root=str(tmp_path), instance_id="ds_012345", base_url="http://127.0.0.1:4321",
        bind_host="127.0.0.1", port=4321, pid=pid, pid_started_at=read_start_time(pid),
        started_at="2026-01-02T03:04:05+00:00",
    )  # fmt: skip


@pytest.fixture
def publisher(state_dir: Path, state: RuntimeState, lock: StateLock, tmp_path: Path) -> RuntimePublisher:
    publisher = RuntimePublisher(state_dir, state, lock)
    publisher.publish()
    registry.register(tmp_path, state_dir)
    return publisher


def tick_until(publisher: RuntimePublisher, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        publisher.tick()
        time.sleep(0.01)


@pytest.mark.parametrize("text", ["", "{", "null", '{"schema_version": 3}', '{"schema_version": 1, "port": 1}', None])
def test_tick_rewrites_damaged_runtime_file(publisher, state_dir, state, text):
    runtime_path(state_dir).unlink() if text is None else runtime_path(state_dir).write_text(text)
    tick_until(
        publisher, lambda: runtime_path(state_dir).exists() and '"ds_012345"' in runtime_path(state_dir).read_text()
    )
    assert read_runtime(state_dir) == state


@pytest.mark.parametrize("find", [lock_path, pid_path])
def test_tick_rewrites_holder_and_pid(publisher, state_dir, lock, find):
    pid = os.getpid()
    find(state_dir).write_text("1 7\n")
    tick_until(publisher, lambda: (read_pid(state_dir), read_holder(state_dir)) == (pid, (pid, read_start_time(pid))))
    assert lock.is_intact()


def test_tick_repairs_damaged_registry(publisher, state_dir, tmp_path):
    publisher.tick()
    registry_path().write_text("torn")
    tick_until(publisher, lambda: registry.entries() == [RegistryEntry(tmp_path, state_dir)])


def test_tick_does_not_create_removed_home(publisher, state_dir):
    shutil.rmtree(registry_path().parent)
    for _ in range(3):
        publisher.tick()
        time.sleep(0.05)
    assert not registry_path().parent.exists()


def test_tick_rewrites_deleted_registry(publisher, state_dir, tmp_path):
    publisher.tick()
    registry_path().unlink()
    tick_until(publisher, lambda: registry.entries() == [RegistryEntry(tmp_path, state_dir)])


def test_tick_valid_files_are_not_written(publisher, state_dir):
    before = runtime_path(state_dir).stat(), registry_path().stat().st_mtime_ns
    for _ in range(3):
        publisher.tick()
        time.sleep(0.05)
    after = runtime_path(state_dir).stat(), registry_path().stat().st_mtime_ns
    assert [found.st_ino for found in (before[0], after[0])] == [before[0].st_ino] * 2
    assert before[1] == after[1]


def test_tick_after_withdraw_writes_nothing(publisher, state_dir):
    runtime_path(state_dir).write_text("torn")
    publisher.tick()
    publisher.withdraw()
    for _ in range(3):
        publisher.tick()
        time.sleep(0.05)
    assert not runtime_path(state_dir).exists()


def test_withdraw_keeps_file_of_successor(publisher, state_dir):
    lock_path(state_dir).unlink()
    publisher.withdraw()
    assert runtime_path(state_dir).exists()


def test_tick_write_failure_is_logged_once(publisher, state_dir, caplog):
    runtime_path(state_dir).unlink()
    runtime_path(state_dir).mkdir()
    tick_until(publisher, lambda: "cannot find the server" in caplog.text)
    for _ in range(3):
        publisher.tick()
        time.sleep(0.05)
    assert caplog.text.count("cannot find the server") == 1
