"""A LlamaIndex program asks a real server through our retriever."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_brain_server.discovery import discover_or_start, request_json
from agent_brain_server.lifecycle import stop_server
from agent_brain_server.storage_paths import resolve_state_dir


@pytest.fixture
def root(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    (project / ".claude").mkdir()
    yield project
    stop_server(resolve_state_dir(project))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the library's own imports
def test_nodes_carry_text_place_and_score(root: Path) -> None:
    from agent_brain_server.retriever import AgentBrainRetriever

    server = discover_or_start(root)
    job = request_json(server, "POST", "/index", {"folder_path": "."})["job_id"]
    deadline = time.monotonic() + 30
    while not request_json(server, "GET", f"/index/jobs/{job}")["progress"]["keywords_ready"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    best = AgentBrainRetriever(root / "src", top_k=1, mode="bm25", languages=["python"]).retrieve("FileLock release")
    assert len(best) == 1
    assert best[0].node.metadata["source"] == "src/locks.py"
    assert "release" in best[0].node.get_content()
    assert best[0].score is not None
    assert best[0].score > 0
