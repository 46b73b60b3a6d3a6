"""The leading components find nearly all of the nearest, and whatever is answered has its exact cosine."""

from collections.abc import Callable

import numpy as np
import pytest

from agent_brain_server.storage import coarse_search
from agent_brain_server.storage.coarse_search import CoarseVectors, search_coarsely
from agent_brain_server.storage.exact_search import search_exactly
from agent_brain_server.types import AllowedChunks, QueryFilter, Vectors

COUNT, DIMENSION = 4_000, 64
LIMIT = 20

Asked = Callable[[int], Vectors]


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the two steps differ at sizes that a test can afford."""
    monkeypatch.setattr(coarse_search, "COMPONENTS", 16)
    monkeypatch.setattr(coarse_search, "RESCORED", 300)
    monkeypatch.setattr(coarse_search, "BLOCK_ROWS", 700)


def make_vectors(count: int, seed: int) -> Vectors:
    """Return unit vectors most of whose length lies in a few directions, as a language model's does."""
    generator = np.random.default_rng(seed)
    turned = np.linalg.qr(np.random.default_rng(1).standard_normal((DIMENSION, DIMENSION)))[0]
    values = (generator.standard_normal((count, DIMENSION)) * 0.9 ** np.arange(DIMENSION)) @ turned
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def matrix() -> Vectors:
    return make_vectors(COUNT, seed=2)


def allow(keys: Vectors) -> AllowedChunks:
    return AllowedChunks(QueryFilter(languages=("x",)), keys, None)


def test_nearly_all_of_the_nearest_are_found_with_exact_scores(matrix: Vectors) -> None:
    coarse = CoarseVectors.learn(matrix)
    keys, rows = np.arange(COUNT) + 10, np.arange(COUNT)
    found = 0
    for vector in make_vectors(50, seed=3):
        exact = search_exactly(matrix, keys, rows, vector, LIMIT, None)
        hits = search_coarsely(coarse, matrix, keys, rows, vector, LIMIT, None)
        found += len({hit.key for hit in hits} & {hit.key for hit in exact})
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert all(hit.score == pytest.approx(float(matrix[hit.key - 10] @ vector), abs=1e-6) for hit in hits)
    assert found >= 0.97 * 50 * LIMIT


@pytest.mark.parametrize("step", [2, 7, 100])
def test_a_filter_is_never_starved(matrix: Vectors, step: int) -> None:
    coarse = CoarseVectors.learn(matrix)
    keys = rows = np.arange(COUNT)
    found = 0
    for vector in make_vectors(20, seed=4):
        exact = search_exactly(matrix, keys, rows, vector, LIMIT, allow(keys[::step]))
        hits = search_coarsely(coarse, matrix, keys, rows, vector, LIMIT, allow(keys[::step]))
        assert len(hits) == LIMIT
        assert all(hit.key % step == 0 for hit in hits)
        found += len({hit.key for hit in hits} & {hit.key for hit in exact})
    assert found >= 0.97 * 20 * LIMIT


def test_few_are_compared_exactly(matrix: Vectors) -> None:
    coarse = CoarseVectors.learn(matrix)
    keys = rows = np.arange(COUNT)
    for vector in make_vectors(5, seed=5):
        few = allow(keys[:250])
        hits = search_coarsely(coarse, matrix, keys, rows, vector, LIMIT, few)
        assert hits == search_exactly(matrix, keys, rows, vector, LIMIT, few)
    assert search_coarsely(coarse, matrix, keys, rows, matrix[0], LIMIT, allow(keys[:0])) == []


def test_a_limit_beyond_what_is_rescored_is_filled(matrix: Vectors) -> None:
    keys = rows = np.arange(COUNT)
    assert len(search_coarsely(CoarseVectors.learn(matrix), matrix, keys, rows, matrix[0], 900, None)) == 900


def test_new_rows_are_projected_and_the_old_ones_stay_valid(matrix: Vectors) -> None:
    half = CoarseVectors.learn(matrix[: COUNT // 2])
    before = half.values.copy()
    grown = half
    for rows in range(COUNT // 2, COUNT + 1, 250):
        grown = grown.extended(matrix[:rows])
    assert grown.values.shape == (16, COUNT)
    np.testing.assert_allclose(grown.values.T, matrix @ grown.basis, atol=1e-6)
    np.testing.assert_array_equal(half.values, before)
    assert not grown.is_outgrown
    assert grown.extended(make_vectors(COUNT + 1, seed=6)).is_outgrown


def test_rows_added_one_by_one_are_not_copied_each_time(matrix: Vectors) -> None:
    grown = CoarseVectors.learn(matrix[:1000])
    memories = set()
    for rows in range(1000, 2000, 10):
        grown = grown.extended(matrix[:rows])
        memories.add(id(grown.memory))
    assert len(memories) <= 5


def test_damaged_rows_teach_nothing_and_answer_nothing(matrix: Vectors) -> None:
    sound = CoarseVectors.learn(matrix)
    matrix[::50] = np.nan
    matrix[1] = 1e30
    coarse = CoarseVectors.learn(matrix)
    assert np.isfinite(coarse.basis).all()
    assert abs(np.linalg.det(coarse.basis.T @ sound.basis)) > 0.5  # nearly the same subspace
    keys = rows = np.arange(COUNT)
    for vector in make_vectors(5, seed=7):
        hits = search_coarsely(coarse, matrix, keys, rows, vector, LIMIT, None)
        assert len(hits) >= LIMIT - 1
        assert all(abs(hit.score) <= 1.01 and hit.key % 50 for hit in hits)
