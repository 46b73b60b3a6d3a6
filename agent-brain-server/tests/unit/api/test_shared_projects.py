"""The daemon's projects in this process: registered, pointed to, missed and found again, resumed."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from agent_brain_server.api import shared_projects as module
from agent_brain_server.api.shared_projects import SharedProjects
from agent_brain_server.config.shared import DaemonSettings
from agent_brain_server.errors import ConflictError, StateDirError
from agent_brain_server.locking import StateLock
from agent_brain_server.models.index import IndexRequest
from agent_brain_server.runtime import RuntimeState, read_pointer
from agent_brain_server.services.project_directory import describe_project, load_projects
from agent_brain_server.storage_paths import default_state_dir, prepare_state_dir, shared_project_home

LIMIT_S = 20.0
STATE = RuntimeState(
    mode="shared", instance_id="ds_1", base_url="http://127.0.0.1:45123", bind_host="127.0.0.1", port=45123, pid=7,
    started_at="2026-01-01T00:00:00+00:00",
)  # fmt: skip


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def projects(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "TICK_S", 0.01)
    opened = SharedProjects(DaemonSettings.load())
    yield opened
    opened.close()


def test_registering_leaves_a_pointer_and_closing_takes_it_away(projects: SharedProjects, project: Path) -> None:
    projects.publish(STATE)
    info, is_new = projects.register(str(project))
    assert is_new
    pointer = read_pointer(default_state_dir(project))
    assert pointer is not None
    assert (pointer.base_url, pointer.project_id) == (STATE.base_url, info.project_id)
    assert not info.is_open
    with projects.lease(info.project_id) as bundle:
        assert (bundle.mode, bundle.project_root) == ("shared", project)
    assert projects.list_projects()[0].is_open
    projects.close()
    assert read_pointer(default_state_dir(project)) is None
    assert [known.root for known in load_projects()] == [project]


def test_a_root_that_is_gone_degrades_the_health_until_it_is_back(projects: SharedProjects, project: Path) -> None:
    projects.publish(STATE)
    projects.register(str(project))
    assert projects.health().fault is None
    project.rename(project.with_name("moved"))
    wait_until(lambda: projects.health().fault)
    assert str(project) not in (projects.health().fault or "")
    assert projects.list_projects()[0].is_root_missing
    project.with_name("moved").rename(project)
    wait_until(lambda: projects.health().fault is None)


def test_a_project_whose_own_server_runs_is_not_taken(projects: SharedProjects, project: Path) -> None:
    projects.publish(STATE)
    state_dir = default_state_dir(project)
    prepare_state_dir(state_dir)
    lock = StateLock(state_dir)
    assert lock.acquire()
    try:
        with pytest.raises(ConflictError) as caught:
            projects.register(str(project))
        assert caught.value.code == "project_server_running"
    finally:
        lock.release()
    assert projects.list_projects() == []


def test_two_roots_with_one_id_are_told_apart(projects: SharedProjects, project: Path, tmp_path: Path) -> None:
    projects.publish(STATE)
    projects._pool.admit(replace(describe_project(project), root=tmp_path / "other"))
    with pytest.raises(ConflictError) as caught:
        projects.register(str(project))
    assert caught.value.code == "project_id_taken"


def test_a_registration_that_cannot_be_kept_leaves_no_pointer(
    projects: SharedProjects, project: Path, home: Path
) -> None:
    projects.publish(STATE)
    home.mkdir()
    (home / "projects").write_text("a file in the way")
    with pytest.raises(StateDirError):
        projects.register(str(project))
    assert read_pointer(default_state_dir(project)) is None
    assert projects.list_projects() == []
    (home / "projects").unlink()


def leave_a_job(project: Path) -> str:
    """Run a daemon until a job is queued that nobody works on; returns the project's id."""
    daemon = SharedProjects(DaemonSettings.load())
    daemon.publish(STATE)
    info, _ = daemon.register(str(project))
    with daemon.lease(info.project_id) as bundle:
        bundle.indexing.close()
        bundle.indexing.submit(IndexRequest(folder_path="."))
        assert daemon.is_busy()
    daemon.close()
    return info.project_id


@pytest.mark.usefixtures("home")
def test_jobs_that_a_daemon_left_are_gone_on_with_by_the_next(project: Path) -> None:
    project_id = leave_a_job(project)
    second = SharedProjects(DaemonSettings.load())
    second.publish(STATE)
    try:
        wait_until(lambda: "agent_brain_documents 4.0" in second.render_metrics().decode())
        wait_until(lambda: not second.is_busy())
        with second.lease(project_id) as bundle:
            assert bundle.indexing.list_jobs()[0].state == "done"
    finally:
        second.close()


@pytest.mark.usefixtures("home")
def test_a_job_whose_project_is_gone_is_passed_over(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    leave_a_job(project)
    project.rename(project.with_name("moved"))
    second = SharedProjects(DaemonSettings.load())
    second.publish(STATE)
    try:
        wait_until(lambda: "A job was not resumed" in caplog.text)
        wait_until(lambda: not second.is_busy())
    finally:
        second.close()


def test_forgetting_removes_the_index_and_keeping_does_not(daemon: TestClient, project: Path) -> None:
    project_id = daemon.post("/projects", json={"project_root": str(project)}).json()["project_id"]
    assert daemon.get(f"/health/status?project_id={project_id}").status_code == 200
    data = shared_project_home(project_id) / "data"
    assert data.is_dir()
    assert daemon.delete(f"/projects/{project_id}").json()["data_removed"] is False
    assert data.is_dir()
    daemon.post("/projects", json={"project_root": str(project)})
    daemon.delete(f"/projects/{project_id}?forget=true")
    assert not data.exists()
