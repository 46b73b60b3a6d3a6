"""Every byte of every file of a segment counts."""

from pathlib import Path

import pytest

from agent_brain_server.indexing.bm25_index import COMPONENTS, BM25IndexManager, find_damaged_segment
from agent_brain_server.types import Chunk, StoredChunk


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    index = BM25IndexManager(tmp_path / "index")
    index.bind_store("store")
    for batch in ("a", "b"):
        chunks = [StoredChunk(key, make_chunk(f"{batch}.py", key)) for key in range(1, 20)]
        index.index_files(
            [(f"{batch}.py", chunks), (f"{batch}2.py", [StoredChunk(99, make_chunk(f"{batch}2.py", 99))])]
        )
        index.commit()
    index.delete_paths(["a2.py"])
    index.commit()
    index.close()
    return tmp_path / "index"


def make_chunk(path: str, key: int) -> Chunk:
    return Chunk(f"id{key}", path, f"lock chunk{key}", key, key, "python", "code", (), None)


def test_what_was_committed_is_sound(directory: Path) -> None:
    assert find_damaged_segment(directory) is None
    assert list(directory.glob("*.del"))


@pytest.mark.parametrize("suffix", [*COMPONENTS, "del"])
def test_a_changed_byte_is_found_wherever_it_is(directory: Path, suffix: str) -> None:
    file = next(directory.glob(f"*.{suffix}"))
    whole = file.read_bytes()
    for place in range(0, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        changed = find_damaged_segment(directory)
        # of the footer, only checksum and length are followed: the version says nothing of the content
        assert changed == file.name or place > len(whole) - 100
    file.write_bytes(whole[: len(whole) // 2])
    assert find_damaged_segment(directory) == file.name
    file.unlink()
    assert find_damaged_segment(directory) is not None


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"segments": [{}]}', '{"segments": 3}'])
def test_a_list_of_segments_that_says_nothing_is_damage(directory: Path, content: str) -> None:
    (directory / "meta.json").write_text(content)
    assert find_damaged_segment(directory) == "meta.json"
