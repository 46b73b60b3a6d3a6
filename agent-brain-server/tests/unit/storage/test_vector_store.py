"""The manager: choice of the engine, synchronization with the documents, change from one engine to another."""

import subprocess
import sys

import numpy as np
import pytest

from agent_brain_server.storage.vector_store import VectorStoreManager, purge_remote_vectors
from agent_brain_server.types import ChromaServer

DIMENSION = 24


def unit_vectors(count, seed=7):
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def open_manager(tmp_path, store):
    opened = []

    def open_now(directory=tmp_path / "chroma_db", **options):
        opened.append(
            VectorStoreManager(directory, dimension=DIMENSION, model_name="model", store_id=store.store_id, **options)
        )
        return opened[-1]

    yield open_now
    for manager in opened:
        manager.close()


@pytest.fixture
def embed(store, make_file):
    """Return a function that gives every chunk without a vector one; equal texts get equal vectors."""
    store.replace_files([make_file("a.py", [f"text {number}" for number in range(20)])])

    def run(manager):
        chunks = store.unembedded(100)
        keys = [stored.key for stored in chunks]
        if keys:
            vectors = np.stack([unit_vectors(1, seed=key)[0] for key in keys])
            manager.add(keys, [stored.chunk.text for stored in chunks], vectors)
            store.mark_embedded(keys)
        return len(keys)

    return run


def test_sync_marks_lost_chunks_and_deletes_orphans(open_manager, store, embed):
    manager = open_manager()
    embed(manager)
    keys = store.embedded_keys()
    manager.delete(keys[:3])
    store.remove_files(["a.py"])
    result = manager.sync(store)
    assert (len(result.missing), len(result.orphans)) == (0, 17)
    assert manager.count() == 0


def test_sync_lost_vectors_are_embedded_again(open_manager, store, embed):
    manager = open_manager()
    embed(manager)
    manager.delete(store.embedded_keys()[:3])
    assert len(manager.sync(store).missing) == 3
    assert embed(manager) == 3
    assert manager.count() == store.counts().embedded == 20


@pytest.mark.process
def test_engine_default_is_exact_and_loads_no_chroma(open_manager, tmp_path):
    assert open_manager().engine == "exact"
    program = (
        "import sys; from pathlib import Path; import numpy as np;"
        "from agent_brain_server.storage.vector_store import VectorStoreManager;"
        "store = VectorStoreManager(Path(sys.argv[1]), dimension=24, model_name='model', store_id='store');"
        "store.search(np.ones(24, dtype=np.float32), 3); store.close();"
        "print({'chromadb', 'httpx'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "other")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_change_to_chroma_reuses_vectors(open_manager, store, embed, tmp_path):
    first = open_manager()
    embed(first)
    first.close()
    second = open_manager(engine="chroma")
    assert second.engine == "chroma"
    assert len(second.sync(store).missing) == 20
    texts = [stored.chunk.text for stored in store.unembedded(100)]
    assert set(second.cached_vectors(texts)) == set(texts)
    second.maintain(store)
    assert (tmp_path / "chroma_db" / "vectors.sqlite3").exists()
    embed(second)
    second.maintain(store)
    assert not (tmp_path / "chroma_db" / "vectors.sqlite3").exists()
    assert second.cached_vectors(texts) == {}
    assert second.count() == 20


def test_change_to_exact_removes_chroma_files(open_manager, store, embed, tmp_path):
    first = open_manager(engine="chroma")
    embed(first)
    first.close()
    assert list((tmp_path / "chroma_db").glob("chroma-*"))
    second = open_manager()
    assert not list((tmp_path / "chroma_db").glob("chroma-*"))
    assert len(second.sync(store).missing) == 20


def test_purge_deletes_collection_of_index(open_manager, store, embed, own_server, tmp_path):
    (tmp_path / "documents").rename(tmp_path / "llamaindex")
    server = ChromaServer(own_server.url)
    manager = open_manager(engine="chroma", chroma_server=server)
    embed(manager)
    manager.close()
    assert list(own_server.collections().values()) == [20]
    assert purge_remote_vectors(tmp_path, server)
    assert own_server.collections() == {}
    assert not purge_remote_vectors(tmp_path, server)
    assert not purge_remote_vectors(tmp_path / "nothing", server)
