"""The contract of `VectorEngine`, on every engine."""

import numpy as np
import pytest

from agent_brain_server.types import AllowedChunks, QueryFilter

DIMENSION = 24
COUNT = 300
FILTER = QueryFilter(languages=("x",))


def unit_vectors(count, seed):
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def names(keys):
    return [f"text-{key}" for key in keys]


def key_array(keys):
    return np.array(sorted(keys), dtype=np.int64)


def nearest_keys(vectors, query, keys, limit):
    """Return the nearest of the keys, of which key n has the vector n - 1."""
    scores = {key: float(vectors[key - 1] @ query) for key in keys}
    return sorted(scores, key=lambda key: -scores[key])[:limit]


def all_keys(engine):
    """Return the keys of all vectors: those that a sync with nothing deletes."""
    return engine.sync(key_array([])).orphans.tolist()


@pytest.fixture
def engine(open_engine, vectors):
    """An engine with the keys 1 to COUNT, added in batches in descending order."""
    engine = open_engine()
    for first in range(COUNT - 24, 0, -25):
        keys = range(first, first + 25)
        engine.add(keys, names(keys), vectors[first - 1 : first + 24])
    return engine


def test_search_returns_nearest_with_cosines(engine, vectors):
    found = 0
    for query in unit_vectors(20, seed=8):
        hits = engine.search(query, 10, None)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        for hit in hits:
            assert hit.score == pytest.approx(float(vectors[hit.key - 1] @ query), abs=1e-4)
        found += len({hit.key for hit in hits} & set(nearest_keys(vectors, query, range(1, COUNT + 1), 10)))
    assert found >= 195  # of 200; Chroma is approximate


@pytest.mark.parametrize("allowed", [[5], list(range(1, COUNT, 2)), list(range(3, 40)), []])
def test_search_with_filter_returns_full_result(engine, vectors, allowed):
    query = unit_vectors(1, seed=9)[0]
    hits = engine.search(query, 10, AllowedChunks(FILTER, key_array([*allowed, 9999]), None))
    expected = nearest_keys(vectors, query, allowed, 10)
    assert len(hits) == len(expected)
    assert {hit.key for hit in hits} <= set(allowed)
    assert len({hit.key for hit in hits} & set(expected)) >= 0.9 * len(expected)


def test_search_empty_engine_returns_nothing(open_engine, vectors):
    engine = open_engine()
    assert engine.search(vectors[0], 5, None) == []
    assert engine.count() == 0
    assert engine.fault is None


def test_search_orders_equal_scores_by_key(open_engine, vectors):
    engine = open_engine()
    engine.add([3, 1, 2], ["a", "b", "c"], np.stack([vectors[0]] * 3))
    assert [hit.key for hit in engine.search(vectors[0], 5, None)] == [1, 2, 3]


def test_add_equal_texts_finds_both_chunks(open_engine, vectors):
    engine = open_engine()
    engine.add([1, 2], ["same", "same"], np.stack([vectors[0], vectors[0]]))
    assert {hit.key for hit in engine.search(vectors[0], 5, None)} == {1, 2}
    assert engine.count() == 2


def test_add_known_key_replaces_vector(engine):
    fresh = unit_vectors(1, seed=10)
    engine.add([1], ["changed"], fresh)
    assert engine.count() == COUNT
    assert engine.search(fresh[0], 1, None)[0].key == 1


def test_delete_removes_chunks_and_ignores_unknown(engine, vectors):
    engine.delete(key_array([1, 2, 4711]))
    assert engine.count() == COUNT - 2
    assert engine.search(vectors[0], 1, None)[0].key != 1
    assert all_keys(engine) == list(range(3, COUNT + 1))


def test_clear_empties_and_accepts_vectors_again(engine, vectors):
    engine.clear()
    assert engine.count() == 0
    assert engine.search(vectors[0], 5, None) == []
    engine.add([7], ["text-7"], vectors[:1])
    assert [hit.key for hit in engine.search(vectors[0], 5, None)] == [7]


def test_reopen_keeps_vectors(engine, open_engine, vectors):
    engine.delete(key_array([9]))
    engine.close()
    again = open_engine()
    assert again.count() == COUNT - 1
    assert again.search(vectors[41], 1, None)[0].key == 42
    assert again.previous_model is None
    assert not len(again.sync(key_array(set(range(1, COUNT + 1)) - {9})).missing)


def test_reopen_with_other_model_drops_vectors(engine, open_engine):
    engine.close()
    again = open_engine(model="other")
    assert again.count() == 0
    assert again.previous_model == "model"
    assert again.cached_vectors(["text-1"]) == {}
    again.close()
    assert open_engine(model="other").previous_model is None


def test_reopen_with_other_store_drops_chunks(engine, open_engine, vectors):
    engine.close()
    again = open_engine(store_id="0" * 32)
    assert again.count() == 0
    assert again.search(vectors[0], 3, None) == []
    again.clear()


def test_sync_reports_missing_and_deletes_orphans(engine, vectors):
    expected = key_array([*range(10, COUNT + 1), 1000, 1001])
    result = engine.sync(expected)
    assert result.missing.tolist() == [1000, 1001]
    assert result.orphans.tolist() == list(range(1, 10))
    assert engine.count() == COUNT - 9
    assert engine.search(vectors[0], 1, None)[0].key != 1


def test_sync_without_difference_changes_nothing(engine):
    result = engine.sync(key_array(range(1, COUNT + 1)))
    assert (len(result.missing), len(result.orphans)) == (0, 0)
    assert engine.count() == COUNT


def test_maintain_healthy_engine_needs_no_sync(engine):
    engine.sync(key_array(range(1, COUNT + 1)))  # a new directory may find an older collection on a server
    assert not engine.maintain()
    assert engine.find_fault() is None


def test_close_twice_is_harmless(engine):
    engine.close()
    engine.close()


def test_copy_of_directory_is_independent(engine, open_engine, tmp_path, vectors):
    engine.close()
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (tmp_path / "vectors").rglob("*"):
        target = copy / path.relative_to(tmp_path / "vectors")
        if path.is_dir():
            target.mkdir()
        else:
            target.write_bytes(path.read_bytes())
    copied = open_engine(copy)
    copied.sync(key_array([1, 2]))
    original = open_engine()
    assert original.count() == COUNT
    assert original.search(vectors[41], 1, None)[0].key == 42
