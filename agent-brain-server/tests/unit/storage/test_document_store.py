import json
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from agent_brain_server.errors import InvalidRequestError, StoreError
from agent_brain_server.storage.document_store import DATABASE_NAME, DocumentStore, read_store_id
from agent_brain_server.support.tokens import normalize_name
from agent_brain_server.types import FileRecord, QueryFilter, Skip


def keys_by_text(store, file):
    return {stored.chunk.text: stored.key for _, chunks in store.replace_files([file]).files for stored in chunks}


def test_mark_indexed_clears_pending(store, make_file):
    store.replace_files([make_file("a.py", ["one"]), make_file("b.py", ["two"])])
    store.mark_indexed(["a.py"])
    assert store.pending_paths() == ["b.py"]
    assert {path: record.state for path, record in store.file_records().items()} == {
        "a.py": "indexed",
        "b.py": "pending",
    }


def test_replace_files_kept_chunk_keeps_key_and_vector(store, make_file):
    before = keys_by_text(store, make_file("a.py", ["one", "two"]))
    store.mark_embedded(before.values())
    replaced = store.replace_files([make_file("a.py", ["two", "three"], first_line=7)])
    after = {stored.chunk.text: stored.key for stored in replaced.files[0][1]}
    assert list(after) == ["two", "three"]
    assert after["two"] == before["two"]
    assert replaced.removed.tolist() == [before["one"]]
    assert [stored.chunk.text for stored in store.unembedded(10)] == ["three"]
    assert store.metadata_by_keys([after["two"]])[after["two"]].start_line == 7


def test_get_chunk_returns_stored_chunk(store, make_file):
    file = make_file("dir/ä b.md", ["text\nwith \0 NUL and 日本"], language="markdown", source_type="doc")
    key = next(iter(keys_by_text(store, file).values()))
    assert store.get_chunk(file.chunks[0].id) == file.chunks[0]
    assert store.chunks_by_keys([key, 999]) == {key: file.chunks[0]}
    metadata = store.metadata_by_keys([key])[key]
    assert metadata.names == tuple(map(normalize_name, file.chunks[0].symbols))
    assert (metadata.path, metadata.heading) == ("dir/ä b.md", "class Outer")


def test_metadata_by_keys_follows_changes(store, make_file):
    key = keys_by_text(store, make_file("a.py", ["one", "two"]))["two"]
    assert store.metadata_by_keys([key])[key].start_line == store.metadata_by_keys([key, 999])[key].start_line
    moved = keys_by_text(store, make_file("a.py", ["zero\nand a half", "one", "two"]))["two"]
    assert moved == key
    assert (
        store.metadata_by_keys([key])[key].start_line == store.get_chunk(store.chunks_by_keys([key])[key].id).start_line
    )
    store.remove_files(["a.py"])
    assert store.metadata_by_keys([key]) == {}


def test_get_chunk_unknown_id_is_none(store):
    assert store.get_chunk("0" * 24) is None


def test_replace_files_repeated_id_uses_first_chunk(store, make_file):
    replaced = store.replace_files([make_file("a.py", ["same", "same", "other"])])
    assert [stored.chunk.start_line for stored in replaced.files[0][1]] == [1, 3]
    assert store.counts().chunks == 2


def test_clear_never_reuses_keys(store, make_file):
    first = keys_by_text(store, make_file("a.py", ["one", "two"]))
    store.clear()
    second = keys_by_text(store, make_file("a.py", ["one", "two"]))
    assert min(second.values()) > max(first.values())


def test_remove_files_deletes_chunks(store, make_file):
    keys = keys_by_text(store, make_file("a.py", ["one", "two"]))
    store.replace_files([make_file("b.py", ["three"])])
    assert store.remove_files(["a.py", "missing.py"]).tolist() == sorted(keys.values())
    counts = store.counts()
    assert (counts.files, counts.chunks) == (1, 1)
    assert store.chunks_by_keys(keys.values()) == {}


