"""The application: opened and closed as a whole, and every call behind the border."""

import sys

import pytest
from fastapi.testclient import TestClient

from agent_brain_server.api.main import create_app, open_projects
from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import ConfigError, StoreError
from agent_brain_server.project.context import ServerContext
from agent_brain_server.services.metrics import Metrics


def test_stores_are_open_while_the_application_runs_and_closed_after(client: TestClient) -> None:
    bundle = client.app.state.projects._bundle
    assert bundle.documents.file_records() == {}
    client.__exit__(None, None, None)
    with pytest.raises(StoreError):
        bundle.documents.file_records()
    client.__enter__()


def test_without_the_token_nothing_but_health_is_answered(client: TestClient, refusal) -> None:
    for path in ("/health/status", "/metrics", "/index/jobs", "/projects", "/openapi.json"):
        assert refusal(client.get(path, headers={"Authorization": "Bearer wrong"})) == (401, "unauthorized")
    assert client.get("/health", headers={"Authorization": ""}).status_code == 200
    assert refusal(client.get("/health", headers={"Host": "example.org"})) == (403, "foreign_host")


def test_each_call_that_can_fail_documents_how(context: ServerContext) -> None:
    paths = create_app(context).openapi()["paths"]
    assert len(paths) >= 10
    for path, methods in paths.items():
        for method, call in methods.items():
            assert "default" in call["responses"], (method, path)


def test_what_the_environment_says_of_telemetry_is_not_for_this_program(
    context: ServerContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with TestClient(create_app(context), "http://127.0.0.1") as client:
        assert client.get("/health").status_code == 200
    assert not [record for record in caplog.records if "telemetry" in record.getMessage()]
    assert "opentelemetry.exporter.otlp.proto.http" not in sys.modules


def test_a_server_of_one_project_needs_its_root(context: ServerContext) -> None:
    with pytest.raises(ConfigError):
        open_projects(ServerContext.make(None, context.state_dir, ProjectConfig(), None), Metrics())


def test_two_applications_in_one_process_share_nothing(context: ServerContext, tmp_path) -> None:
    other_root = tmp_path / "other"
    other_root.mkdir()
    other = ServerContext.make(other_root, tmp_path / "state", context.settings, None)
    headers = {"Authorization": f"Bearer {context.settings.token}"}
    with (
        TestClient(create_app(context), "http://127.0.0.1", headers=headers) as first,
        TestClient(create_app(other), "http://127.0.0.1", headers=headers) as second,
    ):
        ids = {each.get("/health").json()["project_id"] for each in (first, second)}
        roots = {each.get("/health/status").json()["project_root"] for each in (first, second)}
    assert len(ids) == 2
    assert roots == {str(context.project_root), str(other_root)}
