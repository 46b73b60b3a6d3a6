"""Brute-force search, PCA prefilter and snapshots."""

import numpy as np
import pytest

from agent_brain_server.storage import exact_search
from agent_brain_server.storage.exact_search import PcaPrefilter, VectorSnapshot, search_brute_force
from agent_brain_server.types import AllowedChunks, QueryFilter, Vectors

COUNT, DIMENSION = 4_000, 64
LIMIT = 20


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the prefilter select at the size of the test."""
    monkeypatch.setattr(exact_search, "COMPONENTS", 16)
    monkeypatch.setattr(exact_search, "RESCORED", 300)
    monkeypatch.setattr(exact_search, "BLOCK_ROWS", 700)


def make_vectors(count: int, seed: int) -> Vectors:
    """Return unit vectors close to a subspace, like those of a language model."""
    generator = np.random.default_rng(seed)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((DIMENSION, DIMENSION)))[0]
    values = (generator.standard_normal((count, DIMENSION)) * 0.9 ** np.arange(DIMENSION)) @ rotation
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def matrix() -> Vectors:
    return make_vectors(COUNT, seed=2)


def snapshot(matrix: Vectors, *, prefilter: bool = True, first_key: int = 0) -> VectorSnapshot:
    rows = np.arange(len(matrix))
    return VectorSnapshot(rows + first_key, rows, matrix, PcaPrefilter.learn(matrix) if prefilter else None)


def allow(keys: np.ndarray) -> AllowedChunks:
    return AllowedChunks(QueryFilter(languages=("x",)), keys, None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_brute_force_leaves_out_damaged_rows(matrix: Vectors, value: float) -> None:
    matrix[7, 3] = value
    rows = np.arange(COUNT)
    for limit in (5, COUNT):
        hits = search_brute_force(matrix, rows, rows, matrix[1], limit, None)
        assert all(abs(hit.score) <= 1.01 for hit in hits)
        assert 7 not in [hit.key for hit in hits]


def test_prefilter_finds_nearly_all_with_exact_scores(matrix: Vectors) -> None:
    prefiltered, exact = snapshot(matrix, first_key=10), snapshot(matrix, first_key=10, prefilter=False)
    found = 0
    for vector in make_vectors(50, seed=3):
        hits = prefiltered.search(vector, LIMIT, None)
        found += len({hit.key for hit in hits} & {hit.key for hit in exact.search(vector, LIMIT, None)})
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert all(hit.score == pytest.approx(float(matrix[hit.key - 10] @ vector), abs=1e-6) for hit in hits)
    assert found >= 0.97 * 50 * LIMIT


@pytest.mark.parametrize("step", [2, 7, 100])
def test_prefilter_with_filter_returns_full_result(matrix: Vectors, step: int) -> None:
    prefiltered, exact = snapshot(matrix), snapshot(matrix, prefilter=False)
    allowed = allow(np.arange(0, COUNT, step))
    found = 0
    for vector in make_vectors(20, seed=4):
        hits = prefiltered.search(vector, LIMIT, allowed)
        assert len(hits) == LIMIT
        assert all(hit.key % step == 0 for hit in hits)
        found += len({hit.key for hit in hits} & {hit.key for hit in exact.search(vector, LIMIT, allowed)})
    assert found >= 0.97 * 20 * LIMIT


def test_prefilter_few_allowed_are_compared_exactly(matrix: Vectors) -> None:
    prefiltered, exact = snapshot(matrix), snapshot(matrix, prefilter=False)
    few = allow(np.arange(250))
    for vector in make_vectors(5, seed=5):
        assert prefiltered.search(vector, LIMIT, few) == exact.search(vector, LIMIT, few)
    assert prefiltered.search(matrix[0], LIMIT, allow(np.arange(0))) == []


def test_prefilter_large_limit_returns_full_result(matrix: Vectors) -> None:
    assert len(snapshot(matrix).search(matrix[0], 900, None)) == 900


def test_prefilter_extended_keeps_earlier_values(matrix: Vectors) -> None:
    half = PcaPrefilter.learn(matrix[: COUNT // 2])
    before = half.values.copy()
    grown = half
    for rows in range(COUNT // 2, COUNT + 1, 250):
        grown = grown.extended(matrix[:rows])
    assert grown.values.shape == (16, COUNT)
    np.testing.assert_allclose(grown.values.T, matrix @ grown.basis, atol=1e-6)
    np.testing.assert_array_equal(half.values, before)
    assert not grown.is_outdated
    assert grown.extended(make_vectors(COUNT + 1, seed=6)).is_outdated


def test_prefilter_extended_by_rows_rarely_copies(matrix: Vectors) -> None:
    grown = PcaPrefilter.learn(matrix[:1000])
    memories = set()
    for rows in range(1000, 2000, 10):
        grown = grown.extended(matrix[:rows])
        memories.add(id(grown.memory))
    assert len(memories) <= 5


def test_prefilter_ignores_damaged_rows(matrix: Vectors) -> None:
    valid = PcaPrefilter.learn(matrix)
    matrix[::50] = np.nan
    matrix[1] = 1e30
    damaged = snapshot(matrix)
    assert damaged.prefilter is not None
    assert np.isfinite(damaged.prefilter.basis).all()
    assert abs(np.linalg.det(damaged.prefilter.basis.T @ valid.basis)) > 0.5  # nearly the same subspace
    for vector in make_vectors(5, seed=7):
        hits = damaged.search(vector, LIMIT, None)
        assert len(hits) >= LIMIT - 1
        assert all(abs(hit.score) <= 1.01 and hit.key % 50 for hit in hits)


@pytest.fixture
def small() -> VectorSnapshot:
    return VectorSnapshot(np.array([3, 5, 9]), np.array([30, 50, 90]), np.eye(120, dtype=np.float32)[:100])


def nearest(here: VectorSnapshot, row: int) -> list[int]:
    vector = np.eye(120, dtype=np.float32)[row]
    return [hit.key for hit in here.search(vector, 9, None) if hit.score > 0.5]


def test_snapshot_with_rows_adds_and_reassigns(small: VectorSnapshot) -> None:
    after = small.with_rows({9: 91, 1: 10, 7: 110}, np.eye(120, dtype=np.float32))
    assert after.keys.tolist() == [1, 3, 5, 7, 9]
    assert after.rows.tolist() == [10, 30, 50, 110, 91]
    assert [nearest(after, row) for row in (10, 91, 90, 110)] == [[1], [9], [], [7]]
    assert small.keys.tolist() == [3, 5, 9]
    assert nearest(small, 90) == [9]


def test_snapshot_without_leaves_out_chunks(small: VectorSnapshot) -> None:
    after = small.without(np.array([5, 77]))
    assert after.keys.tolist() == [3, 9]
    assert after.rows.tolist() == [30, 90]
    assert nearest(after, 50) == []


def test_snapshot_with_rows_extends_prefilter(small: VectorSnapshot) -> None:
    learned = VectorSnapshot(small.keys, small.rows, small.matrix, PcaPrefilter.learn(small.matrix))
    after = learned.with_rows({11: 119}, np.eye(120, dtype=np.float32))
    assert after.prefilter is not None
    assert after.prefilter.values.shape[1] == 120
    assert nearest(after, 119) == [11]
    assert after.without(np.array([3])).prefilter is after.prefilter
