"""Every endpoint over real HTTP against a real server, with valid and invalid input."""

import http.client
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from agent_brain_server.lifecycle.control import start_server, stop_server
from agent_brain_server.runtime import RuntimeState
from agent_brain_server.storage_paths import resolve_state_dir

JOB_LIMIT_S = 600.0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ein Projekt ü")
    (root / "src").mkdir()
    for number in range(20):
        (root / f"src/part_{number}.py").write_text(f"def handle_part_{number}(value):\n    return value + {number}\n")
    (root / "src/main.go").write_text("package main\n\nfunc HandlePart() int { return 1 }\n")
    (root / "test_part.py").write_text("def test_handle_part():\n    assert handle_part_1(1) == 2\n")
    (root / "README.md").write_text("# Parts\n\n## Handling\n\nEach part is handled in turn.\n")
    return root


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeState]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENT_BRAIN_HOME", str(tmp_path_factory.mktemp("home")))
        state = start_server(root).state
        yield state
        stop_server(resolve_state_dir(root))


@pytest.fixture(scope="module")
def client(server: RuntimeState) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base_url, headers={"Authorization": f"Bearer {server.token}"}) as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
def indexed(client: httpx.Client) -> dict[str, Any]:
    return follow(client, client.post("/index", json={"folder_path": "."}).json()["job_id"])


