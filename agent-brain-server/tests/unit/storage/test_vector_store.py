import signal
import subprocess
import sys

import numpy as np
import pytest

from agent_brain_server.errors import StoreError
from agent_brain_server.storage import coarse_search, vector_store
from agent_brain_server.storage.chroma_index import ChromaIndex
from agent_brain_server.storage.vector_store import VectorStoreManager
from agent_brain_server.types import AllowedChunks, QueryFilter

DIMENSION = 24
COUNT = 300


def unit_vectors(count, seed=7):
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def open_store(directory, *, model_name="model", store_id="store"):
    return VectorStoreManager(directory, dimension=DIMENSION, model_name=model_name, store_id=store_id)


def names(keys):
    return [f"text-{key}" for key in keys]


def best_by_hand(vectors, query, keys):
    scores = {key: float(vectors[key - 1] @ query) for key in keys}
    return sorted(scores, key=lambda key: -scores[key])


@pytest.fixture
def vectors():
    return unit_vectors(COUNT)


@pytest.fixture
def store(tmp_path, vectors):
    """Return a store with the keys 1 to COUNT, added in small batches out of order."""
    store = open_store(tmp_path)
    for first in range(COUNT - 24, 0, -25):
        keys = range(first, first + 25)
        store.add(keys, names(keys), vectors[first - 1 : first + 24])
    yield store
    store.close()


def test_the_nearest_come_first_with_their_cosines(store, vectors):
    for query in unit_vectors(20, seed=8):
        hits = store.search(query, 10)
        assert [hit.key for hit in hits] == best_by_hand(vectors, query, range(1, COUNT + 1))[:10]
        assert hits[0].score == pytest.approx(float(vectors[hits[0].key - 1] @ query), abs=1e-5)


@pytest.mark.parametrize("allowed_keys", [[5], list(range(1, COUNT, 2)), list(range(3, 40)), []])
def test_a_filter_never_starves_the_answer(store, vectors, allowed_keys):
    allowed = AllowedChunks(QueryFilter(languages=("x",)), np.array([*allowed_keys, 9999], dtype=np.int64), None)
    query = unit_vectors(1, seed=9)[0]
    hits = store.search(query, 10, allowed)
    assert [hit.key for hit in hits] == best_by_hand(vectors, query, allowed_keys)[:10]


def test_an_empty_store_answers_nothing(tmp_path):
    store = open_store(tmp_path)
    assert store.search(unit_vectors(1)[0], 5) == []
    assert store.count() == 0
    assert store.flush_chroma() == 0
    store.close()


def test_equal_texts_share_one_vector(tmp_path, vectors):
    store = open_store(tmp_path)
    store.add([1, 2], ["same", "same"], vectors[:2])
    store.add([3], ["same"], vectors[2:3])
    assert [hit.score for hit in store.search(vectors[0], 5)] == pytest.approx([1.0, 1.0, 1.0])
    store.close()


def test_a_text_that_comes_back_is_not_embedded_again(store, vectors):
    store.delete(range(1, COUNT + 1))
    cached = store.cached_vectors(["text-3", "never seen"])
    assert list(cached) == ["text-3"]
    assert np.array_equal(cached["text-3"], vectors[2])


def test_deleted_chunks_are_not_found(store, vectors):
    store.delete([1, 2, 4711])
    assert store.count() == COUNT - 2
    assert store.search(vectors[0], 1)[0].key != 1
    assert store.keys().tolist() == list(range(3, COUNT + 1))


def test_a_chunk_can_get_another_vector(store, vectors):
    fresh = unit_vectors(1, seed=10)
    store.add([1], ["changed"], fresh)
    assert store.count() == COUNT
    assert store.search(fresh[0], 1)[0].key == 1


def test_everything_is_there_after_opening_again(store, tmp_path, vectors):
    store.delete([9])
    store.close()
    again = open_store(tmp_path)
    assert again.keys().tolist() == [key for key in range(1, COUNT + 1) if key != 9]
    assert again.search(vectors[41], 1)[0].key == 42
    again.close()


