"""LlamaIndex programs query a project's server and the shared daemon through the retriever."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_brain_server.config.settings import write_project_config
from agent_brain_server.discovery import discover_or_start, request_json
from agent_brain_server.errors import ConfigError, DeadlineError
from agent_brain_server.lifecycle.control import stop_daemon, stop_server
from agent_brain_server.storage_paths import prepare_brain_home, resolve_state_dir, shared_config_path

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from the library's own imports

VECTORS_LIMIT_S = 600.0

ASYMMETRIC = """
from llama_index.core.embeddings import BaseEmbedding


class OllamaEmbedding(BaseEmbedding):
    def _get_text_embedding(self, text):
        return [1.0, 0.0, 0.0] if "FileLock" in text else [0.0, 1.0, 0.0]

    def _get_query_embedding(self, query):
        return [1.0, 0.0, 0.0]

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)
"""
"""LlamaIndex integration whose model embeds queries and documents differently."""


@pytest.fixture(params=["project", "shared"])
def root(request, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the small project, not indexed, in each mode."""
    monkeypatch.setenv("AGENT_BRAIN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOC_SERVE_STATE_DIR", raising=False)
    prepare_brain_home()
    shared_config_path().write_text('{"port": 0}')
    write_project_config(resolve_state_dir(project), mode=request.param)
    yield project
    stop_server(resolve_state_dir(project), force=True)
    stop_daemon(force=True)


def test_retriever_indexes_then_returns_scored_nodes(root: Path) -> None:
    from agent_brain_server.integrations.llama_index import AgentBrainRetriever

    retriever = AgentBrainRetriever(root / "src", top_k=1, mode="bm25", languages=["python"])
    best = retriever.retrieve("FileLock release")
    assert len(best) == 1
    assert best[0].node.metadata["source"] == "src/locks.py"
    assert "release" in best[0].node.get_content()
    assert best[0].score is not None
    assert best[0].score > 0
    assert retriever.retrieve("FileLock release") == best
    assert asyncio.run(retriever.aretrieve("FileLock release")) == best


def test_retriever_in_empty_project_returns_nothing(root: Path) -> None:
    from agent_brain_server.integrations.llama_index import AgentBrainRetriever

    for path in [path for path in root.rglob("*") if path.is_file() and ".claude" not in path.parts]:
        path.unlink()
    assert AgentBrainRetriever(root).retrieve("FileLock release") == []


def test_retriever_past_deadline_raises_while_job_continues(root: Path) -> None:
    from agent_brain_server.integrations.llama_index import AgentBrainRetriever

    with pytest.raises(DeadlineError):
        AgentBrainRetriever(root, index_timeout_s=0).retrieve("FileLock release")
    assert AgentBrainRetriever(root, mode="bm25").retrieve("FileLock release")


def test_query_with_asymmetric_model_uses_query_embedding(root: Path, tmp_path: Path, monkeypatch) -> None:
    from agent_brain_server.integrations.llama_index import AgentBrainRetriever

    package = tmp_path / "integration" / "llama_index" / "embeddings"
    package.mkdir(parents=True)
    (package / "ollama.py").write_text(ASYMMETRIC)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "integration"))
    monkeypatch.setenv("AGENT_BRAIN_EMBEDDING_MODEL", "ollama:asymmetric")
    retriever = AgentBrainRetriever(root, top_k=1, mode="vector", similarity_threshold=0.9)
    retriever.retrieve("where is the key turned?")  # indexes
    server = discover_or_start(root)
    deadline = time.monotonic() + VECTORS_LIMIT_S
    while request_json(server, "GET", f"/health/status?project_id={server.project_id}")["vector_coverage"] < 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (best,) = retriever.retrieve("where is the key turned?")
    assert best.node.metadata["source"] == "src/locks.py"


def test_retriever_in_home_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agent_brain_server.integrations.llama_index import AgentBrainRetriever

    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="not a project"):
        AgentBrainRetriever(tmp_path)
