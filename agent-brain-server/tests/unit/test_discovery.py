"""Find the server of a project and reject everything that is not it."""

import asyncio
import os
import socket
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_brain_server.config.settings import write_project_config
from agent_brain_server.discovery import Resolution, discover, discover_async, discover_or_start, resolve_server
from agent_brain_server.errors import ConfigError, DaemonNotRunningError, NotRunningError, UnknownSchemaError
from agent_brain_server.lifecycle.control import stop_server
from agent_brain_server.locking import StateLock
from agent_brain_server.project_root import generate_project_id, locate_project
from agent_brain_server.runtime import RuntimeState, SharedPointer, write_pointer, write_runtime
from agent_brain_server.storage_paths import brain_home, prepare_state_dir, resolve_state_dir, runtime_path
from agent_brain_server.support.processes import read_start_time


@pytest.fixture
def server(canned_server):
    return canned_server


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    root = (tmp_path / "Projekt mit Ä").resolve()
    root.mkdir()
    return root


@pytest.fixture
def state_dir(project):
    directory = resolve_state_dir(project)
    prepare_state_dir(directory)
    return directory


@pytest.fixture
def held(state_dir):
    """Hold the project's lock, as a running server does."""
    with StateLock(state_dir):
        yield


@pytest.fixture
def daemon_held(project):
    """Hold the daemon's lock."""
    prepare_state_dir(brain_home())
    with StateLock(brain_home()):
        yield


def make_state(project, port, **changes):
    values = {
        "mode": "project",
        "project_root": str(project),
        "instance_id": "ds_012345",
        "base_url": f"http://127.0.0.1:{port}",
        "bind_host": "127.0.0.1",
        "port": port,
        "pid": os.getpid(),
        "pid_started_at": read_start_time(os.getpid()),
        "started_at": "2026-01-02T03:04:05+00:00",
        "token": "geheim",
    }
    return RuntimeState(**(values | changes))


def test_discover_without_server_creates_nothing(project):
    assert discover(project) is None
    assert list(project.iterdir()) == []


def test_discover_finds_answering_server(project, state_dir, held, server):
    server.answer_json({"instance_id": "ds_012345", "status": "healthy"})
    state = make_state(project, server.port)
    write_runtime(state_dir, state)
    assert discover(project) == state


def test_discover_ignores_runtime_file_of_a_clone(project, state_dir, server):
    server.answer_json({"instance_id": "ds_012345", "status": "healthy"})
    write_runtime(state_dir, make_state(project, server.port, pid=1, pid_started_at=None))
    assert discover(project) is None
    assert server.requests == []
    assert not runtime_path(state_dir).exists()


def test_discover_ignores_process_without_the_lock(project, state_dir, held, server):
    server.answer_json({"instance_id": "ds_012345", "status": "healthy"})
    other = os.getppid()  # runs, but does not hold the lock
    write_runtime(state_dir, make_state(project, server.port, pid=other, pid_started_at=read_start_time(other)))
    assert discover(project) is None
    assert server.requests == []


def test_discover_sends_no_token_to_other_programs(project, state_dir, held, server):
    server.answer_json({"instance_id": "ds_ffffff"})
    write_runtime(state_dir, make_state(project, server.port))
    assert discover(project) is None
    assert len(server.requests) == 1
    assert "geheim" not in server.requests[0]


def test_discover_returns_server_of_another_version(project, state_dir, held, server):
    server.answer_json({"instance_id": "ds_012345"})
    write_runtime(state_dir, make_state(project, server.port, version="99.0.0"))
    found = discover(project)
    assert found is not None
    assert found.version == "99.0.0"


def test_discover_removes_files_of_a_dead_server(project, state_dir, server):
    write_runtime(state_dir, make_state(project, server.port, pid_started_at="1"))
    assert discover(project) is None
    assert not runtime_path(state_dir).exists()


def test_discover_silent_server_keeps_its_files(project, state_dir):
    write_runtime(state_dir, make_state(project, 1))
    with StateLock(state_dir):
        assert discover(project) is None
        assert runtime_path(state_dir).exists()


def test_discover_unknown_schema_is_refused_while_running(project, state_dir):
    runtime_path(state_dir).write_text('{"schema_version": 7}')
    with StateLock(state_dir), pytest.raises(UnknownSchemaError):
        discover(project)
    runtime_path(state_dir).write_text('{"schema_version": 7}')
    assert discover(project) is None
    assert not runtime_path(state_dir).exists()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\0\0\0",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n\r\n[1, 2]",
        b'HTTP/1.1 200 OK\r\n\r\n{"instance_id": 7}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Header: y\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 60_000,
    ],
)
def test_discover_rejects_other_answers(project, state_dir, held, server, answer):
    server.answer = answer
    write_runtime(state_dir, make_state(project, server.port))
    assert discover(project) is None


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rest=st.binary(max_size=100))
def test_discover_survives_any_answer(project, state_dir, held, server, rest):
    server.answer = b"HTTP/1.1 " + rest
    write_runtime(state_dir, make_state(project, server.port))
    assert discover(project) is None


