"""The projects of the shared daemon."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent_brain_server.config.settings import DaemonSettings
from agent_brain_server.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    StateDirError,
    UnavailableError,
)
from agent_brain_server.lifecycle.registry import list_registrations
from agent_brain_server.locking import StateLock
from agent_brain_server.models.index import IndexRequest, JobStatus
from agent_brain_server.project.projects import SharedProjects
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import RuntimeState, read_pointer
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.storage_paths import (
    brain_home,
    default_state_dir,
    prepare_state_dir,
    shared_project_file,
    shared_project_home,
)

WAIT_LIMIT_S = 600.0
STATE = RuntimeState(
    mode="shared", instance_id="ds_012345", base_url="http://127.0.0.1:45123", bind_host="127.0.0.1", port=45123,
    pid=1, started_at="2026-01-02T03:04:05+00:00",
)  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "Heim ü"))
    return brain_home()


@pytest.fixture
def open_projects() -> Iterator[Callable[..., SharedProjects]]:
    """Return a function that opens the projects of a published daemon, and closes those opened before."""
    opened: list[SharedProjects] = []

    def open_now(**settings: int) -> SharedProjects:
        if opened:
            opened.pop().close()
        opened.append(SharedProjects(DaemonSettings.load(settings), Metrics()))
        opened[-1].publish(STATE)
        return opened[-1]

    yield open_now
    for projects in opened:
        projects.close()


@pytest.fixture
def projects(open_projects: Callable[..., SharedProjects]) -> SharedProjects:
    return open_projects()


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_register_writes_a_file_and_a_pointer_once(projects: SharedProjects, project: Path) -> None:
    info, is_new = projects.register(str(project))
    again, is_new_again = projects.register(str(project / "src" / ".."))
    assert (is_new, is_new_again, again) == (True, False, info)
    assert (info.project_id, info.project_root) == (generate_project_id(project), str(project))
    assert (info.state_dir, info.is_open, info.is_root_missing) == (None, False, False)
    assert projects.list_projects() == [info]
    assert [registered.root for registered in list_registrations()] == [project]
    pointer = read_pointer(default_state_dir(project))
    assert pointer is not None
    assert pointer.base_url == STATE.base_url


@pytest.mark.parametrize("text", [None, b"", b'{"schema_version": 9}', b"\xff" * 90])
def test_register_rewrites_a_damaged_registration(projects: SharedProjects, project: Path, text: bytes | None) -> None:
    registered, _ = projects.register(str(project))
    (saved,) = list_registrations()
    path = shared_project_file(registered.project_id)
    path.unlink() if text is None else path.write_bytes(text)
    assert list_registrations() == []
    assert projects.register(str(project)) == (registered, False)
    assert list_registrations() == [saved]
    pointer = read_pointer(default_state_dir(project))
    assert pointer is not None
    assert pointer.base_url == STATE.base_url


def test_register_with_a_state_dir_keeps_and_moves_it(
    open_projects: Callable[..., SharedProjects], project: Path, tmp_path: Path
) -> None:
    projects, places = open_projects(), [tmp_path / "Ort 1", tmp_path / "Ort 2"]
    for place in places:
        assert projects.register(str(project), str(place))[0].state_dir == str(place)
        assert projects.register(str(project))[0].state_dir == str(place)  # no directory is named, so it stays
    assert [read_pointer(place) is not None for place in places] == [False, True]
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ConflictError, match=r"Ort 2 belongs to .*mein Projekt") as refused:
        projects.register(str(other), str(places[1]))
    assert refused.value.code == "state_dir_in_use"
    assert len(projects.list_projects()) == 1
    again = open_projects()
    assert again.list_projects()[0].state_dir == str(places[1])
    wait_until(lambda: read_pointer(places[1]))


def test_register_accepts_the_default_state_dir(projects: SharedProjects, project: Path) -> None:
    projects.register(str(project))
    projects.register(str(project), str(default_state_dir(project)))
    assert read_pointer(default_state_dir(project)) is not None


@pytest.mark.parametrize("place", ["relative", "with\0zero", "", "~/state"])
def test_register_refuses_a_relative_state_dir(projects: SharedProjects, project: Path, place: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        projects.register(str(project), place)
    assert refused.value.code == "invalid_state_dir"
    assert list_registrations() == []


@pytest.mark.parametrize(
    ("root", "error"), [("relative", InvalidRequestError), ("/x\0", InvalidRequestError), ("/nowhere", NotFoundError)]
)
def test_register_refuses_a_missing_directory(projects: SharedProjects, root: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        projects.register(root)


def test_register_refuses_a_duplicate_id(
    projects: SharedProjects, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    projects.register(str(project))
    monkeypatch.setattr(
        "agent_brain_server.lifecycle.registry.generate_project_id", lambda _: generate_project_id(project)
    )
    with pytest.raises(ConflictError, match="has the same id") as refused:
        projects.register(str(tmp_path))
    assert refused.value.code == "project_id_taken"


def test_failed_registration_leaves_no_pointer(projects: SharedProjects, project: Path, home: Path) -> None:
    (home / "projects").parent.mkdir(exist_ok=True)
    (home / "projects").write_text("in the way")
    with pytest.raises(StateDirError):
        projects.register(str(project))
    assert read_pointer(default_state_dir(project)) is None
    assert projects.list_projects() == []


def test_lease_uses_the_settings_of_the_project(projects: SharedProjects, project: Path, tmp_path: Path) -> None:
    place = tmp_path / "Ort"
    project_id = projects.register(str(project), str(place))[0].project_id
    (place / "config.json").write_text('{"chunk_size": 64, "chunk_overlap": 8, "port": 1}')
    with projects.lease(project_id) as services:
        assert (services.settings.chunk_size, services.settings.chunk_overlap) == (64, 8)
        assert services.state_dir == shared_project_home(project_id)
    assert projects.list_projects()[0].is_open


def test_lease_with_invalid_settings_is_refused(projects: SharedProjects, project: Path) -> None:
    project_id = projects.register(str(project))[0].project_id
    (default_state_dir(project) / "config.json").write_text('{"chunk_size": 3}')
    with pytest.raises(UnavailableError, match="chunk_size"), projects.lease(project_id):
        pass


def test_health_reports_missing_roots_without_a_path(projects: SharedProjects, project: Path) -> None:
    projects.register(str(project))
    assert (projects.health().active_projects, projects.health().fault) == (1, None)
    shutil.rmtree(project)
    wait_until(lambda: projects.health().fault)
    assert str(project) not in (projects.health().fault or "")
    assert projects.list_projects()[0].is_root_missing
    with pytest.raises(NotFoundError), projects.lease(generate_project_id(project)):
        pass


def test_unregister_withdraws_and_forgets_if_asked(
    projects: SharedProjects, project: Path, run_job: Callable[..., JobStatus]
) -> None:
    project_id = projects.register(str(project))[0].project_id
    with projects.lease(project_id) as services:
        assert run_job(services).state == "done"
    assert b"agent_brain_documents 4.0" in projects.render_metrics()
    kept = projects.unregister(project_id, forget=False)
    assert (kept.data_removed, shared_project_home(project_id).exists()) == (False, True)
    assert read_pointer(default_state_dir(project)) is None
    assert not shared_project_file(project_id).exists()
    with pytest.raises(NotFoundError):
        projects.unregister(project_id, forget=True)
    projects.register(str(project))
    with projects.lease(project_id) as services:
        assert services.documents.counts().files == 4
    assert projects.unregister(project_id, forget=True).data_removed
    assert not shared_project_home(project_id).exists()


def test_close_withdraws_pointers_but_no_runtime_file(
    open_projects: Callable[..., SharedProjects], project: Path, tmp_path: Path
) -> None:
    projects, other = open_projects(), tmp_path / "other"
    other.mkdir()
    for root in (project, other):
        projects.register(str(root))
    prepare_state_dir(default_state_dir(other))
    with StateLock(default_state_dir(other)):
        projects.close()
        assert read_pointer(default_state_dir(project)) is None
        assert read_pointer(default_state_dir(other)) is not None


@pytest.mark.process
def test_unfinished_job_is_resumed_after_a_restart(open_projects: Callable[..., SharedProjects], project: Path) -> None:
    projects = open_projects()
    project_id = projects.register(str(project))[0].project_id
    with projects.lease(project_id) as services:
        services.indexing.submit(IndexRequest(folder_path="."))
        assert projects.is_busy()
    again = open_projects()
    wait_until(lambda: again.list_projects()[0].is_open)
    wait_until(lambda: not again.is_busy())
    with again.lease(project_id) as services:
        assert services.documents.counts().files == 4
