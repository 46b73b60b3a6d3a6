"""Find the shared daemon, and register projects with it."""

import json
import os
import socket
import threading

import pytest

from agent_brain_server.errors import (
    ConfigError,
    DaemonNotRunningError,
    DeadlineError,
    InvalidRequestError,
    NotRunningError,
    ServerRefusedError,
    UnknownSchemaError,
)
from agent_brain_server.locking import StateLock
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import RuntimeState, write_runtime
from agent_brain_server.shared import daemon
from agent_brain_server.shared.daemon import (
    count_projects,
    find_daemon,
    find_project,
    list_projects,
    register_project,
    require_daemon,
    unregister_project,
)
from agent_brain_server.shared.mode import ProjectMode
from agent_brain_server.storage_paths import (
    brain_home,
    default_state_dir,
    prepare_state_dir,
    runtime_path,
    shared_project_file,
)
from agent_brain_server.support.processes import read_start_time

SHARED = ProjectMode(is_shared=True)
INSTANCE = "ds_012345"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "Heim ü"))
    prepare_state_dir(brain_home())
    return brain_home()


@pytest.fixture
def project(tmp_path):
    root = (tmp_path / "Projekt ä").resolve()
    root.mkdir()
    return root


@pytest.fixture
def state_dir(project):
    return default_state_dir(project)


@pytest.fixture
def state(canned_server):
    """The runtime state of a daemon whose answers the canned server gives."""
    return describe(canned_server.port)


@pytest.fixture
def living(state):
    """A daemon that holds its lock and has published its runtime file."""
    write_runtime(brain_home(), state)
    with StateLock(brain_home()):
        yield state


def describe(port, **changes):
    values = {
        "mode": "shared", "instance_id": INSTANCE, "base_url": f"http://127.0.0.1:{port}", "bind_host": "127.0.0.1",
        "port": port, "pid": os.getpid(), "pid_started_at": read_start_time(os.getpid()),
        "started_at": "2026-01-02T03:04:05+00:00", "token": "geheim",
    }  # fmt: skip
    return RuntimeState(**(values | changes))


def answer(canned_server, **document):
    canned_server.answer_json({"instance_id": INSTANCE, **document})


def refuse(canned_server, code):
    canned_server.answer_json({"detail": "No.", "code": code, "hint": "Other."}, status="409 Conflict")


def test_find_daemon_none_running(home):
    assert find_daemon() is None
    with pytest.raises(DaemonNotRunningError, match="not running") as caught:
        require_daemon()
    assert caught.value.hint == "Start it with: agent-brain start --mode shared"
    with pytest.raises(DaemonNotRunningError) as caught:
        require_daemon(SHARED)
    assert "agent-brain start --mode shared" in caught.value.hint
    assert "agent-brain init --mode project" in caught.value.hint
    assert find_project(home, SHARED) is None


def test_find_daemon_answering_with_its_id(canned_server, living):
    answer(canned_server)
    assert find_daemon() == living
    assert require_daemon(SHARED) == living


def test_find_daemon_removes_files_of_a_dead_one(canned_server, state):
    write_runtime(brain_home(), state)
    answer(canned_server)
    assert find_daemon() is None
    assert not runtime_path(brain_home()).exists()
    assert canned_server.requests == []


def test_find_daemon_rejects_other_programs(canned_server, living):
    canned_server.answer_json({"instance_id": "ds_ffffff"})
    assert find_daemon() is None
    write_runtime(brain_home(), living.model_copy(update={"mode": "project", "project_root": "/x"}))
    answer(canned_server)
    assert find_daemon() is None


def test_require_daemon_silent_is_not_missing():
    with socket.create_server(("127.0.0.1", 0)) as silent, StateLock(brain_home()):
        write_runtime(brain_home(), describe(silent.getsockname()[1]))
        assert find_daemon(timeout_s=0.2) is None
        with pytest.raises(DeadlineError, match="does not answer") as caught:
            require_daemon()
        assert "stop --mode shared --force" in caught.value.hint
        assert runtime_path(brain_home()).exists()


def test_find_daemon_later_version_is_refused():
    runtime_path(brain_home()).write_text('{"schema_version": 9}')
    with StateLock(brain_home()), pytest.raises(UnknownSchemaError):
        find_daemon()
    assert find_daemon() is None
    assert not runtime_path(brain_home()).exists()


def test_find_project_needs_listed_root(canned_server, living, project, tmp_path):
    listed = {"project_root": str(project), "project_id": generate_project_id(project)}
    answer(canned_server, projects=[{"project_root": str(tmp_path), "project_id": "p_00000000"}, listed])
    found = find_project(project, SHARED)
    assert found == living.model_copy(update=listed)
    assert "Bearer geheim" in canned_server.requests[-1]
    for projects in ([], [{"project_root": str(tmp_path)}], [3], None, {}):
        answer(canned_server, projects=projects)
        assert find_project(project, SHARED) is None


