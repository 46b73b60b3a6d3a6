"""What Prometheus reads."""

from fastapi.testclient import TestClient


def test_metrics_count_what_the_index_holds_and_what_was_asked(client: TestClient, index_all) -> None:
    job = index_all()
    client.post("/query", json={"query": "lock", "mode": "bm25"})
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert "agent_brain_documents 4.0" in lines
    assert f"agent_brain_chunks_indexed_total {job['progress']['chunks_written']}.0" in lines
    assert 'agent_brain_query_seconds_count{mode="bm25"} 1.0' in lines


def test_metrics_of_the_daemon_are_one_text_for_all_projects(daemon: TestClient, project) -> None:
    assert "agent_brain_documents 0.0" in daemon.get("/metrics").text
