"""Damaged rows are found, and never answer."""

import numpy as np
import pytest

from agent_brain_server.storage.exact_search import find_unsound_rows, search_exactly

COUNT, DIMENSION = 40, 16


@pytest.fixture
def matrix() -> np.ndarray:
    values = np.random.default_rng(3).normal(size=(COUNT, DIMENSION)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_unit_vectors_are_sound(matrix: np.ndarray) -> None:
    assert find_unsound_rows(matrix).tolist() == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 2.0])
def test_a_damaged_row_is_found_and_no_answer(matrix: np.ndarray, value: float) -> None:
    matrix[7, 3] = value
    assert find_unsound_rows(matrix).tolist() == [7]
    asked = np.full(DIMENSION, DIMENSION**-0.5, dtype=np.float32)
    keys = rows = np.arange(COUNT)
    for limit in (5, COUNT):
        hits = search_exactly(matrix, keys, rows, asked, limit, None)
        assert all(abs(hit.score) <= 1.01 for hit in hits)
    if abs(value) > 2:
        assert 7 not in [hit.key for hit in hits]


def test_a_row_of_zeros_was_never_written(matrix: np.ndarray) -> None:
    matrix[[2, 9]] = 0
    assert find_unsound_rows(matrix).tolist() == [2, 9]
