"""The project of a project server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_brain_server.errors import ConflictError, InvalidRequestError, NotFoundError, StoreError
from agent_brain_server.lifecycle import registry
from agent_brain_server.lifecycle.registry import RegistryEntry
from agent_brain_server.models.index import IndexRequest, JobStatus
from agent_brain_server.project.projects import SingleProject
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.project_root import generate_project_id
from agent_brain_server.runtime import RuntimeState


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))


@pytest.fixture
def single(services: ProjectServices) -> SingleProject:
    return SingleProject(services)


@pytest.mark.parametrize("project_id", [None, "", "p_00000000", "../../etc"])
def test_single_lease_ignores_the_id(single: SingleProject, services: ProjectServices, project_id: str | None) -> None:
    with single.lease(project_id) as lent:
        assert lent is services


def test_single_exact_lease_checks_the_id(single: SingleProject, services: ProjectServices) -> None:
    with single.lease(generate_project_id(services.project_root), exact=True) as lent:
        assert lent is services
    with pytest.raises(NotFoundError) as unknown, single.lease("p_00000000", exact=True):
        pass
    assert unknown.value.code == "unknown_project"
    with pytest.raises(InvalidRequestError), single.lease("../../etc", exact=True):
        pass


@pytest.mark.parametrize(
    "call",
    [
        lambda single: single.list_projects(),
        lambda single: single.register("/srv/other"),
        lambda single: single.register("/srv/other", "/srv/state"),
        lambda single: single.unregister("p_00000000", forget=True),
    ],
)
def test_single_refuses_registration(single: SingleProject, call: Callable[[SingleProject], Any]) -> None:
    with pytest.raises(ConflictError, match="one project") as refused:
        call(single)
    assert (refused.value.status, refused.value.code) == (409, "wrong_mode")
    assert "agent-brain start --mode shared" in refused.value.hint


def test_single_health_names_the_project(single: SingleProject, services: ProjectServices) -> None:
    health = single.health()
    assert (health.project_id, health.active_projects) == (generate_project_id(services.project_root), None)
    assert health.fault is None


def test_single_is_busy_while_a_job_is_queued_or_running(
    single: SingleProject, services: ProjectServices, run_job: Callable[..., JobStatus]
) -> None:
    assert not single.is_busy()
    services.indexing.submit(IndexRequest(folder_path="."))
    assert single.is_busy()
    run_job(services)
    assert not single.is_busy()
    assert b"agent_brain_documents 4.0" in single.render_metrics()


def test_single_publish_adds_the_project_to_the_registry(single: SingleProject, services: ProjectServices) -> None:
    assert registry.entries() == []
    state = RuntimeState(
        mode="project",
        project_root=str(services.project_root),
        instance_id="ds_012345",
        base_url="http://127.0.0.1:1",
        bind_host="127.0.0.1",
        port=1,
        pid=1,
        started_at="2026-01-02T03:04:05+00:00",
    )
    single.publish(state)
    assert registry.entries() == [RegistryEntry(services.project_root, services.state_dir)]


def test_single_close_closes_the_stores(open_services: Callable[[], ProjectServices]) -> None:
    services = open_services()
    SingleProject(services).close()
    with pytest.raises(StoreError):
        services.documents.set_meta("after", "the end")
