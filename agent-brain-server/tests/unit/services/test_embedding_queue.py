"""Embed the chunks of a project with the real worker and model."""

from collections.abc import Callable
from pathlib import Path

from agent_brain_server.models.index import JobStatus
from agent_brain_server.project.services import ProjectServices
from agent_brain_server.services.embedding_queue import embedding_key, embedding_text
from agent_brain_server.types import Chunk, ContextLine

RunJob = Callable[..., JobStatus]


def test_embedding_text_starts_with_path_and_heading() -> None:
    method = Chunk("i", "src/a.py", "def close(self): ...", 1, 1, "python", "code", ("close",), "class Client")
    assert embedding_text(method) == "src/a.py > class Client\ndef close(self): ..."
    plain = Chunk("i", "src/a.py", "x = 1", 1, 1, "python", "code")
    assert embedding_text(plain) == "src/a.py\nx = 1"
    lines = (ContextLine(2, "class Client:"), ContextLine(9, "def open(self):"))
    part = Chunk("i", "src/a.py", "x = 1", 5, 5, "python", "code", context=lines, part=2, parts=3)
    assert embedding_text(part) == "src/a.py\nclass Client:\nx = 1\ndef open(self):"


def test_embedding_keys_differ_for_different_texts() -> None:
    keys = {embedding_key(text) for text in ("", "a", "b", "a ", "\ud800")}
    assert len(keys) == 5
    assert {len(key) for key in keys} == {32}


def test_known_text_is_not_embedded_again(services: ProjectServices, run_job: RunJob) -> None:
    run_job(services)
    before = services.metrics.chunks_embedded._value.get()
    run_job(services, force=True)
    services.documents.mark_unembedded(services.documents.embedded_keys())
    run_job(services)
    assert services.documents.counts().embedded == services.documents.counts().chunks
    assert services.metrics.chunks_embedded._value.get() == before


def test_each_chunk_has_the_vector_of_its_text(services: ProjectServices, run_job: RunJob) -> None:
    run_job(services)
    assert_vectors_are_of_their_texts(services)


def test_changed_heading_changes_the_vector(services: ProjectServices, project: Path, run_job: RunJob) -> None:
    guide = project / "docs/guide.md"
    words = "It waits until the door opens, takes what lies behind it, and goes away again. " * 3
    guide.write_text(f"# Whales\n\n{words}\n\n## Feeding\n\nAll day. {words}\n")
    run_job(services)
    guide.write_text(guide.read_text().replace("Whales", "Cranes"))
    run_job(services)
    chunks = services.documents.chunks_by_keys(services.documents.embedded_keys())
    headings = [chunk.heading for chunk in chunks.values()]
    assert "Cranes > Feeding" in headings
    assert_vectors_are_of_their_texts(services)


def assert_vectors_are_of_their_texts(services: ProjectServices) -> None:
    keys = services.documents.embedded_keys()
    chunks = services.documents.chunks_by_keys(keys)
    model = services.embedder.open()
    for key, chunk in chunks.items():
        nearest = services.vectors.search(model.embed([embedding_text(chunk)])[0], 1)[0]
        assert nearest.key == key
        assert nearest.score > 0.999
