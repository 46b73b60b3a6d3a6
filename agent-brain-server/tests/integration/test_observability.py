"""Log lines name their request, job and project, and metrics count what happened."""

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_brain_server.lifecycle.control import start_daemon, start_server, stop_daemon, stop_server
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.shared.daemon import register_project
from agent_brain_server.storage.document_store import DATABASE_NAME
from agent_brain_server.storage_paths import default_state_dir, resolve_state_dir

LIMIT_S = 600.0


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    root = tmp_path / "project"
    root.mkdir()
    (root / "lock.py").write_text("def release_lock(lock):\n    lock.close()\n")
    (root / "torn.pdf").write_bytes(b"%PDF-1.7 and nothing more")
    return root


@pytest.fixture
def server(root: Path) -> Iterator[RuntimeState]:
    yield start_server(root).state
    stop_server(resolve_state_dir(root))


@pytest.fixture
def client(server: RuntimeState) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base_url, headers={"Authorization": f"Bearer {server.token}"}) as client:
        yield client


def index(client: httpx.Client, request_id: str) -> dict[str, Any]:
    answer = client.post("/index", json={"folder_path": "."}, headers={"X-Request-ID": request_id})
    job_id = answer.json()["job_id"]
    deadline = time.monotonic() + LIMIT_S
    while (job := client.get(f"/index/jobs/{job_id}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    return job  # type: ignore[no-any-return]


def read_log(root: Path) -> list[dict[str, Any]]:
    text = (resolve_state_dir(root) / "logs" / "server.log").read_text()
    return [json.loads(line) for line in text.splitlines()]


def read_metrics(client: httpx.Client) -> dict[str, float]:
    samples = re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)$", client.get("/metrics").text, flags=re.MULTILINE)
    return {name: float(value) for name, value in samples}


def test_request_id_is_logged_by_job_and_worker(client: httpx.Client, root: Path, server: RuntimeState) -> None:
    pytest.importorskip("pypdf")
    job = index(client, "req-42")
    deadline = time.monotonic() + LIMIT_S
    while not any(f"job {job['job_id']} done" in line["message"] for line in read_log(root)):
        assert time.monotonic() < deadline  # the log line follows shortly after the job's end
        time.sleep(0.05)
    lines = [line for line in read_log(root) if line.get("correlation_id") == "req-42"]
    messages = [line["message"] for line in lines]
    for part in (f"job {job['job_id']}: index", "keyword answers are complete", f"job {job['job_id']} done"):
        assert any(part in message for message in messages), messages
    (of_worker,) = [line for line in lines if "worker_pid" in line]
    assert "torn.pdf" in of_worker["message"]
    assert of_worker["job_id"] == job["job_id"]
    assert {line["instance_id"] for line in read_log(root)} == {server.instance_id}


def test_resumed_job_keeps_its_request_id(client: httpx.Client, root: Path) -> None:
    job_id = client.post("/index", json={"folder_path": "."}, headers={"X-Request-ID": "req-7"}).json()["job_id"]
    database = resolve_state_dir(root) / "data" / "llamaindex" / DATABASE_NAME
    connection = sqlite3.connect(database, timeout=10)
    assert connection.execute("SELECT correlation_id FROM jobs WHERE job_id = ?", (job_id,)).fetchone() == ("req-7",)
    connection.close()


def test_failed_query_is_logged_with_request_and_hint(client: httpx.Client, root: Path, server: RuntimeState) -> None:
    index(client, "first")
    database = resolve_state_dir(root) / "data" / "llamaindex" / DATABASE_NAME
    connection = sqlite3.connect(database, timeout=10)
    connection.execute("ALTER TABLE texts RENAME TO moved")
    connection.commit()
    connection.close()
    question = "where is the lock released? " * 20
    answer = client.post("/query", json={"query": question}, headers={"X-Request-ID": "req-9"})
    assert answer.status_code == 503
    (line,) = [line for line in read_log(root) if line.get("correlation_id") == "req-9" and line["level"] == "error"]
    assert line["asked_query"] == question[:200]
    assert DATABASE_NAME in line["message"]
    assert "agent-brain" in line["hint"]
    text = (resolve_state_dir(root) / "logs" / "server.log").read_text()
    assert server.token is not None
    assert server.token not in text
    assert "lock.close()" not in text


def test_metrics_count_jobs_and_queries(client: httpx.Client) -> None:
    job = index(client, "first")
    client.post("/query", json={"query": "lock", "mode": "hybrid"})
    client.post("/query", json={"query": "lock", "top_k": 0})
    client.get("/health")
    client.get("/no/such/path")
    client.get("/index/jobs", headers={"Host": "evil.example"})
    seen = read_metrics(client)
    assert 0.05 < seen["agent_brain_start_seconds"] < LIMIT_S
    assert seen["agent_brain_discovery_seconds_count"] >= 1
    assert seen["agent_brain_files_indexed_total"] == 1
    assert seen["agent_brain_indexing_seconds_total"] > 0
    assert seen["agent_brain_embedding_seconds_total"] > 0
    assert seen['agent_brain_jobs_ended_total{state="done"}'] == 1
    assert seen['agent_brain_query_seconds_count{mode="hybrid"}'] == 1
    for stage in ("bm25", "embed", "vector", "facts", "rank", "fetch"):
        assert seen[f'agent_brain_query_stage_seconds_count{{stage="{stage}"}}'] == 1
    for gauge in ("documents", "chunks", "keyword_chunks", "vectors", "stored_vectors", "open_projects"):
        assert seen[f"agent_brain_{gauge}"] == 1, gauge
    assert seen["agent_brain_registered_projects"] == 1
    assert seen["agent_brain_files_pending"] == 0
    assert seen["process_resident_memory_bytes"] > 10_000_000
    assert seen["agent_brain_worker_resident_memory_bytes"] > 10_000_000
    requests = {name: value for name, value in seen.items() if name.startswith("agent_brain_requests_total")}
    assert requests['agent_brain_requests_total{method="POST",route="/query",status="200"}'] == 1
    assert requests['agent_brain_requests_total{method="POST",route="/query",status="422"}'] == 1
    assert requests['agent_brain_requests_total{method="GET",route="none",status="404"}'] == 1
    assert requests['agent_brain_requests_total{method="GET",route="none",status="403"}'] == 1
    assert not any(job["job_id"] in name for name in requests)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RuntimeState]:
    home = tmp_path / "home"
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(home))
    home.mkdir()
    (home / "shared_config.json").write_text('{"port": 0}')
    yield start_daemon().state
    stop_daemon()