def test_of_another_document_store_the_texts_vectors_are_kept_and_no_chunk(store, tmp_path, vectors):
    store.close()
    again = open_store(tmp_path, store_id="other")
    assert again.count() == 0
    assert not len(again.search(vectors[0], 3))
    assert list(again.cached_vectors(["text-1"])) == ["text-1"]
    again.close()
    again = open_store(tmp_path, store_id="other")
    assert len(again.cached_vectors(["text-1"])) == 1
    again.close()


def test_vectors_of_another_model_are_forgotten(store, tmp_path):
    store.close()
    again = open_store(tmp_path, model_name="other")
    assert again.count() == 0
    assert again.cached_vectors(["text-1"]) == {}
    assert len(list(tmp_path.glob("matrix-*"))) == 1
    again.close()


def test_a_cleared_store_takes_vectors_again(store, vectors):
    store.flush_chroma(2)
    store.clear()
    assert store.count() == 0
    store.add([7], ["text-7"], vectors[:1])
    assert [hit.key for hit in store.search(vectors[0], 5)] == [7]
    assert store.flush_chroma() == 0


def test_rows_that_the_file_lost_are_asked_for_again(store, tmp_path, vectors):
    store.close()
    matrix = next(tmp_path.glob("matrix-*"))
    with matrix.open("r+b") as file:
        file.truncate(DIMENSION * 4 * 100 + 17)
    again = open_store(tmp_path)
    assert again.count() == 100
    assert again.search(vectors[COUNT - 1], 1)[0].key == COUNT
    missing = sorted(set(range(1, COUNT + 1)) - set(again.keys().tolist()))
    again.add(missing, names(missing), vectors[np.array(missing) - 1])
    assert again.search(vectors[missing[0] - 1], 1)[0].key == missing[0]
    again.close()


def test_rows_that_nothing_needs_are_given_back_on_opening(store, tmp_path, vectors, monkeypatch):
    flush_all(store)
    store.delete(range(1, COUNT - 50))
    store.close()
    before = next(tmp_path.glob("matrix-*")).stat().st_size
    monkeypatch.setattr(vector_store, "MAX_UNUSED_ROWS", 10)
    again = open_store(tmp_path)
    assert next(tmp_path.glob("matrix-*")).stat().st_size < before / 4
    for key in range(COUNT - 50, COUNT + 1):
        assert again.search(vectors[key - 1], 1)[0].key == key
    assert again.cached_vectors(["text-1"]) == {}
    again.add([1], ["text-1"], vectors[:1])
    assert again.search(vectors[0], 1)[0].key == 1
    flush_all(again)
    assert in_chroma(again) == [1, *range(COUNT - 50, COUNT + 1)]
    again.close()


def test_rows_that_no_chunk_has_go_while_the_store_is_open(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_store, "MAX_UNUSED_ROWS", 20)
    store = open_store(tmp_path)
    changed = unit_vectors(200, seed=4)
    for number, vector in enumerate(changed):
        store.add([1, 2], [f"version {number}", f"other {number}"], np.stack([vector, -vector]))
    (file,) = tmp_path.glob("matrix-*")
    assert file.stat().st_size < 40 * vector.nbytes
    assert [hit.key for hit in store.search(changed[-1], 2)] == [1, 2]
    store.close()
    again = open_store(tmp_path)
    assert again.search(-changed[-1], 1)[0].key == 2
    again.close()


def test_a_damaged_map_is_made_anew(store, tmp_path):
    store.close()
    (tmp_path / "vectors.sqlite3").write_bytes(b"\x00garbage" * 4000)
    again = open_store(tmp_path)
    assert again.count() == 0
    again.close()


def test_a_directory_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        open_store(tmp_path / "file" / "below")


