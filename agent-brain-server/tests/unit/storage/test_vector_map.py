"""The map of keys, rows and texts: what it says after each change, and what Chroma is told of it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_brain_server.storage.vector_map import MAP_NAME, VectorMap


@pytest.fixture
def vector_map(tmp_path: Path) -> Iterator[VectorMap]:
    opened = VectorMap(tmp_path, "model/3", "store")
    yield opened
    opened.close()


def pairs(vector_map: VectorMap) -> dict[int, int]:
    keys, rows = vector_map.load()
    assert list(keys) == sorted(keys)
    return dict(zip(keys.tolist(), rows.tolist(), strict=True))


def fill(vector_map: VectorMap) -> None:
    vector_map.add([10, 11, 12], [0, 1, 0], [(0, "text a"), (1, "text b")])


def test_equal_texts_share_a_row_and_rows_outlive_their_chunks(vector_map: VectorMap) -> None:
    fill(vector_map)
    assert pairs(vector_map) == {10: 0, 11: 1, 12: 0}
    vector_map.delete([10, 12, 99])
    assert pairs(vector_map) == {11: 1}
    assert vector_map.rows_of_texts(["text a", "text b", "never seen"]) == {"text a": 0, "text b": 1}
    assert vector_map.next_row() == 2


def test_a_new_row_for_a_chunk_makes_chroma_lag(vector_map: VectorMap) -> None:
    fill(vector_map)
    vector_map.note_taken([10, 11, 12])
    assert vector_map.lagging(10) == []
    vector_map.add([10, 11], [0, 2], [(2, "text c")])
    assert vector_map.lagging(10) == [(11, 2)]
    assert vector_map.count_behind() == 1
    assert vector_map.count_in_chroma() == 2


def test_chroma_drops_only_what_it_has(vector_map: VectorMap) -> None:
    fill(vector_map)
    vector_map.note_taken([10])
    vector_map.delete([10, 11])
    assert vector_map.dropped(10) == [10]
    assert vector_map.count_in_chroma() == 1
    vector_map.note_dropped([10])
    assert (vector_map.dropped(10), vector_map.count_in_chroma()) == ([], 0)


def test_what_chroma_really_has_is_believed(vector_map: VectorMap) -> None:
    fill(vector_map)
    vector_map.note_taken([10, 11])
    vector_map.match_chroma([11, 12, 77])
    assert vector_map.lagging(10) == [(10, 0)]
    assert vector_map.dropped(10) == [77]


def test_rows_that_the_matrix_lost_are_forgotten_with_their_texts(vector_map: VectorMap) -> None:
    fill(vector_map)
    vector_map.note_taken([11])
    assert vector_map.keep_sound(1, []) == 1
    assert pairs(vector_map) == {10: 0, 12: 0}
    assert vector_map.rows_of_texts(["text a", "text b"]) == {"text a": 0}
    assert vector_map.dropped(10) == [11]


def test_kept_rows_are_numbered_anew(vector_map: VectorMap) -> None:
    vector_map.add([1, 2], [3, 1], [(0, "a"), (1, "b"), (2, "c"), (3, "d")])
    vector_map.keep_rows([1, 3], "matrix-0123456789ab.f32")
    assert pairs(vector_map) == {1: 1, 2: 0}
    assert vector_map.rows_of_texts("abcd") == {"b": 0, "d": 1}
    assert (vector_map.matrix_name, vector_map.next_row()) == ("matrix-0123456789ab.f32", 2)


def test_another_identity_begins_a_new_epoch(tmp_path: Path) -> None:
    def open_map(identity: str) -> tuple[str, str, dict[int, int]]:
        opened = VectorMap(tmp_path, identity, "store")
        said = (opened.epoch, opened.matrix_name, pairs(opened))
        fill(opened)
        opened.close()
        return said

    first, other = open_map("a"), open_map("b")
    assert first[2] == other[2] == {}
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_the_same_identity_finds_what_was_there(tmp_path: Path) -> None:
    first = VectorMap(tmp_path, "a", "store")
    fill(first)
    epoch = first.epoch
    first.close()
    second = VectorMap(tmp_path, "a", "store")
    assert (second.epoch, pairs(second)) == (epoch, {10: 0, 11: 1, 12: 0})
    second.close()


@pytest.mark.parametrize("damage", ["bytes", "version"])
def test_a_map_that_cannot_be_read_is_made_anew(tmp_path: Path, damage: str) -> None:
    first = VectorMap(tmp_path, "a", "store")
    fill(first)
    first.close()
    if damage == "bytes":
        (tmp_path / MAP_NAME).write_bytes(b"not a database" * 1000)
    else:
        connection = sqlite3.connect(tmp_path / MAP_NAME)
        connection.execute("PRAGMA user_version = 1")
        connection.close()
    second = VectorMap(tmp_path, "a", "store")
    assert pairs(second) == {}
    fill(second)
    second.close()
