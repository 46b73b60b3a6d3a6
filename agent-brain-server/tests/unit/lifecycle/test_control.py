"""Start a server while a process that does not answer holds the lock."""

import os
import socket
import time

import pytest

from agent_brain_server.errors import ConfigError, DeadlineError
from agent_brain_server.lifecycle.control import start_daemon, start_server
from agent_brain_server.locking import StateLock
from agent_brain_server.runtime import RuntimeState, write_runtime
from agent_brain_server.storage_paths import brain_home, prepare_state_dir, resolve_state_dir
from agent_brain_server.support.processes import read_start_time


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    root = (tmp_path / "project").resolve()
    root.mkdir()
    return root


@pytest.fixture
def silent_port():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent.getsockname()[1]


def describe_silent_server(port, **facts):
    pid = os.getpid()
    return RuntimeState(
        instance_id="ds_012345", base_url=f"http://127.0.0.1:{port}", bind_host="127.0.0.1", port=port, pid=pid,
        pid_started_at=read_start_time(pid), started_at="2026-01-02T03:04:05+00:00", **facts,
    )  # fmt: skip


@pytest.mark.parametrize("timeout_s", [0.3, 3.0])
def test_start_server_silent_server_exceeds_deadline(project, silent_port, timeout_s):
    state_dir = resolve_state_dir(project)
    prepare_state_dir(state_dir)
    write_runtime(state_dir, describe_silent_server(silent_port, mode="project", project_root=str(project)))
    began = time.monotonic()
    with StateLock(state_dir), pytest.raises(DeadlineError, match=f"The server of .*process {os.getpid()}") as caught:
        start_server(project, timeout_s=timeout_s)
    assert time.monotonic() - began >= timeout_s
    assert caught.value.hint.endswith("agent-brain stop --force")


def test_start_daemon_silent_daemon_hint_names_command(project, silent_port):
    prepare_state_dir(brain_home())
    write_runtime(brain_home(), describe_silent_server(silent_port, mode="shared"))
    with StateLock(brain_home()), pytest.raises(DeadlineError, match="The shared daemon is running") as caught:
        start_daemon(timeout_s=0.2)
    assert caught.value.hint.endswith("agent-brain stop --mode shared --force")


@pytest.mark.parametrize("mode", ["project", "shared"])
def test_start_server_silent_timeout_is_shorter(project, silent_port, mode):
    state_dir = resolve_state_dir(project) if mode == "project" else brain_home()
    prepare_state_dir(state_dir)
    root = str(project) if mode == "project" else None
    write_runtime(state_dir, describe_silent_server(silent_port, mode=mode, project_root=root))
    limits = {"timeout_s": 3_600, "silent_timeout_s": 0.2}
    with StateLock(state_dir), pytest.raises(DeadlineError, match=f"process {os.getpid()}") as caught:
        start_server(project, **limits) if mode == "project" else start_daemon(**limits)
    assert "stop" in caught.value.hint


def test_start_server_root_not_a_directory(project):
    with pytest.raises(ConfigError, match="not a directory"):
        start_server(project / "missing")
