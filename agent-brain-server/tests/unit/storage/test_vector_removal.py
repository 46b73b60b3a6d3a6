"""A store that is about to be deleted takes its collections on a real `chroma run` with it, and nobody else's."""

import numpy as np
import pytest

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.chroma_place import name_collection
from agent_brain_server.storage.vector_removal import remove_from_server
from agent_brain_server.storage.vector_store import VectorStoreManager
from agent_brain_server.types import ChromaServer

STORE_ID = "ab" * 16


@pytest.fixture
def make_store(own_server):
    """Return a function that makes a store with a vector, on the server too, and closes it."""

    def make(directory, *, chroma=True, store_id=STORE_ID):
        here = ChromaServer(own_server.url) if chroma else None
        store = VectorStoreManager(directory, dimension=3, model_name="model", store_id=store_id, chroma_server=here)
        store.add([1], ["text"], np.eye(3, dtype=np.float32)[:1])
        if chroma:
            while store.flush_chroma():
                pass
        store.close()

    return make


def test_its_collection_goes_and_that_of_another_store_stays(own_server, make_store, tmp_path):
    make_store(tmp_path / "a")
    make_store(tmp_path / "b")
    assert len(own_server.collections()) == 2
    assert remove_from_server(tmp_path / "a", ChromaServer(own_server.url))
    assert list(own_server.collections()) == [name_collection(STORE_ID, tmp_path / "b")]
    assert not remove_from_server(tmp_path / "nothing", ChromaServer(own_server.url))


def test_a_store_that_was_moved_and_never_opened_since_finds_its_collection(own_server, make_store, tmp_path):
    make_store(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "moved")
    assert remove_from_server(tmp_path / "moved", ChromaServer(own_server.url))
    assert own_server.collections() == {}


def test_a_copy_leaves_its_original_s_alone(own_server, make_store, tmp_path):
    make_store(tmp_path / "a")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (tmp_path / "a").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert not remove_from_server(copy, ChromaServer(own_server.url))
    assert list(own_server.collections()) == [name_collection(STORE_ID, tmp_path / "a")]


def test_a_store_behind_a_link_is_not_touched(own_server, make_store, tmp_path):
    make_store(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert not remove_from_server(tmp_path / "link", ChromaServer(own_server.url))
    assert len(own_server.collections()) == 1


def test_a_store_without_a_server_and_a_damaged_one_have_none(own_server, make_store, tmp_path):
    make_store(tmp_path / "local", chroma=False)
    assert not remove_from_server(tmp_path / "local", ChromaServer(own_server.url))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "vectors.sqlite3").write_text("no database")
    assert not remove_from_server(tmp_path / "damaged", ChromaServer(own_server.url))


def test_a_server_that_is_away_is_told_of_with_what_is_left_there(own_server, make_store, tmp_path):
    make_store(tmp_path / "a")
    own_server.kill()
    with pytest.raises(StoreError, match="does not answer") as caught:
        remove_from_server(tmp_path / "a", ChromaServer(own_server.url))
    assert caught.value.hint == f"Remove there by hand: {name_collection(STORE_ID, tmp_path / 'a')}"