def test_remember_skipped_file_is_not_counted(store, make_file):
    keys = keys_by_text(store, make_file("a.py", ["one"]))
    removed = store.remember_skipped([(FileRecord("a.py", 0, 1, "x", "pending"), "binary")])
    assert removed.tolist() == list(keys.values())
    assert store.file_records()["a.py"].state == "skipped"
    assert store.counts().files == 0
    store.record_skips([])
    assert store.skip_counts() == {"binary": 1}
    store.replace_files([make_file("a.py", ["one"])])
    assert store.skip_counts() == {}


def test_record_skips_below_folder_keeps_others(store):
    store.record_skips([Skip("a/x", "empty"), Skip("ab/x", "empty"), Skip("a", "empty")])
    store.record_skips([], below="a")
    assert [skip.path for skip in store.skips()] == ["ab/x"]


def test_record_skips_unchanged_writes_nothing(store):
    skips = [Skip("a", "binary"), Skip("b/c", "empty")]
    store.record_skips(skips)
    with store.database.reading() as connection:
        version = connection.execute("PRAGMA data_version").fetchone()
    store.record_skips(reversed(skips))
    store.record_skips(skips[1:], below="b")
    with store.database.reading() as connection:
        assert connection.execute("PRAGMA data_version").fetchone() == version
    store.record_skips(skips[:1])
    with store.database.reading() as connection:
        assert connection.execute("PRAGMA data_version").fetchone() != version


def test_mark_all_pending_marks_indexed_files(store, make_file):
    store.replace_files([make_file("a.py", ["one"])])
    store.mark_indexed(["a.py"])
    store.mark_all_pending()
    assert store.pending_paths() == ["a.py"]


def test_unembedded_returns_newest_first(store, make_file):
    store.replace_files([make_file("a.py", ["old"])])
    store.replace_files([make_file("b.py", ["new", "newer"])])
    assert [stored.chunk.text for stored in store.unembedded(2)] == ["newer", "new"]


def test_mark_embedded_and_unembedded_change_counts(store, make_file):
    keys = keys_by_text(store, make_file("a.py", ["one", "two", "three"]))
    store.mark_embedded([keys["one"], keys["two"]])
    assert store.embedded_keys().tolist() == [keys["one"], keys["two"]]
    store.mark_unembedded([keys["one"]])
    assert {stored.chunk.text for stored in store.unembedded(10)} == {"one", "three"}
    assert store.counts().embedded == 1


def test_read_store_id_of_closed_store(tmp_path):
    store = DocumentStore(tmp_path)
    store.close()
    assert read_store_id(tmp_path) == store.store_id
    assert read_store_id(tmp_path / "nothing") is None
    (tmp_path / DATABASE_NAME).write_bytes(b"garbage" * 1000)
    assert read_store_id(tmp_path) is None


@pytest.fixture
def mixed_store(store, make_file):
    store.replace_files(
        [
            make_file("src/app.py", ["a1", "a2"]),
            make_file("src/deep/er/util.go", ["u1"], language="go"),
            make_file("tests/test_app.py", ["t1"], source_type="test"),
            make_file("README.md", ["r1"], language="markdown", source_type="doc"),
        ]
    )
    return store


@pytest.mark.parametrize(
    ("query_filter", "expected"),
    [
        (QueryFilter(source_types=("test", "doc")), {"t1", "r1"}),
        (QueryFilter(languages=("go",)), {"u1"}),
        (QueryFilter(languages=("python",), source_types=("code",)), {"a1", "a2"}),
        (QueryFilter(file_paths=("src/**",)), {"a1", "a2", "u1"}),
        (QueryFilter(file_paths=("*.py",)), {"a1", "a2", "t1"}),
        (QueryFilter(file_paths=("src/**/*.go", "README.md")), {"u1", "r1"}),
        (QueryFilter(file_paths=("!tests/**",)), {"a1", "a2", "u1", "r1"}),
        (QueryFilter(file_paths=("*.py", "!tests/**")), {"a1", "a2"}),
        (QueryFilter(file_paths=("*.py",), source_types=("test",)), {"t1"}),
        (QueryFilter(languages=("cobol",)), set()),
    ],
)
def test_resolve_filter_allows_matching_chunks(mixed_store, query_filter, expected):
    allowed = mixed_store.resolve_filter(query_filter)
    assert {chunk.text for chunk in mixed_store.chunks_by_keys(allowed.keys).values()} == expected
    assert np.all(np.diff(allowed.keys) > 0)


