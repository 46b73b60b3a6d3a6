"""A project whose vectors are on a Chroma server, from its first index through the server's absence and back."""

import time

import pytest

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.models.query import QueryRequest
from agent_brain_server.project.projects import SingleProject
from agent_brain_server.project.services import ProjectServices, SharedServices
from agent_brain_server.storage import chroma_mirror, vector_store

LIMIT_S = 120
QUESTION = QueryRequest(query="where is the lock released?")
MEANING = QueryRequest(query="where is the lock released?", mode="vector")


@pytest.fixture
def open_on_chroma(own_server, monkeypatch):
    """Return a function that opens services whose vectors are beyond what is compared exactly, at a small size."""
    monkeypatch.setattr(vector_store, "CHROMA_FROM", 0)
    monkeypatch.setattr(vector_store, "CHROMA_SERVER_FROM", 0)
    monkeypatch.setattr(vector_store, "EXACT_SUBSET_LIMIT", 1)
    monkeypatch.setattr(chroma_mirror, "RETRY_S", 0.1)
    opened = []

    def open_now(project):
        state_dir = project / ".claude" / "Agent Brain"
        settings = ProjectConfig(watch=False, chroma_url=own_server.url)
        parts = SharedServices.make(settings.embedding_model, max_concurrent_indexing=1)
        opened.append(ProjectServices.open("project", project, state_dir, settings, shared=parts))
        return opened[-1]

    yield open_now
    for bundle in opened:
        bundle.close()


@pytest.fixture
def bundle(open_on_chroma, project):
    return open_on_chroma(project)


def wait_for_status(bundle, holds):
    deadline = time.monotonic() + LIMIT_S
    while not holds(status := bundle.status()):
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return status


def test_answers_go_on_without_the_server_and_vectors_reach_it_later(own_server, project, bundle, run_job):
    run_job(bundle)
    status = wait_for_status(bundle, lambda status: status.vectors_behind == 0)
    assert (status.vector_server, status.vector_fault) == (own_server.url, None)
    assert status.vector_engine == "chroma"
    assert list(own_server.collections().values()) == [status.total_chunks]
    assert SingleProject(bundle).health().fault is None
    before = [result.chunk_id for result in bundle.queries.answer(MEANING).results]
    assert before

    own_server.kill()
    assert {result.chunk_id for result in bundle.queries.answer(MEANING).results} >= set(before)
    assert bundle.queries.answer(QUESTION).results[0].source == "src/locks.py"
    (project / "src" / "late.py").write_text("def release_everything_at_last():\n    return 'released late'\n")
    assert run_job(bundle).state == "done"
    found = bundle.queries.answer(QueryRequest(query="release_everything_at_last")).results[0]
    assert found.source == "src/late.py"
    assert found.vector_score is not None
    status = wait_for_status(bundle, lambda status: status.vector_fault is not None)
    assert status.vector_fault.startswith("chroma_unreachable: ")
    assert status.vectors_behind == 1
    assert status.vector_engine == "exact"
    assert status.vector_coverage == 1
    assert "exactly" in (SingleProject(bundle).health().fault or "")

    own_server.start()
    (project / "src" / "later.py").write_text("def and_one_more():\n    return 1\n")
    run_job(bundle)
    status = wait_for_status(bundle, lambda status: status.vectors_behind == 0 and status.vector_fault is None)
    assert status.vector_engine == "chroma"
    assert list(own_server.collections().values()) == [status.total_chunks]
    assert SingleProject(bundle).health().fault is None


def wait_for_collections(own_server, count):
    deadline = time.monotonic() + LIMIT_S
    while len(own_server.collections()) != count:
        assert time.monotonic() < deadline, own_server.collections()
        time.sleep(0.05)


def test_a_moved_project_has_one_collection_and_a_cleared_one_none(
    own_server, project, bundle, open_on_chroma, run_job
):
    run_job(bundle)
    wait_for_status(bundle, lambda status: status.vectors_behind == 0)
    (before,) = own_server.collections()
    bundle.close()
    moved = project.rename(project.with_name("moved"))
    again = open_on_chroma(moved)
    run_job(again)
    status = wait_for_status(again, lambda status: status.vectors_behind == 0 and status.vector_coverage == 1)
    wait_for_collections(own_server, 1)
    (after,) = own_server.collections().items()
    assert (after[0] != before, after[1]) == (True, status.total_chunks)

    again.indexing.clear()
    run_job(again, "docs", include_patterns=["nothing"])
    wait_for_collections(own_server, 0)
