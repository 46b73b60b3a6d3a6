"""The next server logs the crash of the previous one, even if a client removed its files."""

import logging

import pytest

from agent_brain_server.locking import StateLock, cleanup_stale, log_crash, record_crash
from agent_brain_server.storage_paths import crash_path, lock_path, runtime_path

RUNTIME = """{"mode": "project", "instance_id": "ds_1", "pid": 4711, "started_at": "2026-01-02T03:04:05+00:00",
"version": "0.0.9", "token": "secret"}"""
POINTER = """{"mode": "shared", "project_root": "/x", "project_id": "p_00000000", "base_url": "http://127.0.0.1:1"}"""


@pytest.fixture
def messages():
    """Capture the warnings of the module."""
    collected = []
    handler = logging.Handler()
    handler.emit = lambda record: collected.append(record.getMessage())
    logger = logging.getLogger("agent_brain_server.locking")
    logger.addHandler(handler)
    yield collected
    logger.removeHandler(handler)


def test_log_crash_reports_process_once(tmp_path, messages):
    runtime_path(tmp_path).write_text(RUNTIME)
    record_crash(tmp_path, (4711, "99"))
    assert "secret" not in crash_path(tmp_path).read_text()
    log_crash(tmp_path)
    log_crash(tmp_path)
    (message,) = messages
    assert "pid 4711, started 2026-01-02T03:04:05+00:00, version 0.0.9" in message
    assert not crash_path(tmp_path).exists()


def test_crash_before_runtime_file_is_recorded(tmp_path, messages):
    lock_path(tmp_path).write_text("4712 99\n")
    assert cleanup_stale(tmp_path)
    assert not lock_path(tmp_path).exists()
    log_crash(tmp_path)
    assert "pid 4712" in messages[0]


@pytest.mark.parametrize("runtime", [None, POINTER, "torn {"])
def test_regular_shutdown_is_not_a_crash(tmp_path, messages, runtime):
    lock = StateLock(tmp_path)
    assert lock.acquire()
    lock.release()
    if runtime is not None:
        runtime_path(tmp_path).write_text(runtime)
    assert cleanup_stale(tmp_path)
    log_crash(tmp_path)
    assert messages == []


@pytest.mark.parametrize("content", ["torn {", "[]", '{"pid": ["x"], "started_at": 3}'])
def test_log_crash_damaged_record_is_ignored(tmp_path, messages, content):
    crash_path(tmp_path).write_text(content)
    log_crash(tmp_path)
    assert len(messages) == 1