def test_discover_gives_up_on_a_silent_port(project, state_dir, held, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        write_runtime(state_dir, make_state(project, silent.getsockname()[1]))
        assert discover(project) is None


def write_pointer_to(project, state_dir, port):
    pointer = SharedPointer(
        project_root=str(project), project_id=generate_project_id(project), base_url=f"http://127.0.0.1:{port}"
    )
    write_pointer(state_dir, pointer)


def test_discover_removes_pointer_without_daemon(project, state_dir, server):
    server.answer_json({"instance_id": "ds_012345", "mode": "shared"})
    write_pointer_to(project, state_dir, server.port)
    assert discover(project) is None
    assert not runtime_path(state_dir).exists()
    assert server.requests == []  # the daemon's own runtime file does not name that address


def test_discover_keeps_pointer_of_running_daemon(project, state_dir):
    write_pointer_to(project, state_dir, 1)
    prepare_state_dir(brain_home())
    with StateLock(brain_home()):
        assert discover(project) is None
        assert runtime_path(state_dir).exists()
    with StateLock(state_dir):
        assert discover(project) is None
        assert runtime_path(state_dir).exists()
    assert discover(project) is None
    assert not runtime_path(state_dir).exists()


def test_discover_asks_daemon_with_its_token(project, state_dir, server, tmp_path, daemon_held):
    daemon = make_state(project, server.port, mode="shared", project_root=None)
    write_runtime(brain_home(), daemon)
    write_pointer_to(project, state_dir, server.port)
    listed = {"project_id": generate_project_id(project), "project_root": str(project)}
    server.answer_json({"instance_id": "ds_012345", "projects": [listed]})
    found = discover(project)
    assert found == daemon.model_copy(update=listed)
    assert ["Authorization: Bearer geheim" in request for request in server.requests] == [False, True]
    elsewhere = {**listed, "project_root": str(tmp_path)}
    for answer in ({"projects": []}, {"projects": [elsewhere, 3]}, {"projects": 3}, {}):
        server.answer_json({"instance_id": "ds_012345", **answer})
        assert discover(project) is None
    server.answer_json({"instance_id": "ds_ffffff", "projects": [listed]})
    assert discover(project) is None


def test_discover_refuses_daemon_of_later_version(project, state_dir):
    prepare_state_dir(brain_home())
    runtime_path(brain_home()).write_text('{"schema_version": 7, "mode": "shared"}')
    write_pointer_to(project, state_dir, 1)
    with StateLock(brain_home()), pytest.raises(UnknownSchemaError):
        discover(project)
    assert discover(project) is None


def test_discover_async_finds_the_same(project, state_dir, held, server):
    server.answer_json({"instance_id": "ds_012345"})
    state = make_state(project, server.port)
    write_runtime(state_dir, state)
    assert asyncio.run(discover_async(project)) == state


def test_resolve_server_of_home_is_refused_unless_named(project, monkeypatch):
    monkeypatch.setenv("HOME", str(project))
    with pytest.raises(ConfigError) as refused:
        resolve_server(project, start=True)
    assert refused.value.code == "not_a_project"
    assert resolve_server(locate_project(project, exact=True), start=False).state is None


def test_resolve_server_reports_mode_without_server(project, state_dir):
    assert resolve_server(project, start=False) == Resolution(locate_project(project), "project", None)
    write_project_config(state_dir, mode="shared")
    found = resolve_server(project, start=False)
    assert (found.mode, found.state, found.started) == ("shared", None, False)
    with pytest.raises(NotRunningError):
        found.require_state()


def test_resolve_server_without_start_daemon_is_an_error(project, state_dir):
    write_project_config(state_dir, mode="shared")
    with pytest.raises(DaemonNotRunningError):
        resolve_server(project, start=True, start_daemon=False)


def test_resolve_server_connects_in_few_calls(project, state_dir, held, server):
    server.answer_json({"instance_id": "ds_012345"})
    write_runtime(state_dir, make_state(project, server.port))
    located = locate_project(project)
    discover(project)  # builds the models
    calls, running = [], []

    def record(frame, event, _):
        module = frame.f_globals.get("__name__", "")
        if frame.f_code.co_name.startswith("<") or not module.startswith("agent_brain_server"):
            return
        if event == "call":
            if running and running[-1] != module:
                calls.append(module)
            running.append(module)
        elif event == "return" and running:
            running.pop()

    sys.setprofile(record)
    try:
        assert resolve_server(located, start=True).state is not None
    finally:
        sys.setprofile(None)
    assert len(calls) <= 15, calls  # into another module, from the resolver to the connection


@pytest.mark.process
def test_resolve_server_reports_the_start(project):
    started = []
    try:
        first = resolve_server(project, start=True, on_start=started.append)
        second = resolve_server(project, start=True, on_start=started.append)
    finally:
        stop_server(resolve_state_dir(project), force=True)
    assert (first.started, second.started) == (True, False)
    assert first.state == second.state
    assert started == [first.project]


@pytest.mark.process
def test_discover_or_start_starts_once(project):
    try:
        state = discover_or_start(project)
        assert discover(project) == state
        assert discover_or_start(project) == state
    finally:
        stop_server(resolve_state_dir(project), force=True)


@pytest.mark.process
def test_discover_or_start_replaces_a_dead_server(project, state_dir):
    write_runtime(state_dir, make_state(project, 1, pid_started_at="1"))
    try:
        assert discover_or_start(project).instance_id != "ds_012345"
    finally:
        stop_server(state_dir, force=True)