def test_resolve_filter_lists_paths_for_globs_only(mixed_store):
    assert mixed_store.resolve_filter(QueryFilter(languages=("go",))).paths is None
    assert mixed_store.resolve_filter(QueryFilter(file_paths=("*.md",))).paths == ("README.md",)


def test_resolve_filter_empty_is_none(mixed_store):
    assert mixed_store.resolve_filter(QueryFilter()) is None


@pytest.mark.parametrize("glob", ["!", "[a", "\\", "/", "#comment", " "])
def test_resolve_filter_useless_glob_is_refused(mixed_store, glob):
    with pytest.raises(InvalidRequestError, match="file_paths") as caught:
        mixed_store.resolve_filter(QueryFilter(file_paths=("*.py", glob)))
    assert repr(glob) in caught.value.message
    assert caught.value.code == "invalid_glob"


def test_resolve_filter_sees_new_files(mixed_store, make_file):
    query_filter = QueryFilter(languages=("go",))
    assert len(mixed_store.resolve_filter(query_filter).keys) == 1
    mixed_store.replace_files([make_file("src/new.go", ["n1", "n2"], language="go")])
    assert len(mixed_store.resolve_filter(query_filter).keys) == 3


def test_record_skips_replaces_earlier_walk(store):
    store.record_skips([Skip("old", "binary")])
    store.record_skips([Skip("a", "binary"), Skip("b", "too_large"), Skip("c", "binary")])
    assert store.skip_counts() == {"binary": 2, "too_large": 1}
    assert store.skips()[1] == Skip("b", "too_large")


def test_reopen_keeps_content(tmp_path, make_file):
    first = DocumentStore(tmp_path)
    first.replace_files([make_file("a.py", ["one"])])
    first.set_meta("project_root", "/somewhere")
    store_id = first.store_id
    first.close()
    second = DocumentStore(tmp_path)
    assert second.store_id == store_id
    assert second.get_meta("project_root") == "/somewhere"
    assert second.counts().chunks == 1
    second.set_meta("project_root", None)
    assert second.get_meta("project_root") is None
    second.close()


def test_store_id_is_unique(tmp_path):
    stores = [DocumentStore(tmp_path / name) for name in "ab"]
    assert stores[0].store_id != stores[1].store_id
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    "garbage", [b"not a database, but long enough to be one" * 100, b"SQLite format 3\0" + b"\xff" * 9000]
)
def test_open_garbage_names_file(tmp_path, garbage):
    (tmp_path / DATABASE_NAME).write_bytes(garbage)
    with pytest.raises(StoreError, match=DATABASE_NAME) as caught:
        DocumentStore(tmp_path)
    assert caught.value.code == "store_damaged"


def test_open_overwritten_pages_is_refused(tmp_path, make_file):
    store = DocumentStore(tmp_path)
    store.replace_files([make_file(f"{number}.py", ["x" * 3000]) for number in range(50)])
    store.close()
    path = tmp_path / DATABASE_NAME
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40_000] = b"\xa5" * 40_000
    path.write_bytes(data)
    with pytest.raises(StoreError) as caught:
        DocumentStore(tmp_path)
    assert caught.value.code == "store_damaged"


def test_open_other_version_is_refused(tmp_path):
    store = DocumentStore(tmp_path)
    with store.database.writing() as connection:
        connection.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreError, match="version 99") as caught:
        DocumentStore(tmp_path)
    assert caught.value.code == "store_version"


