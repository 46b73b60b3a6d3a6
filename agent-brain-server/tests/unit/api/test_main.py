"""The application opens and closes its stores, and checks access for every endpoint."""

import sys
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from agent_brain_server.api.deps import AppState
from agent_brain_server.errors import StoreError
from agent_brain_server.project.context import ServerContext

OpenClient = Callable[[ServerContext], TestClient]


def test_app_closes_its_stores_at_the_end(client: TestClient, app_state: AppState) -> None:
    with app_state.projects.lease(None) as services:
        assert services.documents.file_records() == {}
    client.__exit__(None, None, None)
    with pytest.raises(StoreError):
        services.documents.file_records()
    client.__enter__()


def test_app_answers_only_health_without_the_token(client: TestClient, refusal) -> None:
    for path in ("/health/status", "/metrics", "/index/jobs", "/projects", "/openapi.json"):
        assert refusal(client.get(path, headers={"Authorization": "Bearer wrong"})) == (401, "unauthorized")
    assert client.get("/health", headers={"Authorization": ""}).status_code == 200
    assert refusal(client.get("/health", headers={"Host": "example.org"})) == (403, "foreign_host")


def test_openapi_documents_the_errors_of_every_endpoint(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert len(paths) >= 10
    for path, methods in paths.items():
        for method, operation in methods.items():
            assert "application/problem+json" in operation["responses"]["default"]["content"], (method, path)


def test_app_ignores_telemetry_settings_of_the_environment(
    context: ServerContext, open_client: OpenClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with open_client(context) as client:
        assert client.get("/health").status_code == 200
    assert not [record for record in caplog.records if "telemetry" in record.getMessage()]
    assert "opentelemetry.exporter.otlp.proto.http" not in sys.modules


def test_two_apps_in_one_process_share_nothing(context: ServerContext, open_client: OpenClient, tmp_path) -> None:
    other_root = tmp_path / "other"
    other_root.mkdir()
    other = ServerContext.make(other_root, tmp_path / "state", context.settings, None)
    with open_client(context) as first, open_client(other) as second:
        ids = {each.get("/health").json()["project_id"] for each in (first, second)}
        roots = {each.get("/health/status").json()["project_root"] for each in (first, second)}
    assert len(ids) == 2
    assert roots == {str(context.project_root), str(other_root)}
