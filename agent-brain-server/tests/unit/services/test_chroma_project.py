"""A project whose vectors are in Chroma: embedded, and on a server that goes away and returns."""

import time

import pytest

from agent_brain_server.config.settings import ProjectConfig
from agent_brain_server.errors import StoreError
from agent_brain_server.models.query import QueryRequest
from agent_brain_server.project.projects import SingleProject
from agent_brain_server.project.services import ProjectServices, SharedServices
from agent_brain_server.storage import chroma_engine
from agent_brain_server.storage.chroma_collections import delete_collection
from agent_brain_server.types import ChromaServer

LIMIT_S = 600.0
HYBRID = QueryRequest(query="where is the lock released?")
VECTOR = QueryRequest(query="where is the lock released?", mode="vector")


@pytest.fixture
def open_chroma_services(monkeypatch):
    """Return a function that opens the services of a project with settings."""
    monkeypatch.setattr(chroma_engine, "RETRY_S", 0.1)
    opened = []

    def open_now(project, **settings):
        config = ProjectConfig(watch=False, **settings)
        parts = SharedServices.make(config.embedding_model, max_concurrent_indexing=1)
        state_dir = project / ".claude" / "Agent Brain"
        opened.append(ProjectServices.open("project", project, state_dir, config, shared=parts))
        return opened[-1]

    yield open_now
    for services in opened:
        services.close()


def wait_for_status(services, holds):
    deadline = time.monotonic() + LIMIT_S
    while not holds(status := services.status()):
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return status


def test_embedded_chroma_answers_and_survives_reopening(project, open_chroma_services, run_job):
    services = open_chroma_services(project, vector_engine="chroma")
    assert run_job(services).state == "done"
    status = services.status()
    assert (status.vector_engine, status.vector_server, status.vector_fault) == ("chroma", None, None)
    assert (status.vector_coverage, status.vectors_behind) == (1, 0)
    before = [result.chunk_id for result in services.queries.answer(VECTOR).results]
    assert before
    services.close()
    again = open_chroma_services(project, vector_engine="chroma")
    assert again.repairs.made() == []
    assert [result.chunk_id for result in again.queries.answer(VECTOR).results] == before


def test_lost_chroma_files_are_reported_and_rebuilt(project, open_chroma_services, run_job):
    services = open_chroma_services(project, vector_engine="chroma")
    run_job(services)
    services.close()
    (directory,) = (project / ".claude/Agent Brain/data/chroma_db").glob("chroma-*")
    (directory / "chroma.sqlite3").write_bytes(b"garbage" * 5000)
    again = open_chroma_services(project, vector_engine="chroma")
    assert any("damaged or lost" in repair for repair in again.repairs.made())
    wait_for_status(again, lambda status: status.vector_coverage == 1 and status.total_vectors > 0)


def test_server_away_keywords_answer_and_vectors_follow(project, open_chroma_services, run_job, own_server):
    services = open_chroma_services(project, chroma_url=own_server.url)
    assert run_job(services).state == "done"
    status = services.status()
    assert (status.vector_engine, status.vector_server) == ("chroma", own_server.url)
    assert list(own_server.collections().values()) == [status.total_chunks]
    assert SingleProject(services).health().fault is None

    own_server.kill()
    assert services.queries.answer(HYBRID).results[0].source == "src/locks.py"
    with pytest.raises(StoreError, match="does not answer"):
        services.queries.answer(VECTOR)
    (project / "src" / "late.py").write_text("def release_everything_at_last():\n    return 'released late'\n")
    job = run_job(services)
    assert job.state == "failed"
    assert "does not answer" in job.error
    found = services.queries.answer(QueryRequest(query="release_everything_at_last"))
    assert (found.results[0].source, found.index.vector_coverage) == ("src/late.py", 0)
    status = services.status()
    assert status.vector_fault.startswith("chroma_unreachable: ")
    assert status.vectors_behind == 1
    assert "keywords" in (SingleProject(services).health().fault or "")

    own_server.start()
    status = wait_for_status(services, lambda status: status.vectors_behind == 0 and status.vector_fault is None)
    assert list(own_server.collections().values()) == [status.total_chunks]
    assert services.queries.answer(VECTOR).results
    assert SingleProject(services).health().fault is None


def test_server_that_lost_vectors_gets_them_again(project, open_chroma_services, run_job, own_server):
    services = open_chroma_services(project, chroma_url=own_server.url)
    run_job(services)
    (name,) = own_server.collections()
    services.close()
    delete_collection(name, ChromaServer(own_server.url))
    again = open_chroma_services(project, chroma_url=own_server.url)
    assert any("damaged or lost" in repair for repair in again.repairs.made())
    status = wait_for_status(again, lambda status: status.vectors_behind == 0)
    assert own_server.collections() == {name: status.total_chunks}


def test_clear_empties_collection(project, open_chroma_services, run_job, own_server):
    services = open_chroma_services(project, chroma_url=own_server.url)
    run_job(services)
    services.indexing.clear()
    assert list(own_server.collections().values()) == [0]
