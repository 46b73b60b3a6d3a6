"""Queries and single chunks over HTTP."""

from fastapi.testclient import TestClient


def test_query_returns_path_lines_and_freshness(client: TestClient, index_all, project) -> None:
    index_all()
    answer = client.post("/query", json={"query": "FileLock release", "top_k": 2}).json()
    best = answer["results"][0]
    assert (best["source"], best["language"], best["source_type"]) == ("src/locks.py", "python", "code")
    lines = (project / "src/locks.py").read_text().splitlines()
    assert best["text"].splitlines() == lines[best["start_line"] - 1 : best["end_line"]]
    assert answer["total_results"] == len(answer["results"]) <= 2
    assert answer["index"]["vector_coverage"] == 1.0
    assert client.get(f"/query/chunks/{best['chunk_id']}").json()["text"] == best["text"]


def test_query_filters_by_source_type_and_path(client: TestClient, index_all) -> None:
    index_all()

    def sources(**fields):
        results = client.post("/query", json={"query": "header lock guide", **fields}).json()["results"]
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
