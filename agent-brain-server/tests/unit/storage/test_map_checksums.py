"""Rows of the vector map that were changed behind its back: none gives a chunk the vector of another text."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agent_brain_server.storage.map_checksums import sum_texts, sum_vectors
from agent_brain_server.storage.vector_map import MAP_NAME, VectorMap

ROWS_ON_DISK = 3


@pytest.fixture
def open_map(tmp_path: Path) -> Callable[[], VectorMap]:
    return lambda: VectorMap(tmp_path, "model/3", "store")


def fill(vector_map: VectorMap) -> None:
    vector_map.add([10, 11, 12], [0, 1, 2], [(0, "text a"), (1, "text b"), (2, "text c")])


def change(directory: Path, *statements: str) -> None:
    """Change a map behind its back, and take its seal away: as under a running server, which seals it at its end."""
    with closing(sqlite3.connect(directory / MAP_NAME)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    (directory / f"{MAP_NAME}.seal").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("UPDATE vectors SET row = 1 WHERE key = 10", {11: 1, 12: 2}),
        ("UPDATE vectors SET key = 14 WHERE key = 10", {11: 1, 12: 2}),
        ("UPDATE vectors SET row = 'x' WHERE key = 10", {11: 1, 12: 2}),
        ("UPDATE vectors SET checksum = checksum + 1 WHERE key = 10", {11: 1, 12: 2}),
        ("UPDATE vectors SET checksum = NULL WHERE key = 10", {11: 1, 12: 2}),
        ("UPDATE vectors SET in_chroma = 1 WHERE key = 10", {10: 0, 11: 1, 12: 2}),
    ],
)
def test_a_chunk_whose_row_was_changed_is_forgotten(
    tmp_path: Path, open_map: Callable[[], VectorMap], statement: str, left: dict[int, int]
) -> None:
    first = open_map()
    fill(first)
    first.close()
    change(tmp_path, statement)
    second = open_map()
    assert second.keep_sound(ROWS_ON_DISK, []) == 3 - len(left)
    keys, rows = second.load()
    assert dict(zip(keys.tolist(), rows.tolist(), strict=True)) == left
    second.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE texts SET row = 7 WHERE row = 0",
        "UPDATE texts SET embed_key = 'text x' WHERE row = 0",
        "UPDATE texts SET checksum = checksum + 1 WHERE row = 0",
    ],
)
def test_a_text_whose_row_was_changed_is_unknown_and_can_come_back(
    tmp_path: Path, open_map: Callable[[], VectorMap], statement: str
) -> None:
    first = open_map()
    fill(first)
    first.close()
    change(tmp_path, statement)
    second = open_map()
    assert second.rows_of_texts(["text a", "text x", "text b"]) == {"text b": 1}
    second.add([10], [3], [(3, "text a")])
    assert second.rows_of_texts(["text a"]) == {"text a": 3}
    assert second.load()[1].tolist() == [3, 1, 2]
    second.close()


def test_a_map_of_an_earlier_version_keeps_what_it_has(tmp_path: Path, open_map: Callable[[], VectorMap]) -> None:
    first = open_map()
    fill(first)
    first.close()
    change(tmp_path, "ALTER TABLE texts DROP COLUMN checksum", "ALTER TABLE vectors DROP COLUMN checksum")
    second = open_map()
    assert second.keep_sound(ROWS_ON_DISK, []) == 0
    assert second.rows_of_texts(["text a", "text c"]) == {"text a": 0, "text c": 2}
    second.close()


def test_rows_that_are_numbered_anew_have_their_checksums(open_map: Callable[[], VectorMap]) -> None:
    opened = open_map()
    fill(opened)
    opened.keep_rows([0, 1, 2], "matrix-other.f32")
    opened.delete([10, 12])
    opened.keep_rows([1], "matrix-third.f32")
    assert opened.keep_sound(1, []) == 0
    assert (opened.load()[1].tolist(), opened.rows_of_texts(["text b"])) == ([0], {"text b": 0})
    opened.close()


def test_every_changed_bit_changes_the_checksum() -> None:
    ((_, _, expected),) = sum_vectors([(123_456, 98_765)])
    for bit in range(40):
        for pair in ((123_456 ^ 1 << bit, 98_765), (123_456, 98_765 ^ 1 << bit)):
            assert next(sum_vectors([pair]))[2] != expected
    ((_, _, expected_text),) = sum_texts([(5, "abcdef")])
    assert next(sum_texts([(4, "abcdef")]))[2] != expected_text
    assert next(sum_texts([(5, "abcdeg")]))[2] != expected_text
