"""Values that go into the tables come out the same."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_brain_server.storage.chunk_rows import as_json, facts_of, keys_array, read_facts, stored_chunk_of
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.support.tokens import normalize_name
from agent_brain_server.types import Chunk, FileChunks, FileRecord

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=10)


@given(text=TEXTS, symbols=st.lists(NAMES, max_size=3).map(tuple), heading=st.none() | TEXTS, path=NAMES)
@settings(max_examples=50, deadline=None)
def test_any_chunk_comes_back_as_it_was(tmp_path_factory, text, symbols, heading, path):
    store = DocumentStore(tmp_path_factory.mktemp("store"))
    chunk = Chunk("c" * 24, path, text, 3, 7, "python", "code", symbols, heading)
    replaced = store.replace_files([FileChunks(FileRecord(path, 1, 2, "h", "pending"), "python", "code", (chunk,))])
    ((_, (stored,)),) = replaced.files
    assert store.chunks_by_keys([stored.key]) == {stored.key: chunk}
    facts = store.facts_by_keys([stored.key])[stored.key]
    assert facts.names == tuple(map(normalize_name, symbols))
    assert (facts.path, facts.heading, facts.end_line) == (path, heading, 7)
    store.close()


def test_rows_are_read_column_by_column():
    row = (5, "a.py", 1, 2, "python", "code", "parse_one\x1fTwo", None)
    assert facts_of(row).names == ("parseone", "two")
    assert facts_of((*row[:6], "", None)).names == ()
    stored = stored_chunk_of((*row, "id", "text", 0))
    assert (stored.key, stored.chunk.id, stored.chunk.text) == (5, "id", "text")


def test_a_list_of_any_length_is_one_parameter():
    assert json.loads(as_json(np.array([3, 1], dtype=np.int64))) == [3, 1]
    assert json.loads(as_json(["a'b", "ü"])) == ["a'b", "ü"]
    assert len(json.loads(as_json(range(50_000)))) == 50_000


def test_keys_ascend():
    assert keys_array(iter([3, 1, 2])).tolist() == [1, 2, 3]
    assert keys_array([]).dtype == np.int64


def test_a_key_is_never_used_again(store, make_file):
    ((_, first),) = store.replace_files([make_file("a.py", ["x", "y"])]).files
    store.remove_files(["a.py"])
    ((_, second),) = store.replace_files([make_file("a.py", ["x", "y"])]).files
    assert {stored.key for stored in first}.isdisjoint(stored.key for stored in second)


def test_a_chunk_that_stays_keeps_its_key_and_a_repeated_id_counts_once(store, make_file):
    ((_, before),) = store.replace_files([make_file("a.py", ["x", "y"])]).files
    after = store.replace_files([make_file("a.py", ["y", "y", "z"], first_line=40)])
    ((_, stored),) = after.files
    assert [each.chunk.text for each in stored] == ["y", "z"]
    assert stored[0].key == before[1].key
    assert after.removed.tolist() == [before[0].key]
    assert store.facts_by_keys([stored[0].key])[stored[0].key].start_line == 40


@pytest.mark.parametrize(
    ("column", "value"),
    [(1, 7), (2, "3"), (2, None), (3, 1.5), (4, b"py"), (5, "c\ufffdde"), (5, ""), (6, None), (7, b"head"), (7, 7)],
)
def test_facts_of_which_a_column_was_damaged_are_left_out(column, value):
    sound = (1, "src/a.py", 1, 9, "python", "code", "one\x1ftwo", None)
    damaged = [2, *sound[1:]]
    damaged[column] = value
    assert list(read_facts([sound, damaged])) == [1]
    assert list(read_facts([sound, (3, *sound[1:-1], "Heading")])) == [1, 3]
    assert read_facts([]) == {}
