"""Lifecycle of the shared daemon, with real processes: it keeps the same promises as a project's server."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from agent_brain_server.config.settings import write_project_config
from agent_brain_server.discovery import discover, discover_or_start, request_json
from agent_brain_server.errors import DeadlineError, StateDirError
from agent_brain_server.lifecycle.control import start_daemon, start_server, stop_daemon, stop_server
from agent_brain_server.locking import is_stale
from agent_brain_server.runtime import read_pointer, write_runtime
from agent_brain_server.shared.daemon import find_daemon, register_project
from agent_brain_server.storage_paths import brain_home, default_state_dir, lock_path, pid_path, runtime_path
from agent_brain_server.support.processes import is_same_process

WAIT_LIMIT_S = 600.0
FILES = 400


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Set up a home whose daemon uses any free port, and stop the daemon afterwards."""
    for name in [name for name in os.environ if name.startswith(("AGENT_BRAIN_", "DOC_SERVE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "Heim ü"))
    brain_home().mkdir()
    (brain_home() / "shared_config.json").write_text('{"port": 0}')
    yield brain_home()
    with contextlib.suppress(DeadlineError, StateDirError):
        stop_daemon(force=True, timeout_s=60)


@pytest.fixture
def project(tmp_path):
    """Return a project in shared mode that takes some seconds to index."""
    root = (tmp_path / "Projekt ä").resolve()
    (root / "src").mkdir(parents=True)
    for number in range(FILES):
        (root / f"src/part_{number}.py").write_text(f"def handler_{number}(value):\n    return value + {number}\n")
    write_project_config(default_state_dir(root), mode="shared")
    return root


def wait_until(condition, limit_s=WAIT_LIMIT_S):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_ended(state):
    return not is_same_process(state.pid, state.pid_started_at)


def test_daemon_start_listens_on_configured_address(home):
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    (home / "shared_config.json").write_text(f'{{"port": {port}}}')
    state = start_daemon().state
    assert (state.port, state.base_url, state.mode) == (port, f"http://127.0.0.1:{port}", "shared")
    assert find_daemon() == state


def test_daemon_stop_with_foreign_pid_spares_the_process():
    state = start_daemon().state
    lock_text = lock_path(brain_home()).read_text()
    stop_daemon()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        for _ in range(3):
            write_runtime(brain_home(), state.model_copy(update={"pid": stranger.pid}))
            pid_path(brain_home()).write_text(f"{stranger.pid}\n")
            lock_path(brain_home()).write_text(lock_text.replace(str(state.pid), str(stranger.pid), 1))
            assert not stop_daemon(force=True).stopped
        write_runtime(brain_home(), state.model_copy(update={"pid": stranger.pid}))
        assert find_daemon() is None
        assert start_daemon().started
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_daemon_idle_stops_only_if_an_agent_started_it(project, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_IDLE_STOP_SECONDS", "1")
    agents = discover_or_start(project)
    assert read_pointer(default_state_dir(project)) is not None
    wait_until(lambda: has_ended(agents))
    assert not any(path(brain_home()).exists() for path in (runtime_path, lock_path, pid_path))
    assert read_pointer(default_state_dir(project)) is None
    persons = start_daemon(started_by="user").state
    time.sleep(2.5)
    assert find_daemon() == persons


def test_daemon_idle_during_job_keeps_running(project, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_IDLE_STOP_SECONDS", "1")
    state = discover_or_start(project)
    request_json(state, "POST", "/index", {"folder_path": ".", "project_id": state.project_id})
    wait_until(lambda: has_ended(state))
    again = discover_or_start(project)
    status = request_json(again, "GET", f"/health/status?project_id={again.project_id}")
    assert (status["total_documents"], status["vector_coverage"], status["last_job"]["state"]) == (FILES, 1.0, "done")


def test_daemon_start_after_kill_serves_the_index(project):
    first = discover_or_start(project)
    job = request_json(first, "POST", "/index", {"folder_path": ".", "project_id": first.project_id})
    path = f"/index/jobs/{job['job_id']}?project_id={first.project_id}"
    wait_until(lambda: request_json(first, "GET", path)["progress"]["keywords_ready"])
    for _ in range(3):
        os.kill(discover_or_start(project).pid, signal.SIGKILL)
    wait_until(lambda: is_stale(brain_home()))
    began = time.monotonic()
    state = discover_or_start(project)
    print(f"started in {time.monotonic() - began:.2f} s after kill -9")
    answer = request_json(state, "POST", "/query", {"query": "handler_7", "project_id": state.project_id})
    assert answer["results"][0]["source"] == "src/part_7.py"


def test_daemon_ends_after_home_removed_spares_successor(project, home):
    orphan = discover_or_start(project)
    shutil.rmtree(home)
    home.mkdir()
    (home / "shared_config.json").write_text('{"port": 0}')
    assert discover(project) is None
    successor = discover_or_start(project)
    assert successor.instance_id != orphan.instance_id
    wait_until(lambda: has_ended(orphan))
    assert discover(project) == successor
    pointer = read_pointer(default_state_dir(project))
    assert pointer is not None
    assert pointer.base_url == successor.base_url


def test_daemon_start_with_file_as_home_is_refused(project, home):
    shutil.rmtree(home)
    home.write_text("in the way")
    with pytest.raises(StateDirError, match="(?i)not a directory"):
        start_daemon()
    with pytest.raises(StateDirError, match="(?i)not a directory"):
        discover_or_start(project)


def test_discover_rewrites_missing_pointer(project):
    daemon = discover_or_start(project)
    own = start_server(project).state
    assert discover_or_start(project) == own
    stop_server(default_state_dir(project))
    assert discover(project) == daemon
    assert read_pointer(default_state_dir(project)) is None  # `discover` writes nothing
    assert discover_or_start(project) == daemon
    assert read_pointer(default_state_dir(project)) is not None


def test_discover_finds_manually_registered_project(project, tmp_path):
    (default_state_dir(project) / "config.json").unlink()
    daemon = start_daemon().state
    assert discover(project) is None
    registered = register_project(daemon, project, default_state_dir(project))
    assert discover(project) == registered == discover_or_start(project)


@pytest.mark.parametrize("text", [b"", b'{"mode": "sh', b'{"schema_version": 3}', b"\xff" * 64])
def test_discover_or_start_rewrites_damaged_pointer(project, text):
    state_dir = default_state_dir(project)
    state = discover_or_start(project)
    pointer = read_pointer(state_dir)
    runtime_path(state_dir).write_bytes(text)
    assert discover_or_start(project) == state
    assert read_pointer(state_dir) == pointer