def test_daemon_log_lines_name_their_project(daemon: RuntimeState, tmp_path: Path) -> None:
    jobs = {}
    with httpx.Client(base_url=daemon.base_url, headers={"Authorization": f"Bearer {daemon.token}"}) as client:
        for name in ("one", "two"):
            root = tmp_path / name
            root.mkdir()
            (root / "a.py").write_text("def a():\n    return 1\n")
            project_id = register_project(daemon, root, default_state_dir(root)).project_id
            assert project_id is not None
            body = {"folder_path": ".", "project_id": project_id}
            job_id = client.post("/index", json=body).json()["job_id"]
            jobs[job_id] = project_id
            events = client.get(f"/index/jobs/{job_id}/events", params={"project_id": project_id}, timeout=LIMIT_S)
            assert "event: end" in events.text
        assert client.get("/health/status", params={"project_id": "p_ffffffff"}).status_code == 404
        assert client.get("/health/status").status_code == 422
        seen = read_metrics(client)
    assert (seen["agent_brain_open_projects"], seen["agent_brain_registered_projects"]) == (2, 2)
    assert seen["agent_brain_documents"] == 2
    assert seen['agent_brain_jobs_ended_total{state="done"}'] == 2
    text = (tmp_path / "home" / "logs" / "server.log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["job_id"]: line["project_id"] for line in lines if "job_id" in line} == jobs