ADD_UNTIL_KILLED = """
import sys
from pathlib import Path
import numpy as np
from agent_brain_server.storage.vector_store import VectorStoreManager
store = VectorStoreManager(Path(sys.argv[1]), dimension=24, model_name="model", store_id="store")
key = 0
while True:
    key += 1
    vector = np.zeros((1, 24), dtype=np.float32)
    vector[0, key % 24] = 1
    store.add([key], [f"text-{key}"], vector)
    print(key, flush=True)
"""


@pytest.mark.process
def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", ADD_UNTIL_KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = 0
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged >= 60:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    store = open_store(tmp_path)
    assert store.count() >= acknowledged
    for key, vector in store.cached_vectors(names(range(1, acknowledged + 1))).items():
        assert vector[int(key.removeprefix("text-")) % 24] == 1
    store.close()


IMPORT_CHECK = """
import sys
from pathlib import Path
import numpy as np
from agent_brain_server.storage.vector_store import VectorStoreManager
store = VectorStoreManager(Path(sys.argv[1]), dimension=24, model_name="model", store_id="store")
store.search(np.ones(24, dtype=np.float32), 3)
store.close()
print("chromadb" in sys.modules)
"""


@pytest.mark.process
def test_opening_and_asking_does_not_load_chroma(store, tmp_path):
    store.close()
    command = [sys.executable, "-c", IMPORT_CHECK, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"


@pytest.fixture
def chroma_answers(monkeypatch):
    """Let Chroma answer at sizes that a test can afford."""
    monkeypatch.setattr(vector_store, "CHROMA_FROM", 50)
    monkeypatch.setattr(vector_store, "CHROMA_SERVER_FROM", 50)
    monkeypatch.setattr(vector_store, "EXACT_SUBSET_LIMIT", 20)


def flush_all(store):
    while store.flush_chroma(5):
        pass


def in_chroma(store):
    """Return what Chroma's own collection holds, by a client beside the store's."""
    return sorted(store._mirror.opened().keys())


@pytest.fixture
def components_answer(monkeypatch):
    """Let the components choose at sizes that a test can afford."""
    monkeypatch.setattr(vector_store, "EXACT_LIMIT", 50)
    monkeypatch.setattr(coarse_search, "RESCORED", 120)
    monkeypatch.setattr(coarse_search, "COMPONENTS", 20)


@pytest.mark.usefixtures("components_answer")
def test_beyond_the_limit_components_are_compared_first(store, vectors):
    assert store._snapshot.coarse is None
    store.learn_components()
    assert store._snapshot.coarse.values.shape == (20, COUNT)
    found = 0
    for query in unit_vectors(20, seed=11):
        hits = store.search(query, 5)
        found += len({hit.key for hit in hits} & set(best_by_hand(vectors, query, range(1, COUNT + 1))[:5]))
        assert hits[0].score == pytest.approx(float(vectors[hits[0].key - 1] @ query), abs=1e-5)
    assert found >= 95


@pytest.mark.usefixtures("components_answer")
def test_components_follow_every_change(store, vectors, tmp_path):
    store.learn_components()
    learned = store._snapshot.coarse
    fresh = unit_vectors(1, seed=12)
    store.add([1000], ["fresh"], fresh)
    store.delete([1])
    store.learn_components()
    assert store._snapshot.coarse.basis is learned.basis  # nothing was learned again
    assert store.search(fresh[0], 3)[0].key == 1000
    assert store.search(vectors[0], 1)[0].key != 1
    store.add(range(2000, 2400), names(range(2000, 2400)), unit_vectors(400, seed=13))
    store.learn_components()
    assert store._snapshot.coarse.learned_rows == COUNT + 401
    assert store.search(vectors[7], 1)[0].key == 8
    store.clear()
    assert store._snapshot.coarse is None
    store.learn_components()
    assert store._snapshot.coarse is None


def test_few_vectors_need_no_components(store):
    store.learn_components()
    assert store._snapshot.coarse is None
    assert not store.wants_chroma
    assert store.count_behind() == 0


@pytest.mark.usefixtures("chroma_answers")
def test_chroma_s_files_are_removed_where_it_is_not_wanted_any_more(store, tmp_path, monkeypatch):
    flush_all(store)
    store.close()
    assert (tmp_path / "chroma.sqlite3").exists()
    monkeypatch.setattr(vector_store, "CHROMA_FROM", COUNT)
    again = open_store(tmp_path)
    assert not (tmp_path / "chroma.sqlite3").exists()
    again.add([1000], ["one more"], unit_vectors(1, seed=14))
    assert again.wants_chroma
    flush_all(again)
    assert in_chroma(again) == [*range(1, COUNT + 1), 1000]
    again.close()


def test_chroma_follows_in_small_steps(store):
    behind = store.flush_chroma(1)
    assert behind == COUNT - ChromaIndex.batch_size
    flush_all(store)
    assert in_chroma(store) == list(range(1, COUNT + 1))
    store.delete([1, 2])
    flush_all(store)
    assert in_chroma(store) == list(range(3, COUNT + 1))


@pytest.mark.usefixtures("chroma_answers")
def test_beyond_the_limit_chroma_answers_as_the_matrix_would(store, vectors):
    flush_all(store)
    found = 0
    for query in unit_vectors(20, seed=11):
        hits = store.search(query, 5)
        found += len({hit.key for hit in hits} & set(best_by_hand(vectors, query, range(1, COUNT + 1))[:5]))
        assert hits[0].score == pytest.approx(float(vectors[hits[0].key - 1] @ query), abs=1e-4)
    assert found >= 95


@pytest.mark.usefixtures("chroma_answers")
def test_what_chroma_does_not_have_yet_is_found_too(store, vectors):
    flush_all(store)
    fresh = unit_vectors(1, seed=12)
    store.add([1000], ["fresh"], fresh)
    assert store.search(fresh[0], 3)[0].key == 1000
    store.delete([1])
    assert store.search(vectors[0], 1)[0].key != 1


@pytest.mark.usefixtures("chroma_answers")
def test_a_filter_beyond_the_limit_answers_with_allowed_chunks_only(store):
    flush_all(store)
    keys = np.arange(1, COUNT, 2, dtype=np.int64)
    hits = store.search(unit_vectors(1, seed=13)[0], 10, AllowedChunks(QueryFilter(languages=("x",)), keys, None))
    assert len(hits) == 10
    assert all(hit.key % 2 for hit in hits)


def test_chroma_is_fed_again_when_its_files_are_gone(store, tmp_path):
    flush_all(store)
    store.close()
    for path in tmp_path.glob("chroma.sqlite3*"):
        path.unlink()
    again = open_store(tmp_path)
    again.delete([COUNT])
    flush_all(again)
    assert in_chroma(again) == list(range(1, COUNT))
    again.close()


def test_chroma_is_made_anew_when_its_files_are_damaged(store, tmp_path):
    flush_all(store)
    store.close()
    (tmp_path / "chroma.sqlite3").write_bytes(b"garbage" * 3000)
    again = open_store(tmp_path)
    again.add([1000], ["fresh"], unit_vectors(1, seed=14))
    flush_all(again)
    assert in_chroma(again) == [*range(1, COUNT + 1), 1000]
    again.close()


@pytest.mark.usefixtures("chroma_answers")
def test_a_chroma_with_other_vectors_than_it_was_given_is_not_believed_and_fed_anew(store, vectors):
    flush_all(store)
    store._mirror.opened().upsert(list(range(1, 101)), unit_vectors(100, seed=15))
    query = unit_vectors(1, seed=15)[0]  # the wrong vector of the first
    hits = store.search(query, 5)
    assert [hit.key for hit in hits] == best_by_hand(vectors, query, range(1, COUNT + 1))[:5]
    assert "store_damaged" in store.chroma_fault
    store._mirror._retry_at = 0.0
    flush_all(store)
    assert store.chroma_fault is None
    assert in_chroma(store) == list(range(1, COUNT + 1))
    assert store.search(query, 5)[0].score == pytest.approx(hits[0].score, abs=1e-6)
