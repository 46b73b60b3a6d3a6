"""Indexing jobs over HTTP, and clearing the index."""

import json

from fastapi.testclient import TestClient

from agent_brain_server.api.deps import AppState
from agent_brain_server.api.routers import index as router_module


def test_job_is_accepted_followed_and_listed(client: TestClient, index_all) -> None:
    job = index_all()
    assert (job["state"], job["progress"]["files_total"], job["progress"]["keywords_ready"]) == ("done", 4, True)
    second = index_all(folder_path="src", force=True)
    assert second["progress"]["files_changed"] == 2
    listed = client.get("/index/jobs").json()["jobs"]
    assert [each["job_id"] for each in listed] == [second["job_id"], job["job_id"]]
    assert listed[1] == job


def stop_indexing(app_state: AppState) -> None:
    """Stop the thread that runs jobs: new ones stay queued."""
    with app_state.projects.lease(None) as services:
        services.indexing.close()


def test_events_are_job_statuses_with_an_end(client: TestClient, index_all) -> None:
    job = index_all()
    answer = client.get(f"/index/jobs/{job['job_id']}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    name, data, *rest = answer.text.split("\n")
    assert (name, rest) == ("event: end", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == job


def test_stream_sends_keep_alives(client: TestClient, app_state: AppState, monkeypatch) -> None:
    monkeypatch.setattr(router_module, "EVENT_INTERVAL_S", 0.01)
    monkeypatch.setattr(router_module, "KEEPALIVE_INTERVAL_S", 0.01)
    stop_indexing(app_state)
    job_id = client.post("/index", json={"folder_path": "."}).json()["job_id"]

    def still_queued(sleep):
        asked.append(sleep)
        if len(asked) == 5:
            app_state.shutting_down.set()
        return real_sleep(0)

    asked: list[float] = []
    real_sleep = router_module.asyncio.sleep
    monkeypatch.setattr(router_module.asyncio, "sleep", still_queued)
    text = client.get(f"/index/jobs/{job_id}/events").text
    assert text.count("event: progress") == 1
    assert text.count(": keep-alive") == 4
    assert "event: end" not in text


def test_cancel_ends_a_job_once(client: TestClient, app_state: AppState, refusal) -> None:
    stop_indexing(app_state)
    job_id = client.post("/index", json={"folder_path": "."}).json()["job_id"]
    assert refusal(client.delete("/index")) == (409, "indexing_in_progress")
    assert client.delete(f"/index/jobs/{job_id}").json()["state"] == "cancelled"
    assert refusal(client.delete(f"/index/jobs/{job_id}")) == (409, "job_already_ended")


def test_clear_removes_everything(client: TestClient, index_all) -> None:
    job = index_all()
    assert client.delete("/index").json() == {
        "removed_documents": 4,
        "removed_chunks": job["progress"]["chunks_written"],
    }
    assert client.post("/query", json={"query": "FileLock"}).json()["results"] == []
    assert client.delete("/index").json()["removed_documents"] == 0


def test_unknown_jobs_and_invalid_requests_are_refused(client: TestClient, refusal) -> None:
    for answer in (client.get("/index/jobs/x"), client.delete("/index/jobs/x"), client.get("/index/jobs/x/events")):
        assert refusal(answer) == (404, "unknown_job")
    for field in ("include_patterns", "exclude_patterns"):
        bad = client.post("/index", json={"folder_path": ".", field: ["[z-a]"]})
        assert refusal(bad) == (422, "invalid_glob")
        assert field in bad.json()["detail"]
    assert refusal(client.post("/index", json={"folder_path": "/etc"})) == (422, "outside_project")
    assert client.get("/index/jobs").json() == {"jobs": []}