def test_closed_store_raises_store_error(tmp_path):
    store = DocumentStore(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.counts()
    with pytest.raises(StoreError, match="closed"):
        store.set_meta("key", "value")


def test_replace_files_failure_rolls_back(store, make_file):
    broken = make_file("b.py", ["fine"])
    object.__setattr__(broken.chunks[0], "text", "\ud800")
    with pytest.raises(UnicodeEncodeError):
        store.replace_files([make_file("a.py", ["one"]), broken])
    assert store.counts().files == 0
    store.replace_files([make_file("a.py", ["one"])])
    assert store.counts().chunks == 1


@pytest.mark.slow
def test_replace_files_readers_see_whole_files(store, make_file):
    generations = [[f"{letter}{number}" for number in range(40)] for letter in "ab"]
    store.replace_files([make_file("a.py", generations[0])])
    stop = threading.Event()
    torn: list[set[str]] = []

    def read():
        while not stop.is_set():
            texts = [stored.chunk.text for stored in store.unembedded(1000)]
            if len(texts) != 40 or len({text[0] for text in texts}) != 1:
                torn.append(set(texts))

    readers = [threading.Thread(target=read) for _ in range(6)]
    for reader in readers:
        reader.start()
    for turn in range(60):
        store.replace_files([make_file("a.py", generations[turn % 2])])
    stop.set()
    for reader in readers:
        reader.join()
    assert not torn


WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.types import Chunk, Definition, FileChunks, FileRecord, Reference, SyntaxFacts
store = DocumentStore(Path(sys.argv[1]))
facts = SyntaxFacts((Definition("f", "f", "def", "f()", 1, 1, 1),), (Reference("f", 1, "call"),))
number = 0
while True:
    number += 1
    path = f"{number}.py"
    chunks = tuple(Chunk(f"{number}-{n}", path, "text", n, n, "python", "code") for n in range(1, 6))
    store.replace_files([FileChunks(FileRecord(path, 1, 1, "h", "pending"), "python", "code", chunks, None, facts)])
    store.mark_indexed([path])
    print(number, flush=True)
"""


@pytest.mark.process
def test_kill_loses_no_acknowledged_file(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = 0
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged >= 50:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    store = DocumentStore(tmp_path)
    counts = store.counts()
    assert counts.files - counts.files_pending >= acknowledged
    assert counts.chunks == counts.files * 5
    assert store.symbols.definitions("f").total == store.symbols.references("f").total_sites == counts.files
    store.close()


FILL_A_SMALL_DISK = """
import json, resource, signal, sys
from pathlib import Path
from agent_brain_server.errors import StoreError
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.types import Chunk, FileChunks, FileRecord
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = DocumentStore(Path(sys.argv[1]))
def write(number):
    chunk = Chunk(str(number), f"{number}.py", "x" * 50_000, 1, 1, "python", "code")
    store.replace_files([FileChunks(FileRecord(chunk.path, 1, 1, "h", "pending"), "python", "code", (chunk,))])
write(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
number = 1
try:
    while number < 100:
        number += 1
        write(number)
except StoreError as exc:
    print(json.dumps({"message": exc.message, "code": exc.code, "chunks": store.counts().chunks, "number": number}))
"""


@pytest.mark.process
def test_full_disk_raises_and_keeps_content(tmp_path):
    command = [sys.executable, "-c", FILL_A_SMALL_DISK, str(tmp_path)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert DATABASE_NAME in told["message"]
    assert told["code"] == "store_unusable"
    assert told["chunks"] == told["number"] - 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE texts SET text = 'changed' WHERE key = 1",
        "UPDATE texts SET text = CAST(x'ff616263' AS TEXT) WHERE key = 1",
        "UPDATE chunks SET start_line = 7 WHERE key = 1",
        "UPDATE chunks SET language = 'pythoo' WHERE key = 1",
        "UPDATE chunks SET symbols = 12 WHERE key = 1",
    ],
)
def test_damaged_chunk_is_deleted_and_file_invalidated(store, make_file, damage):
    store.replace_files([make_file("a.py", ["one", "two"])])
    store.mark_indexed(["a.py"])
    calls = []
    store.on_damage = lambda: calls.append(store.take_damage())
    with store.database.writing() as connection:
        connection.execute(damage)
    store.metadata_by_keys([1, 2])
    assert [chunk.text for chunk in store.chunks_by_keys([1, 2]).values()] == ["two"]
    assert calls == [True]
    assert not store.take_damage()
    assert (store.pending_paths(), store.file_records()["a.py"].size) == (["a.py"], -1)
    store.replace_files([make_file("a.py", ["one", "two"])])
    assert sorted(chunk.text for chunk in store.chunks_by_keys([1, 2, 3]).values()) == ["one", "two"]
