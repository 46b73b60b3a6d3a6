import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from agent_brain_server.errors import StoreError, UnsafePathError
from agent_brain_server.storage import exact_engine, exact_search
from agent_brain_server.storage.exact_engine import INDEX_NAME, ExactEngine

DIMENSION = 24
COUNT = 300


def unit_vectors(count, seed):
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def open_engine(directory, *, store_id="store"):
    return ExactEngine(directory, dimension=DIMENSION, model="model", store_id=store_id)


def names(keys):
    return [f"text-{key}" for key in keys]


def keys_of(*keys):
    return np.array(keys, dtype=np.int64)


@pytest.fixture
def engine(tmp_path, vectors):
    engine = open_engine(tmp_path)
    keys = range(1, COUNT + 1)
    engine.add(keys, names(keys), vectors)
    yield engine
    engine.close()


def nearest(engine, vector):
    return engine.search(vector, 1, None)[0].key


def test_cached_vectors_survive_delete(engine, vectors):
    engine.delete(keys_of(*range(1, COUNT + 1)))
    cached = engine.cached_vectors(["text-3", "never seen"])
    assert list(cached) == ["text-3"]
    assert np.array_equal(cached["text-3"], vectors[2])


def test_cached_vectors_survive_another_store(engine, tmp_path):
    engine.close()
    for _ in range(2):
        again = open_engine(tmp_path, store_id="other")
        assert again.count() == 0
        assert list(again.cached_vectors(["text-1"])) == ["text-1"]
        again.close()


def test_open_truncated_matrix_reports_missing(engine, tmp_path, vectors):
    engine.close()
    with next(tmp_path.glob("matrix-*")).open("r+b") as file:
        file.truncate(DIMENSION * 4 * 100 + 17)
    again = open_engine(tmp_path)
    missing = again.sync(np.arange(1, COUNT + 1)).missing
    assert missing.tolist() == list(range(101, COUNT + 1))
    again.add(missing.tolist(), names(missing.tolist()), vectors[missing - 1])
    assert nearest(again, vectors[100]) == 101
    again.close()


def test_open_compacts_matrix_with_unused_rows(engine, tmp_path, vectors, monkeypatch):
    engine.delete(keys_of(*range(1, COUNT - 50)))
    engine.close()
    before = next(tmp_path.glob("matrix-*")).stat().st_size
    monkeypatch.setattr(exact_engine, "MAX_UNUSED_ROWS", 10)
    again = open_engine(tmp_path)
    assert next(tmp_path.glob("matrix-*")).stat().st_size < before / 4
    for key in range(COUNT - 50, COUNT + 1):
        assert nearest(again, vectors[key - 1]) == key
    assert again.cached_vectors(["text-1"]) == {}
    again.add([1], ["text-1"], vectors[:1])
    assert nearest(again, vectors[0]) == 1
    again.close()


def test_add_compacts_matrix_with_unused_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(exact_engine, "MAX_UNUSED_ROWS", 20)
    engine = open_engine(tmp_path)
    changed = unit_vectors(200, seed=4)
    for number, vector in enumerate(changed):
        engine.add([1, 2], [f"version {number}", f"other {number}"], np.stack([vector, -vector]))
    (file,) = tmp_path.glob("matrix-*")
    assert file.stat().st_size < 40 * vector.nbytes
    assert [hit.key for hit in engine.search(changed[-1], 2, None)] == [1, 2]
    engine.close()
    again = open_engine(tmp_path)
    assert nearest(again, -changed[-1]) == 2
    again.close()


@pytest.mark.parametrize("how", ["garbage", "foreign", "journal", "matrix elsewhere", "text for a number"])
def test_open_damaged_row_index_rebuilds_it(engine, tmp_path, how):
    engine.close()
    path = tmp_path / INDEX_NAME
    journal = tmp_path / f"{INDEX_NAME}-journal"
    changes = {
        "foreign": "CREATE TRIGGER evil AFTER INSERT ON texts BEGIN DELETE FROM texts; END",
        "matrix elsewhere": "UPDATE meta SET value = '../precious' WHERE key = 'matrix_name'",
        "text for a number": "PRAGMA writable_schema = ON; UPDATE vectors SET row = x'01' WHERE key = 3",
    }
    if how == "garbage":
        path.write_bytes(b"\x00garbage" * 4000)
    elif how == "journal":
        journal.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(changes[how])
    again = open_engine(tmp_path)
    missing = len(again.sync(np.arange(1, COUNT + 1)).missing)
    assert missing == (1 if how == "text for a number" else COUNT)
    assert not journal.exists()
    again.close()


def test_open_below_file_raises_store_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        open_engine(tmp_path / "file" / "below")


def test_open_matrix_link_raises(engine, tmp_path):
    engine.close()
    matrix = next(tmp_path.glob("matrix-*"))
    matrix.rename(tmp_path / "elsewhere")
    matrix.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePathError):
        open_engine(tmp_path)


def test_find_fault_reports_removed_files(engine, tmp_path):
    next(tmp_path.glob("matrix-*")).unlink()
    assert "was removed" in engine.find_fault()


ADD_UNTIL_KILLED = """
import sys
from pathlib import Path
import numpy as np
from agent_brain_server.storage.exact_engine import ExactEngine
engine = ExactEngine(Path(sys.argv[1]), dimension=24, model="model", store_id="store")
key = 0
while True:
    key += 1
    vector = np.zeros((1, 24), dtype=np.float32)
    vector[0, key % 24] = 1
    engine.add([key], [f"text-{key}"], vector)
    print(key, flush=True)
"""


@pytest.mark.process
def test_kill_loses_no_acknowledged_vector(tmp_path):
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
    engine = open_engine(tmp_path)
    assert engine.count() >= acknowledged
    for key, vector in engine.cached_vectors(names(range(1, acknowledged + 1))).items():
        assert vector[int(key.removeprefix("text-")) % 24] == 1
    engine.close()


@pytest.fixture
def small_prefilter(monkeypatch):
    monkeypatch.setattr(exact_engine, "EXACT_LIMIT", 50)
    monkeypatch.setattr(exact_search, "RESCORED", 120)
    monkeypatch.setattr(exact_search, "COMPONENTS", 20)


@pytest.mark.usefixtures("small_prefilter")
def test_maintain_large_engine_adds_prefilter(engine, vectors):
    assert engine._snapshot.prefilter is None
    engine.maintain()
    learned = engine._snapshot.prefilter
    assert learned.values.shape == (20, COUNT)
    fresh = unit_vectors(1, seed=12)
    engine.add([1000], ["fresh"], fresh)
    engine.delete(keys_of(1))
    engine.maintain()
    assert engine._snapshot.prefilter.basis is learned.basis  # not computed again
    assert nearest(engine, fresh[0]) == 1000
    assert nearest(engine, vectors[0]) != 1


@pytest.mark.usefixtures("small_prefilter")
def test_maintain_grown_engine_renews_prefilter(engine, vectors):
    engine.maintain()
    engine.add(range(2000, 2400), names(range(2000, 2400)), unit_vectors(400, seed=13))
    engine.maintain()
    assert engine._snapshot.prefilter.learned_rows == COUNT + 400
    assert nearest(engine, vectors[7]) == 8
    engine.clear()
    engine.maintain()
    assert engine._snapshot.prefilter is None


def test_maintain_small_engine_has_no_prefilter(engine):
    engine.maintain()
    assert engine._snapshot.prefilter is None
