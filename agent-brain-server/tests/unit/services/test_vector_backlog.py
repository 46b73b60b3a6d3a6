"""Vectors fill in behind with the real worker and model, and nothing is embedded twice."""

from collections.abc import Callable

from agent_brain_server.api.bundle import ServiceBundle
from agent_brain_server.models.index import JobStatus
from agent_brain_server.services.vector_backlog import embedding_key, embedding_text
from agent_brain_server.types import Chunk

RunJob = Callable[..., JobStatus]


def test_a_text_is_embedded_below_where_it_stands() -> None:
    method = Chunk("i", "src/a.py", "def close(self): ...", 1, 1, "python", "code", ("close",), "class Client")
    assert embedding_text(method) == "src/a.py > class Client\ndef close(self): ..."
    plain = Chunk("i", "src/a.py", "x = 1", 1, 1, "python", "code")
    assert embedding_text(plain) == "src/a.py\nx = 1"


def test_keys_tell_texts_apart_and_take_any_text() -> None:
    keys = {embedding_key(text) for text in ("", "a", "b", "a ", "\ud800")}
    assert len(keys) == 5
    assert {len(key) for key in keys} == {32}


def test_a_text_that_was_embedded_once_needs_no_worker(bundle: ServiceBundle, run_job: RunJob) -> None:
    run_job(bundle)
    before = bundle.metrics.chunks_embedded._value.get()
    run_job(bundle, force=True)
    bundle.documents.clear_embedded()
    run_job(bundle)
    assert bundle.documents.counts().embedded == bundle.documents.counts().chunks
    assert bundle.metrics.chunks_embedded._value.get() == before


def test_every_chunk_has_the_vector_of_its_own_text(bundle: ServiceBundle, run_job: RunJob) -> None:
    run_job(bundle)
    keys = bundle.vectors.keys()
    chunks = bundle.documents.chunks_by_keys(keys)
    model = bundle.embedder.open()
    for key, chunk in chunks.items():
        nearest = bundle.vectors.search(model.embed([embedding_text(chunk)])[0], 1)[0]
        assert nearest.key == key
        assert nearest.score > 0.999
