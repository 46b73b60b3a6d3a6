"""The real Chroma: nearest by cosine, an epoch of its own, and made anew where its files are damaged."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.chroma_guard import DATABASE_NAME, MAX_UNCLOSED
from agent_brain_server.storage.chroma_index import ChromaIndex, remove_files
from agent_brain_server.types import Vectors

OPEN_AND_DIE = """
import os, signal, sys
from pathlib import Path
from agent_brain_server.storage.chroma_index import ChromaIndex
assert ChromaIndex(Path(sys.argv[1]), "epoch 1").count() == 3
os.kill(os.getpid(), signal.SIGSEGV)
"""

VECTORS = np.eye(4, dtype=np.float32)


@pytest.fixture
def chroma(tmp_path: Path) -> Iterator[ChromaIndex]:
    opened = ChromaIndex(tmp_path, "epoch 1")
    opened.upsert([3, 5, 7], VECTORS[:3])
    yield opened
    opened.close()


def test_the_nearest_come_first_with_their_cosine(chroma: ChromaIndex) -> None:
    question = np.array([0.8, 0.6, 0, 0], dtype=np.float32)
    hits = chroma.search(question, 2)
    assert [hit.key for hit in hits] == [3, 5]
    assert [hit.score for hit in hits] == pytest.approx([0.8, 0.6], abs=1e-5)


def test_a_key_is_replaced_and_deleted_keys_are_gone(chroma: ChromaIndex) -> None:
    chroma.upsert([3], VECTORS[3:])
    assert [hit.key for hit in chroma.search(VECTORS[3], 1)] == [3]
    chroma.delete([3, 99])
    assert sorted(chroma.keys()) == [5, 7]
    assert chroma.count() == 2


def test_vectors_of_another_epoch_are_forgotten(chroma: ChromaIndex, tmp_path: Path) -> None:
    chroma.close()
    for epoch, count in (("epoch 1", 3), ("epoch 2", 0)):
        again = ChromaIndex(tmp_path, epoch)
        assert again.count() == count
        again.close()


def test_damaged_files_are_made_anew_and_others_stay(chroma: ChromaIndex, tmp_path: Path) -> None:
    chroma.close()
    chroma.close()
    (tmp_path / DATABASE_NAME).write_bytes(b"not a database at all" * 500)
    (tmp_path / "vectors.sqlite3").write_text("somebody else's")
    again = ChromaIndex(tmp_path, "epoch 1")
    again.upsert([1], VECTORS[:1])
    assert again.keys() == [1]
    again.close()
    assert (tmp_path / "vectors.sqlite3").read_text() == "somebody else's"


def test_what_chroma_raises_names_the_directory(chroma: ChromaIndex, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=str(tmp_path)):
        chroma.upsert([1], np.ones((1, 9), dtype=np.float32))
    with pytest.raises(StoreError, match=str(tmp_path)):
        chroma.search(np.ones(9, dtype=np.float32), 1)


def test_only_what_chroma_wrote_is_removed(tmp_path: Path) -> None:
    for name in (DATABASE_NAME, f"{DATABASE_NAME}-wal", "other.sqlite3", "segment/header.bin", "mine/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    remove_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "other.sqlite3"]


@pytest.mark.parametrize("name", ["header.bin", "data_level0.bin", "length.bin", DATABASE_NAME])
def test_a_byte_that_changed_is_found_before_native_code_meets_it(tmp_path: Path, name: str) -> None:
    """Some of these end the process that opens them."""
    first = ChromaIndex(tmp_path, "epoch 1")
    for start in range(0, 1_200, 200):  # so many that Chroma writes its index to disk
        first.upsert(list(range(start, start + 200)), random_vectors(200, seed=start))
    first.close()
    sound = ChromaIndex(tmp_path, "epoch 1")
    assert sound.count() == 1_200
    sound.close()
    (path,) = tmp_path.rglob(name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    again = ChromaIndex(tmp_path, "epoch 1")
    assert again.count() == 0
    again.upsert([1], random_vectors(1, seed=1))
    assert again.keys() == [1]
    again.close()


@pytest.mark.process
def test_files_that_ended_every_process_are_made_anew(chroma: ChromaIndex, tmp_path: Path) -> None:
    chroma.close()
    for _ in range(MAX_UNCLOSED):
        command = [sys.executable, "-c", OPEN_AND_DIE, str(tmp_path)]
        assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGSEGV
    again = ChromaIndex(tmp_path, "epoch 1")
    assert again.count() == 0
    again.close()


def random_vectors(count: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
