"""A project's server from start to end, with real processes: every promise that a client relies on."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from agent_brain_server.discovery import discover, discover_or_start, request_json
from agent_brain_server.errors import (
    ConfigError,
    DeadlineError,
    NotRunningError,
    PortInUseError,
    StartError,
    StateDirError,
)
from agent_brain_server.lifecycle.control import start_server, stop_server
from agent_brain_server.lifecycle.registry import entries
from agent_brain_server.locking import is_stale, read_pid
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import read_runtime, write_runtime
from agent_brain_server.storage_paths import (
    config_path,
    lock_path,
    pid_path,
    resolve_state_dir,
    runtime_path,
)

STARTER = """
import sys
import tempfile
from pathlib import Path
from agent_brain_server.discovery import discover_or_start
print(discover_or_start(Path(sys.argv[1])).instance_id)
"""

PROC = Path(os.environ.get("AGENT_BRAIN_TEST_PROC", "/proc"))
NOBODY_UID = 65534
WAIT_LIMIT_S = 600.0


def find_servers(root):
    """Pids of all server processes of a project."""
    pids = []
    for directory in PROC.iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                command = (directory / "cmdline").read_bytes().split(b"\0")
                if b"agent_brain_server" in command and os.fsencode(root) in command:
                    pids.append(int(directory.name))
    return pids


def end_all(root):
    for pid in find_servers(root):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_until(condition, limit_s=WAIT_LIMIT_S):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "Heim ü"))


@pytest.fixture
def project(tmp_path):
    root = (tmp_path / "Projekt mit Ä").resolve()
    root.mkdir()
    yield root
    end_all(root)


@pytest.fixture
def other_project(tmp_path):
    root = (tmp_path / "zweites").resolve()
    root.mkdir()
    yield root
    end_all(root)


@pytest.fixture
def state_dir(project):
    return resolve_state_dir(project)


def remains(state_dir):
    return [path.name for path in (runtime_path(state_dir), lock_path(state_dir), pid_path(state_dir)) if path.exists()]


def can_connect(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_start_then_stop_leaves_nothing(project, state_dir):
    result = start_server(project)
    state = result.state
    assert result.started
    assert read_runtime(state_dir) == state
    assert state.project_root == str(project)
    assert state.project_id == generate_project_id(project)
    assert state.instance_id.startswith("ds_")
    assert state.base_url == f"http://127.0.0.1:{state.port}"
    assert read_pid(state_dir) == state.pid
    assert find_servers(project) == [state.pid]
    assert not is_stale(state_dir)
    assert request_json(state, "GET", "/health")["instance_id"] == state.instance_id
    assert [entry.state_dir for entry in entries()] == [state_dir]
    stopped = stop_server(state_dir)
    assert (stopped.stopped, stopped.forced, stopped.pid) == (True, False, state.pid)
    assert remains(state_dir) == []
    assert find_servers(project) == []
    assert not can_connect(state.port)
    with pytest.raises(NotRunningError):
        request_json(state, "GET", "/health")
    with pytest.raises(ChildProcessError):  # and no zombie of ours either
        os.waitpid(-1, os.WNOHANG)


def test_start_twice_returns_same_server(project):
    first = start_server(project)
    second = start_server(project)
    assert second.state == first.state
    assert not second.started


def test_stop_without_server_reports_not_stopped(project, state_dir):
    assert not stop_server(state_dir).stopped


def test_server_outlives_starter_with_captured_output(project):
    # returns only when no process holds the pipe, so the server must have closed it
    answer = subprocess.run([sys.executable, "-c", STARTER, str(project)], capture_output=True, text=True, timeout=60)
    state = discover(project)
    assert state is not None
    assert answer.stdout == f"{state.instance_id}\n"
    assert os.getsid(state.pid) != os.getsid(0)
    assert os.readlink(PROC / str(state.pid) / "cwd") == "/"


def test_two_projects_have_two_servers(project, other_project):
    one, two = start_server(project).state, start_server(other_project).state
    assert one.port != two.port
    stop_server(resolve_state_dir(project))
    assert discover(project) is None
    assert discover(other_project) == two


def test_simultaneous_starters_get_one_server(project, state_dir):
    starters = [
        subprocess.Popen([sys.executable, "-c", STARTER, str(project)], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    answers = {starter.communicate(timeout=60)[0] for starter in starters}
    state = read_runtime(state_dir)
    assert state is not None
    assert answers == {f"{state.instance_id}\n"}
    assert find_servers(project) == [state.pid]
    stop_server(state_dir)
    assert find_servers(project) == []


def test_start_after_kill_succeeds(project, state_dir):
    first = start_server(project).state
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not find_servers(project))
    assert remains(state_dir) == ["runtime.json", "Agent Brain.lock", "Agent Brain.pid"]
    second = start_server(project)
    assert second.started
    assert second.state.instance_id != first.instance_id


def test_discover_after_kill_finds_none_and_cleans_up(project, state_dir):
    state = start_server(project).state
    os.kill(state.pid, signal.SIGKILL)
    wait_until(lambda: is_stale(state_dir))
    assert discover(project) is None
    # the kernel drops a dead process's lock a moment after it has dropped its command line
    wait_until(lambda: discover(project) is None and remains(state_dir) == [])


def test_stop_with_foreign_pid_spares_the_process(project, state_dir):
    state = start_server(project).state
    lock_text = lock_path(state_dir).read_text()
    stop_server(state_dir)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        write_runtime(state_dir, state.model_copy(update={"pid": stranger.pid}))
        pid_path(state_dir).write_text(f"{stranger.pid}\n")
        lock_path(state_dir).write_text(lock_text.replace(str(state.pid), str(stranger.pid), 1))
        assert discover(project) is None
        write_runtime(state_dir, state.model_copy(update={"pid": stranger.pid}))
        assert not stop_server(state_dir).stopped
        assert stranger.poll() is None
        assert start_server(project).started
    finally:
        stranger.kill()
        stranger.wait()


def test_stop_with_unproven_lock_holder_sends_no_signal(project, state_dir):
    state = start_server(project).state
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    os.kill(state.pid, signal.SIGSTOP)  # a running server rewrites the lock file
    try:
        lock_path(state_dir).write_text(f"{stranger.pid} 1\n")
        with pytest.raises(DeadlineError, match="cannot be proven"):
            stop_server(state_dir, timeout_s=0.3, force=True)
        assert stranger.poll() is None
        assert find_servers(project) == [state.pid]
    finally:
        os.kill(state.pid, signal.SIGCONT)
        stranger.kill()
        stranger.wait()


def test_discover_other_project_on_port_finds_none(project, other_project, state_dir):
    ours, other = start_server(project).state, start_server(other_project).state
    write_runtime(state_dir, ours.model_copy(update={"port": other.port, "base_url": other.base_url}))
    assert discover(project) in (None, ours)  # ours once the server has rewritten its file
    assert discover(other_project) == other
    # the server runs, so its files stay
    assert remains(state_dir) == ["runtime.json", "Agent Brain.lock", "Agent Brain.pid"]


def test_start_with_torn_runtime_file_finds_server(project, state_dir):
    state = start_server(project).state
    runtime_path(state_dir).write_text('{"schema_version": 1, "mode"')
    assert discover(project) in (None, state)
    assert start_server(project).state == state  # waits until the server has rewritten its file
    assert find_servers(project) == [state.pid]
    assert stop_server(state_dir).stopped


def test_suspended_server_is_not_treated_as_dead(project, state_dir):
    state = start_server(project).state
    os.kill(state.pid, signal.SIGSTOP)
    try:
        assert discover(project) is None
        with pytest.raises(DeadlineError, match=f"process {state.pid}") as caught:
            start_server(project, timeout_s=0.5)
        assert caught.value.exit_code == 6
        assert find_servers(project) == [state.pid]
        assert remains(state_dir) == ["runtime.json", "Agent Brain.lock", "Agent Brain.pid"]
    finally:
        os.kill(state.pid, signal.SIGCONT)
    assert discover(project) == state


def test_stop_hung_server_kills_only_with_force(project, state_dir):
    state = start_server(project).state
    os.kill(state.pid, signal.SIGSTOP)
    with pytest.raises(DeadlineError):
        stop_server(state_dir, timeout_s=0.3)
    assert find_servers(project) == [state.pid]
    result = stop_server(state_dir, timeout_s=0.3, force=True)
    assert result.forced
    assert find_servers(project) == []
    assert remains(state_dir) == []


def test_start_stop_repeatedly_needs_no_pause(project, state_dir):
    seen = set()
    for _ in range(5):
        state = start_server(project).state
        assert discover(project) == state
        seen.add(state.instance_id)
        assert stop_server(state_dir).stopped
        assert discover(project) is None
        assert remains(state_dir) == []
    assert len(seen) == 5


def test_repeated_sigterm_still_stops_cleanly(project, state_dir):
    state = start_server(project).state
    for _ in range(20):
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)
        time.sleep(0.01)
    wait_until(lambda: not find_servers(project))
    assert remains(state_dir) == []
    assert "Finished server process" in (state_dir / "logs" / "server.log").read_text()


def test_start_on_taken_port_is_refused(project, state_dir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(port)) as caught:
            start_server(project, overrides={"port": port})
    assert "server.log" in caught.value.__notes__[0]
    assert f"Port {port}" in caught.value.__notes__[0]
    assert remains(state_dir) == []


def test_start_on_port_of_stopped_server_succeeds(project, state_dir):
    port = start_server(project).state.port
    for _ in range(3):
        stop_server(state_dir)
        assert start_server(project, overrides={"port": port}).state.port == port


def test_start_with_unknown_setting_is_refused(project, state_dir):
    state_dir.mkdir(parents=True)
    config_path(state_dir).write_text('{"prot": 1}')
    with pytest.raises(ConfigError, match="config.json.*Did you mean") as caught:
        start_server(project)
    assert "Settings are" in caught.value.hint
    assert remains(state_dir) == []


def test_start_in_missing_directory_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not a directory"):
        start_server(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_start_reports_output_of_dead_server(project, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import os\nos.write(2, b'boom from below\\n')\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(StartError, match="ended before it was ready") as caught:
        start_server(project)
    assert "boom from below" in caught.value.__notes__[0]


def test_start_with_state_dir_of_other_project_is_refused(project, other_project, tmp_path):
    shared = tmp_path / "state"
    state = start_server(project, state_dir=shared).state
    assert discover(other_project, state_dir=shared) is None
    with pytest.raises(StateDirError, match=f"belongs to the project {project}") as caught:
        start_server(other_project, state_dir=shared)
    assert caught.value.code == "state_dir_in_use"
    assert "unset DOC_SERVE_STATE_DIR" in caught.value.hint
    assert discover(project, state_dir=shared) == state


def test_start_with_state_dir_of_stopped_project_is_refused(project, other_project, tmp_path, monkeypatch):
    shared = tmp_path / "state"
    monkeypatch.setenv("DOC_SERVE_STATE_DIR", str(shared))
    start_server(project)
    stop_server(shared)
    with pytest.raises(StateDirError, match="belongs to the project"):
        start_server(other_project)
    refused = subprocess.run(
        [sys.executable, "-m", "agent_brain_server", "--project-root", other_project, "--state-dir", shared],
        capture_output=True,
        text=True,
        timeout=WAIT_LIMIT_S,
        check=False,
    )
    assert refused.returncode == StateDirError.exit_code
    assert str(project) in refused.stderr
    assert start_server(project).started


def test_start_of_moved_project_keeps_its_state_dir(project, other_project, tmp_path):
    shared = tmp_path / "state"
    start_server(project, state_dir=shared)
    stop_server(shared)
    other_project.rmdir()
    project.rename(other_project)
    assert start_server(other_project, state_dir=shared).state.project_root == str(other_project)


def test_idle_server_ends_only_if_an_agent_started_it(project, other_project, state_dir, monkeypatch):
    monkeypatch.setenv("AGENT_BRAIN_IDLE_STOP_SECONDS", "1")
    persons = start_server(other_project).state
    discover_or_start(project)
    wait_until(lambda: not find_servers(project))
    assert remains(state_dir) == []
    assert "no request for" in (state_dir / "logs" / "server.log").read_text()
    assert discover(other_project) == persons


def test_server_ends_after_state_dir_removed(project, state_dir):
    first = start_server(project).state
    state_dir.rename(project / "moved away")
    second = start_server(project)
    assert second.started
    wait_until(lambda: find_servers(project) == [second.state.pid])
    assert first.pid != second.state.pid
    assert discover(project) == second.state
    assert read_pid(state_dir) == second.state.pid


def test_log_keeps_lines_of_previous_run(project, state_dir):
    first = start_server(project).state
    stop_server(state_dir)
    second = start_server(project).state
    lines = [json.loads(line) for line in (state_dir / "logs" / "server.log").read_text().splitlines()]
    served = [line["message"] for line in lines if line["message"].startswith("Serving")]
    assert [first.base_url in served[0], second.base_url in served[1]] == [True, True]
    assert all(token not in json.dumps(lines) for token in (first.token, second.token))


def test_server_listens_on_loopback_only(project):
    state = start_server(project).state
    connection = http.client.HTTPConnection("127.0.0.1", state.port)
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()
    listeners = (PROC / "net/tcp").read_text()
    assert f"0100007F:{state.port:04X}" in listeners
    assert f"00000000:{state.port:04X}" not in listeners


def test_foreground_prints_address_and_ends_on_ctrl_c(project, state_dir):
    command = [sys.executable, "-m", "agent_brain_server", "--project-root", str(project)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    state = discover(project)
    assert state is not None
    assert state.base_url in line
    again = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_LIMIT_S)
    assert again.returncode == 1
    assert state.base_url in again.stderr
    assert f"pid {state.pid}" in again.stderr
    server.send_signal(signal.SIGINT)
    output, errors = server.communicate(timeout=WAIT_LIMIT_S)
    assert (server.returncode, output, errors) == (0, "", "")
    assert remains(state_dir) == []


def test_foreground_failure_is_two_lines_and_exit_code(project):
    command = [sys.executable, "-m", "agent_brain_server", "--project-root", str(project), "--port", "99999"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_LIMIT_S)
    assert answer.returncode == ConfigError.exit_code
    assert len(answer.stderr.splitlines()) == 2
    assert "99999" in answer.stderr


HOLD_WITH_CHILD = """
import socket, subprocess, sys, time
from pathlib import Path
from agent_brain_server.__main__ import bind_socket
from agent_brain_server.locking import acquire_lock
assert acquire_lock(Path(sys.argv[1]))
sock = bind_socket("127.0.0.1", 0)
sock.listen()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
print(sock.getsockname()[1], child.pid, flush=True)
time.sleep(60)
"""


def test_child_of_killed_server_holds_no_lock_or_port(tmp_path):
    server = subprocess.Popen([sys.executable, "-c", HOLD_WITH_CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port, child = map(int, server.stdout.readline().split())
    try:
        assert can_connect(port)
        assert not is_stale(tmp_path)
        server.kill()
        server.wait()
        os.kill(child, 0)
        assert is_stale(tmp_path)
        assert not can_connect(port)
    finally:
        os.kill(child, signal.SIGKILL)
        server.stdout.close()


def tell_as_nobody(function):
    """Run `function` in a child process as another user, and return what it raises as text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        text = "nothing"
        try:
            os.setgroups([])
            os.setgid(NOBODY_UID)
            os.setuid(NOBODY_UID)
            function()
        except BaseException as exc:  # noqa: BLE001 - reported to the parent
            text = f"{type(exc).__name__}: {exc}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_server_is_invisible_to_another_user(monkeypatch):
    # pytest's directories are private
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        root.chmod(0o755)
        state = start_server(root).state
        try:
            place = resolve_state_dir(root)
            (root / ".claude").chmod(0o755)
            for action in (lambda: discover(root), lambda: stop_server(place), lambda: start_server(root)):
                told = tell_as_nobody(action)
                assert told.startswith(("StateDirError", "UnsafePathError"))
                assert "Permission denied" in told or "another user" in told
            assert discover(root) == state
        finally:
            stop_server(resolve_state_dir(root), force=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_start_in_read_only_project_is_refused():
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        root.chmod(0o755)
        assert tell_as_nobody(lambda: start_server(root)).startswith("StateDirError: The directory")
        assert tell_as_nobody(lambda: discover(root)) == "nothing"
