"""Values that go into the tables come out the same."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_brain_server.errors import InvalidRequestError
from agent_brain_server.storage import chunk_rows
from agent_brain_server.storage.chunk_rows import MetadataCache, as_json, keys_array, read_metadata
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.support.tokens import normalize_name
from agent_brain_server.types import Chunk, ChunkMetadata, ContextLine, FileChunks, FileRecord, QueryFilter

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
LINES = st.lists(st.builds(ContextLine, st.integers(1, 9), st.text(st.characters(exclude_categories=["Cs", "Cc"]))))
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=10)


@pytest.mark.slow
@given(text=TEXTS, symbols=st.lists(NAMES, max_size=3).map(tuple), heading=st.none() | TEXTS, path=NAMES, lines=LINES)
@settings(max_examples=50, deadline=None)
def test_replace_files_any_chunk_is_read_unchanged(tmp_path_factory, text, symbols, heading, path, lines):
    store = DocumentStore(tmp_path_factory.mktemp("store"))
    chunk = Chunk("c" * 24, path, text, 3, 7, "python", "code", symbols, heading, tuple(lines), 2, 3)
    replaced = store.replace_files([FileChunks(FileRecord(path, 1, 2, "h", "pending"), "python", "code", (chunk,))])
    ((_, (stored,)),) = replaced.files
    assert store.chunks_by_keys([stored.key]) == {stored.key: chunk}
    metadata = store.metadata_by_keys([stored.key])[stored.key]
    assert metadata.names == tuple(map(normalize_name, symbols))
    assert (metadata.path, metadata.heading, metadata.end_line) == (path, heading, 7)
    store.close()


def test_read_metadata_splits_symbols():
    row = (5, "a.py", 1, 2, "python", "code", "parse_one\x1fTwo", None)
    assert read_metadata([row])[5].names == ("parseone", "two")
    assert read_metadata([(*row[:6], "", None)])[5].names == ()


def test_as_json_encodes_numpy_and_long_lists():
    assert json.loads(as_json(np.array([3, 1], dtype=np.int64))) == [3, 1]
    assert json.loads(as_json(["a'b", "ü"])) == ["a'b", "ü"]
    assert len(json.loads(as_json(range(50_000)))) == 50_000


def test_keys_array_is_ascending():
    assert keys_array(iter([3, 1, 2])).tolist() == [1, 2, 3]
    assert keys_array([]).dtype == np.int64


def test_remove_files_never_reuses_keys(store, make_file):
    ((_, first),) = store.replace_files([make_file("a.py", ["x", "y"])]).files
    store.remove_files(["a.py"])
    ((_, second),) = store.replace_files([make_file("a.py", ["x", "y"])]).files
    assert {stored.key for stored in first}.isdisjoint(stored.key for stored in second)


def test_replace_files_keeps_keys_and_ignores_repeated_ids(store, make_file):
    ((_, before),) = store.replace_files([make_file("a.py", ["x", "y"])]).files
    after = store.replace_files([make_file("a.py", ["y", "y", "z"], first_line=40)])
    ((_, stored),) = after.files
    assert [each.chunk.text for each in stored] == ["y", "z"]
    assert stored[0].key == before[1].key
    assert after.removed.tolist() == [before[0].key]
    assert store.metadata_by_keys([stored[0].key])[stored[0].key].start_line == 40


def test_replace_files_updates_context_of_kept_chunk(store, make_file):
    file = make_file("a.py", ["x"])
    store.replace_files([file])
    moved = replace(file.chunks[0], context=(ContextLine(7, "def f(a):"),), part=2, parts=2)
    ((_, (stored,)),) = store.replace_files([replace(file, chunks=(moved,))]).files
    assert store.chunks_by_keys([stored.key]) == {stored.key: moved}


@pytest.mark.parametrize(
    ("column", "value"),
    [(1, 7), (2, "3"), (2, None), (3, 1.5), (4, b"py"), (5, "c\ufffdde"), (5, ""), (6, None), (7, b"head"), (7, 7)],
)
def test_read_metadata_leaves_out_damaged_rows(column, value):
    sound = (1, "src/a.py", 1, 9, "python", "code", "one\x1ftwo", None)
    damaged = [2, *sound[1:]]
    damaged[column] = value
    assert list(read_metadata([sound, damaged])) == [1]
    assert list(read_metadata([sound, (3, *sound[1:-1], "Heading")])) == [1, 3]
    assert read_metadata([]) == {}


def metadata(key):
    return ChunkMetadata(key, "a.py", key, key, "python", "code", (), None)


def test_metadata_cache_same_generation_keeps_entries():
    cache = MetadataCache()
    cache.at(1)[7] = metadata(7)
    assert cache.at(1) == {7: metadata(7)}


def test_metadata_cache_new_generation_is_empty():
    cache = MetadataCache()
    cache.at(1)[7] = metadata(7)
    assert cache.at(2) == {}


def test_metadata_cache_ignores_late_additions():
    cache = MetadataCache()
    before = cache.at(1)
    cache.at(2)
    before[7] = metadata(7)
    assert cache.at(2) == {}


def test_metadata_cache_is_bounded():
    cache = MetadataCache()
    cache.at(1).update(dict.fromkeys(range(chunk_rows.MAX_CACHED_METADATA + 1), metadata(7)))
    assert cache.at(1) == {}


@pytest.fixture
def filled(store, make_file):
    store.replace_files(
        [
            make_file("src/a.py", ["one", "two"]),
            make_file("src/b.go", ["three"], language="go"),
            make_file("tests/test_a.py", ["four"], source_type="test"),
            make_file("docs/guide.md", ["five"], language="markdown", source_type="doc"),
        ]
    )
    return store


def test_resolve_filter_is_cached_until_change(filled, make_file):
    limits = QueryFilter(languages=("go",))
    first = filled.resolve_filter(limits)
    assert filled.resolve_filter(limits) is first
    filled.replace_files([make_file("c.go", ["six"], language="go")])
    assert len(filled.resolve_filter(limits).keys) == 2


def test_resolve_filter_cache_is_bounded(filled, monkeypatch):
    monkeypatch.setattr(chunk_rows, "MAX_CACHED_FILTERS", 2)
    limits = [QueryFilter(languages=(name,)) for name in ("go", "python", "markdown")]
    first, second, _ = (filled.resolve_filter(each) for each in limits)
    assert filled.resolve_filter(limits[1]) is second
    assert filled.resolve_filter(limits[0]) is not first


def test_resolve_filter_invalid_glob_names_it(filled):
    with pytest.raises(InvalidRequestError, match=r"file_paths.*\[z-a\]"):
        filled.resolve_filter(QueryFilter(file_paths=("[z-a]",)))