def test_find_project_other_address_is_not_asked(canned_server, living, project):
    elsewhere = ProjectMode(True, "http://127.0.0.1:9", "config.json")
    answer(canned_server, projects=[{"project_root": str(project), "project_id": generate_project_id(project)}])
    assert find_project(project, elsewhere) is None
    assert [request.split()[1] for request in canned_server.requests] == ["/health"]
    with pytest.raises(ConfigError, match="config.json"):
        require_daemon(elsewhere)


def test_list_projects_unknown_format_is_refused(canned_server, state):
    for document in ({}, {"projects": 3}, [1]):
        canned_server.answer_json(document)
        with pytest.raises(ServerRefusedError, match="unknown format") as caught:
            list_projects(state)
        assert "start --mode shared" in caught.value.hint
    canned_server.answer_json({"projects": [{"project_id": "p_00000000"}, 3, None]})
    assert list_projects(state) == [{"project_id": "p_00000000"}]


def test_count_projects_comes_from_health(canned_server, state):
    answer(canned_server, active_projects=7)
    assert count_projects(state) == 7
    answer(canned_server)
    assert count_projects(state) is None
    assert count_projects(describe(1)) is None


def test_register_project_sends_only_non_default_state_dir(canned_server, state, project, state_dir, tmp_path):
    canned_server.answer_json({}, status="201 Created")
    registered = register_project(state, project, state_dir)
    assert (registered.project_root, registered.project_id) == (str(project), generate_project_id(project))
    assert (registered.base_url, registered.token) == (state.base_url, state.token)
    register_project(state, project, tmp_path / "Zustand ü")
    bodies = [json.loads(request.partition("\r\n\r\n")[2]) for request in canned_server.requests]
    assert bodies == [
        {"project_root": str(project)},
        {"project_root": str(project), "state_dir": str(tmp_path / "Zustand ü")},
    ]


def test_register_project_default_dir_outside_sends_named(canned_server, state, project, tmp_path):
    (tmp_path / "outside").mkdir()
    (project / ".claude").symlink_to(tmp_path / "outside")
    canned_server.answer_json({})
    register_project(state, project, tmp_path / "outside")
    assert str(tmp_path / "outside") in canned_server.requests[0]


def test_register_project_non_utf8_path_is_refused(canned_server, state, project, tmp_path):
    raw = tmp_path / os.fsdecode(b"raw \xff")
    for root, state_dir in ((raw, tmp_path), (project, raw)):
        with pytest.raises(ConfigError, match="not UTF-8"):
            register_project(state, root, state_dir)
    assert canned_server.requests == []


def test_register_project_retries_after_a_lock_probe(canned_server, state, project, state_dir, monkeypatch):
    refuse(canned_server, daemon.SERVER_RUNNING_CODE)
    timer = threading.Timer(0.2, canned_server.answer_json, [{}])
    timer.start()
    assert register_project(state, project, state_dir).project_root == str(project)
    timer.join()
    assert len(canned_server.requests) > 1

    refuse(canned_server, daemon.SERVER_RUNNING_CODE)
    prepare_state_dir(state_dir)
    with StateLock(state_dir), pytest.raises(ServerRefusedError) as caught:
        register_project(state, project, state_dir)
    assert caught.value.code == daemon.SERVER_RUNNING_CODE
    monkeypatch.setattr(daemon, "PROBES_LIMIT_S", 0.1)
    with pytest.raises(ServerRefusedError):
        register_project(state, project, state_dir)


def test_register_project_other_errors_are_raised(canned_server, state, project, state_dir):
    refuse(canned_server, "project_root_missing")
    with pytest.raises(ServerRefusedError, match="No"):
        register_project(state, project, state_dir)
    assert len(canned_server.requests) == 1
    with pytest.raises(NotRunningError):
        register_project(describe(1), project, state_dir)


def test_unregister_project_asks_running_daemon(canned_server, living, project):
    project_id = generate_project_id(project)
    registration = write_registration(project)
    answer(canned_server)
    assert unregister_project(project_id)
    assert canned_server.requests[-1].startswith(f"DELETE /projects/{project_id} ")
    assert registration.exists()  # only the daemon removes it


def test_unregister_project_without_daemon_removes_file(project):
    registration = write_registration(project)
    assert unregister_project(generate_project_id(project))
    assert not registration.exists()
    assert not unregister_project(generate_project_id(project))
    with pytest.raises(InvalidRequestError):
        unregister_project("../../etc")


def test_unregister_project_silent_daemon_changes_nothing(project):
    registration = write_registration(project)
    with StateLock(brain_home()):  # without a runtime file
        assert not unregister_project(generate_project_id(project))
    assert registration.exists()


def write_registration(root):
    path = shared_project_file(generate_project_id(root))
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schema_version": 1, "project_root": str(root)}))
    return path
