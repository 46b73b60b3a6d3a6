"""Queries and single chunks over HTTP."""

import pytest
from fastapi.testclient import TestClient

from agent_brain_server.embedding.token_counter import TokenCounter


def test_query_returns_path_lines_and_freshness(indexed_client: TestClient, shared_project) -> None:
    answer = indexed_client.post("/query", json={"query": "FileLock release", "top_k": 2}).json()
    best = answer["results"][0]
    assert (best["source"], best["language"], best["source_type"]) == ("src/locks.py", "python", "code")
    lines = (shared_project / "src/locks.py").read_text().splitlines()
    assert best["text"].splitlines() == lines[best["start_line"] - 1 : best["end_line"]]
    assert answer["total_results"] == len(answer["results"]) <= 2
    assert answer["index"]["vector_coverage"] == 1.0
    assert indexed_client.get(f"/query/chunks/{best['chunk_id']}").json()["text"] == best["text"]


def test_query_filters_by_source_type_and_path(indexed_client: TestClient) -> None:

    def sources(**fields):
        results = indexed_client.post("/query", json={"query": "header lock guide", **fields}).json()["results"]
        return {result["source"] for result in results}

    assert sources(source_types=["doc"]) == {"docs/guide.md"}
    assert sources(file_paths=["*.py", "!tests/"]) == {"src/locks.py", "src/parser.py"}
    assert sources(file_paths=["!src/", "!docs/"]) == {"tests/test_parser.py"}


def test_query_refuses_invalid_fields(client: TestClient, refusal) -> None:
    assert refusal(client.get("/query/chunks/abc")) == (404, "unknown_chunk")
    assert refusal(client.post("/query", json={"query": ""})) == (422, "invalid_request")
    for glob in ("[z-a]", "[", "!", "a\\"):
        bad = client.post("/query", json={"query": "x", "file_paths": [glob]})
        assert refusal(bad) == (422, "invalid_glob")
        assert repr(glob) in bad.json()["detail"]


def test_budget_counts_the_whole_document(indexed_client: TestClient) -> None:
    count = TokenCounter().count
    for budget in (50, 150, 1500):
        response = indexed_client.post("/query", json={"query": "header lock guide", "max_tokens": budget})
        assert count(response.text) <= budget
        assert "null" not in response.text
        assert response.json()["total_results"] == 4
        compact = indexed_client.post(
            "/query", json={"query": "lock", "max_tokens": budget, "format": "compact"}
        ).json()
        assert count(compact["text"]) <= budget


def test_several_queries_need_no_first_one(indexed_client: TestClient) -> None:
    answer = indexed_client.post("/query", json={"queries": ["FileLock", "installer"], "top_k": 1}).json()
    assert [result["answers"] for result in answer["results"]] == [[0], [1]]
    compact = indexed_client.post(
        "/query", json={"query": "FileLock", "queries": ["installer"], "format": "compact"}
    ).json()
    assert "[1,2]" in compact["text"].splitlines()[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 49},
        {"max_tokens": 100_001},
        {"max_tokens": "many"},
        {"format": "yaml"},
        {"queries": [""]},
        {"queries": ["x"] * 9},
        {"queries": "x"},
        {"queries": [None]},
    ],
)
def test_query_names_invalid_budget_format_and_queries(client: TestClient, refusal, fields) -> None:
    response = client.post("/query", json={"query": "x", **fields})
    assert refusal(response) == (422, "invalid_request")
    assert next(iter(fields)) in response.json()["detail"]
    assert refusal(client.post("/query", json={"queries": []})) == (422, "invalid_request")