def follow(client: httpx.Client, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + JOB_LIMIT_S
    while (job := client.get(f"/index/jobs/{job_id}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    return job  # type: ignore[no-any-return]


def ask(client: httpx.Client, query: str, **fields: Any) -> dict[str, Any]:
    answer = client.post("/query", json={"query": query, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["detail"]
    assert problem["hint"]
    assert "Traceback" not in answer.text
    return problem


# Valid requests


def test_health_without_credentials_tells_no_path(server: RuntimeState, root: Path) -> None:
    answer = httpx.get(f"{server.base_url}/health")
    health = answer.json()
    assert (health["status"], health["mode"], health["instance_id"]) == ("healthy", "project", server.instance_id)
    assert health["project_id"] == server.project_id
    assert str(root) not in answer.text


def test_status_counts_documents_and_chunks(client: httpx.Client, indexed: dict[str, Any], root: Path) -> None:
    status = client.get("/health/status").json()
    assert indexed["state"] == "done"
    assert status["total_documents"] == indexed["progress"]["files_total"] == 23
    assert status["total_chunks"] == status["total_vectors"] == indexed["progress"]["chunks_written"]
    assert status["vector_engine"] == "exact"
    assert status["indexing_in_progress"] is False
    assert status["project_root"] == str(root)


@pytest.mark.parametrize("mode", ["hybrid", "bm25", "vector"])
def test_query_in_each_mode_finds_definition(client: httpx.Client, root: Path, mode: str) -> None:
    best = ask(client, "handle_part_7", mode=mode)["results"][0]
    assert (best["source"], best["symbols"]) == ("src/part_7.py", ["handle_part_7"])
    lines = (root / best["source"]).read_text().splitlines()
    assert best["text"].splitlines() == lines[best["start_line"] - 1 : best["end_line"]]


def test_query_for_heading_finds_its_section(client: httpx.Client) -> None:
    best = ask(client, "how are parts handled", source_types=["doc"])["results"][0]
    assert best["source"] == "README.md"
    assert "Handling" in best["heading"]


def test_query_filters_apply_before_ranking(client: httpx.Client) -> None:
    assert {r["language"] for r in ask(client, "handle part", languages=["go"])["results"]} == {"go"}
    assert {r["source_type"] for r in ask(client, "handle part", source_types=["test"])["results"]} == {"test"}
    chosen = ask(client, "handle part", file_paths=["src/part_1*.py"], top_k=50)["results"]
    assert len(chosen) == 11
    assert {r["language"] for r in ask(client, "handle part", languages=["Golang"])["results"]} == {"go"}
    refused = client.post("/query", json={"query": "handle part", "languages": ["go", "cobol"]})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert "languages.1: no such language; allowed: asciidoc, assembly, " in refused.json()["detail"]


def test_query_with_explain_returns_score_breakdown(client: httpx.Client) -> None:
    assert ask(client, "handle_part_3")["results"][0]["explanation"] is None
    explained = ask(client, "handle_part_3", explain=True)["results"][0]
    assert {"name", "value", "contribution"} <= explained["explanation"][0].keys()
    assert sum(s["contribution"] for s in explained["explanation"]) == pytest.approx(explained["score"], rel=1e-3)


def test_query_repeated_returns_same_results(client: httpx.Client) -> None:
    first, second = (ask(client, "handle part value", top_k=30)["results"] for _ in range(2))
    assert first == second
    scores = [result["score"] for result in first]
    assert scores == sorted(scores, reverse=True)


def test_chunk_by_id_returns_whole_text(client: httpx.Client) -> None:
    best = ask(client, "handle_part_2")["results"][0]
    chunk = client.get(f"/query/chunks/{best['chunk_id']}").json()
    assert chunk["text"] == best["text"]
    assert_problem(client.get("/query/chunks/0123"), 404, "unknown_chunk")


def test_query_threshold_drops_distant_vectors(client: httpx.Client) -> None:
    everything = ask(client, "handle part", mode="vector", top_k=100)["results"]
    near = ask(client, "handle part", mode="vector", top_k=100, similarity_threshold=0.5)["results"]
    assert 0 < len(near) < len(everything)
    assert all(result["vector_score"] >= 0.5 for result in near)


def test_job_events_end_with_final_status(client: httpx.Client) -> None:
    job_id = client.post("/index", json={"folder_path": "src", "force": True}).json()["job_id"]
    with client.stream("GET", f"/index/jobs/{job_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [line for line in stream.iter_lines() if line]
    assert events[-2] == "event: end"
    assert json.loads(events[-1].removeprefix("data: "))["state"] == "done"


def test_job_list_is_newest_first(client: httpx.Client) -> None:
    first = client.post("/index", json={"folder_path": "src/part_1.py"}).json()["job_id"]
    follow(client, first)
    second = client.post("/index", json={"folder_path": "src/part_2.py"}).json()["job_id"]
    follow(client, second)
    assert [job["job_id"] for job in client.get("/index/jobs").json()["jobs"][:2]] == [second, first]
    assert_problem(client.delete(f"/index/jobs/{first}"), 409, "job_already_ended")


def test_metrics_count_queries(client: httpx.Client) -> None:
    ask(client, "handle")
    text = client.get("/metrics").text
    assert 'agent_brain_query_seconds_count{mode="hybrid"}' in text
    assert f"agent_brain_chunks {client.get('/health/status').json()['total_chunks']}.0" in text
    assert "process_resident_memory_bytes" in text


def test_request_id_header_is_returned(client: httpx.Client) -> None:
    assert client.get("/health", headers={"X-Request-ID": "mine-7"}).headers["x-request-id"] == "mine-7"
    assert client.get("/health", headers={"X-Request-ID": "x" * 200}).headers["x-request-id"] != "x" * 200
    assert client.get("/health").headers["x-request-id"]


def test_owner_without_token_is_authorized(server: RuntimeState) -> None:
    assert httpx.get(f"{server.base_url}/health/status").status_code == 200


# Refused requests

BAD_QUERIES: dict[str, bytes] = {
    "no json": b"{bad",
    "not an object": b"[1]",
    "nothing": b"",
    "empty": b'{"query": ""}',
    "too long": json.dumps({"query": "x" * 4001}).encode(),
    "lone surrogate": b'{"query": "\\ud800"}',
    "invalid utf-8": b'{"query": "\xff"}',
    "number": b'{"query": 5}',
    "nan alpha": b'{"query": "x", "alpha": NaN}',
    "infinite threshold": b'{"query": "x", "similarity_threshold": Infinity}',
    "nan top_k": b'{"query": "x", "top_k": NaN}',
    "huge top_k": b'{"query": "x", "top_k": 1e400}',
    "no top_k": b'{"query": "x", "top_k": 0}',
    "unknown mode": b'{"query": "x", "mode": "psychic"}',
    "unknown field": b'{"query": "x", "colour": 1}',
    "unknown type": b'{"query": "x", "source_types": ["song"]}',
    "empty glob": b'{"query": "x", "file_paths": [""]}',
    "deep nesting": b'{"query": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("body", BAD_QUERIES.values(), ids=BAD_QUERIES.keys())
def test_invalid_query_body_is_refused(client: httpx.Client, body: bytes) -> None:
    assert_problem(
        client.post("/query", content=body, headers={"Content-Type": "application/json"}), 422, "invalid_request"
    )


def test_query_with_invalid_glob_names_it(client: httpx.Client) -> None:
    problem = assert_problem(client.post("/query", json={"query": "x", "file_paths": ["["]}), 422, "invalid_glob")
    assert "'['" in problem["detail"]


def test_query_of_unusual_text_is_answered(client: httpx.Client) -> None:
    for query in ("\0", "a\0b", "🦆" * 1000, "()[]{}*?+|^$\\", "AND OR NOT", "   ", "\u202e", "-" * 4000, "x" * 4000):
        ask(client, query)


def test_oversized_body_is_refused(client: httpx.Client) -> None:
    body = b'{"query": "' + b"x" * 1_100_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    assert_problem(client.post("/query", content=body, headers=headers), 413, "payload_too_large")
    parts = (body[i : i + 65536] for i in range(0, len(body), 65536))
    assert_problem(client.post("/query", content=parts, headers=headers), 413, "payload_too_large")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"folder_path": "missing"}, 404, "path_not_found"),
        ({"folder_path": "/etc"}, 422, "outside_project"),
        ({"folder_path": "../.."}, 422, "outside_project"),
        ({"folder_path": "fifo"}, 422, "not_a_file"),
        ({"folder_path": "\0"}, 404, "path_not_found"),
        ({"folder_path": "x" * 4000}, 404, "path_not_found"),
        ({"folder_path": ""}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
        ({"folder_path": ".", "include_patterns": ["!"]}, 422, "invalid_glob"),
        ({"folder_path": ".", "chunk_size": 1}, 422, "invalid_request"),
        ({"folder_path": ".", "chunk_size": 64, "chunk_overlap": 64}, 422, "invalid_request"),
        ({"folder_path": ".", "force": "maybe"}, 422, "invalid_request"),
    ],
)
def test_invalid_index_request_is_refused(
    client: httpx.Client, root: Path, body: dict[str, Any], status: int, code: str
) -> None:
    if not (root / "fifo").exists():
        os.mkfifo(root / "fifo")
    assert_problem(client.post("/index", json=body), status, code)


def test_unknown_job_route_and_method_are_refused(client: httpx.Client) -> None:
    assert_problem(client.get("/index/jobs/nope"), 404, "unknown_job")
    assert_problem(client.delete("/index/jobs/nope"), 404, "unknown_job")
    assert_problem(client.get("/index/jobs/nope/events"), 404, "unknown_job")
    assert_problem(client.get("/nothing/here"), 404, "no_such_route")
    assert_problem(client.put("/query"), 405, "method_not_allowed")


def test_foreign_host_and_origin_are_refused(client: httpx.Client) -> None:
    assert_problem(client.get("/health", headers={"Host": "rebound.example"}), 403, "foreign_host")
    assert_problem(client.post("/query", headers={"Origin": "http://evil.example"}), 403, "foreign_origin")


def test_owner_with_wrong_token_is_authorized(server: RuntimeState) -> None:
    answer = httpx.get(f"{server.base_url}/health/status", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 200  # the socket is the owner's


def test_aborted_requests_leave_server_healthy(server: RuntimeState, client: httpx.Client) -> None:
    address = urlsplit(server.base_url)
    for _ in range(20):
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
        connection.putrequest("POST", "/query")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b'{"query": "half')
        connection.close()
    assert ask(client, "handle_part_1")["results"]
