"""Health, index status and metrics over HTTP."""

from fastapi.testclient import TestClient

from agent_brain_server import __version__
from agent_brain_server.project.context import ServerContext
from agent_brain_server.project_root import generate_project_id


def test_health_identifies_the_server_without_a_path(client: TestClient, context: ServerContext) -> None:
    answer = client.get("/health", headers={"Authorization": ""})
    assert answer.json() == {
        "status": "healthy",
        "message": "ready",
        "mode": "project",
        "instance_id": context.instance_id,
        "project_id": generate_project_id(context.project_root),
        "active_projects": None,
        "version": __version__,
    }


def test_health_of_the_daemon_counts_projects(daemon: TestClient, project) -> None:
    assert daemon.get("/health").json()["active_projects"] == 0
    daemon.post("/projects", json={"project_root": str(project)})
    health = daemon.get("/health").json()
    assert (health["mode"], health["project_id"], health["active_projects"]) == ("shared", None, 1)


def test_status_reports_indexed_and_skipped_files(client: TestClient, context, project, index_all) -> None:
    empty = client.get("/health/status").json()
    assert (empty["total_documents"], empty["vector_coverage"], empty["last_job"]) == (0, 1.0, None)
    (project / "empty.py").touch()
    job = index_all()
    status = client.get("/health/status").json()
    assert status["total_documents"] == 4
    assert status["total_chunks"] == status["total_vectors"] == job["progress"]["chunks_written"]
    assert status["skipped"] == {"empty": 1}
    assert status["last_job"]["job_id"] == job["job_id"]
    assert (status["project_root"], status["state_dir"]) == (str(project), str(context.state_dir))
    assert not status["indexing_in_progress"]


def test_status_counts_definitions_and_partial_files(client: TestClient, project, index_all) -> None:
    index_all()
    before = client.get("/health/status").json()
    (project / "broken.py").write_text("def whole():\n    return other()\n\ndef torn(:\n")
    index_all()
    status = client.get("/health/status").json()
    assert status["total_definitions"] > before["total_definitions"] > 0
    assert status["total_references"] > before["total_references"]
    assert (before["files_partial"], status["files_partial"]) == (0, 1)


def test_status_of_the_daemon_requires_a_project_id(daemon: TestClient, refusal) -> None:
    assert refusal(daemon.get("/health/status")) == (422, "project_id_required")
    assert refusal(daemon.get("/health/status?project_id=p_01234567")) == (404, "unknown_project")


def test_metrics_count_documents_and_queries(client: TestClient, index_all) -> None:
    job = index_all()
    client.post("/query", json={"query": "lock", "mode": "bm25"})
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert "agent_brain_documents 4.0" in lines
    assert f"agent_brain_chunks_indexed_total {job['progress']['chunks_written']}.0" in lines
    assert 'agent_brain_query_seconds_count{mode="bm25"} 1.0' in lines


def test_metrics_of_the_daemon_sum_its_projects(daemon: TestClient) -> None:
    assert "agent_brain_documents 0.0" in daemon.get("/metrics").text
