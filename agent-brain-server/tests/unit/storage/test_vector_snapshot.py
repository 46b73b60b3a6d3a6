"""A snapshot never changes: each change makes another, and searches of the one before go on."""

import numpy as np
import pytest

from agent_brain_server.storage.coarse_search import CoarseVectors
from agent_brain_server.storage.vector_snapshot import VectorSnapshot
from agent_brain_server.types import Vectors


@pytest.fixture
def matrix() -> Vectors:
    return np.eye(120, dtype=np.float32)


@pytest.fixture
def snapshot(matrix: Vectors) -> VectorSnapshot:
    return VectorSnapshot(np.array([3, 5, 9]), np.array([30, 50, 90]), matrix[:100])


def nearest(snapshot: VectorSnapshot, row: int) -> list[int]:
    vector = np.eye(120, dtype=np.float32)[row]
    return [hit.key for hit in snapshot.search(vector, 9, None) if hit.score > 0.5]


def test_chunks_are_added_in_order_and_given_other_rows(snapshot: VectorSnapshot, matrix: Vectors) -> None:
    after = snapshot.with_rows({9: 91, 1: 10, 7: 110}, matrix)
    assert after.keys.tolist() == [1, 3, 5, 7, 9]
    assert after.rows.tolist() == [10, 30, 50, 110, 91]
    assert [nearest(after, row) for row in (10, 91, 90, 110)] == [[1], [9], [], [7]]
    assert snapshot.keys.tolist() == [3, 5, 9]
    assert nearest(snapshot, 90) == [9]


def test_chunks_are_left_out(snapshot: VectorSnapshot) -> None:
    after = snapshot.without(np.array([5, 77]))
    assert after.keys.tolist() == [3, 9]
    assert after.rows.tolist() == [30, 90]
    assert nearest(after, 50) == []


def test_components_follow_the_matrix(snapshot: VectorSnapshot, matrix: Vectors) -> None:
    learned = VectorSnapshot(snapshot.keys, snapshot.rows, snapshot.matrix, CoarseVectors.learn(snapshot.matrix))
    after = learned.with_rows({11: 119}, matrix)
    assert after.coarse is not None
    assert after.coarse.values.shape[1] == 120
    assert nearest(after, 119) == [11]
    assert after.without(np.array([3])).coarse is after.coarse
