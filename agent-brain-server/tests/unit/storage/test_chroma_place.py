"""Which collections on a Chroma server a store may remove: its own, and no other's."""

import json
import platform

import pytest

from agent_brain_server.storage.chroma_place import (
    LOCAL_PLACE,
    ChromaPlace,
    LeftBehind,
    decode_left,
    encode_left,
    name_collection,
)
from agent_brain_server.types import ChromaServer

URL = "http://127.0.0.1:8000/team a/brain"
STORE_ID = "0a" * 16


@pytest.fixture
def place(tmp_path):
    return ChromaPlace(tmp_path / "here", STORE_ID, ChromaServer(URL))


def home_of(directory, node=None):
    return json.dumps([node or platform.node(), str(directory)])


def test_its_own_collection_may_be_removed_whatever_the_documents_were(place, tmp_path):
    assert place.has_left(place.name, None)
    assert place.has_left(f"{URL} {name_collection('1b' * 16, tmp_path / 'here')}", None)


def test_of_another_directory_only_one_that_is_gone(place, tmp_path):
    there = tmp_path / "there"
    left = f"{URL} {name_collection(STORE_ID, there)}"
    assert place.has_left(left, home_of(there))
    assert not place.has_left(left, home_of(there, "another machine"))
    assert not place.has_left(left, None)
    there.mkdir()  # the store was copied from it
    assert not place.has_left(left, home_of(there))


@pytest.mark.parametrize(
    "left",
    [
        LOCAL_PLACE,
        "",
        "http://elsewhere:8000 agent-brain-0a-00000000",
        f"{URL} customers",
        f"{URL} agent-brain-../x-00000000",
    ],
)
def test_nothing_else_is(place, tmp_path, left):
    assert not place.has_left(left, home_of(tmp_path / "gone"))


def test_a_store_with_files_of_its_own_removes_nothing_elsewhere(tmp_path):
    local = ChromaPlace(tmp_path, STORE_ID)
    assert local.name == LOCAL_PLACE
    assert not local.has_left(ChromaPlace(tmp_path, STORE_ID, ChromaServer(URL)).name, None)
    local.remove([LeftBehind(f"{URL} agent-brain-0a-00000000", "1")])  # asks nobody


@pytest.mark.parametrize("text", [None, "", "{", "7", "[1]", '[["a"]]', '["ab"]'])
def test_a_damaged_note_is_worth_no_error(text):
    assert all(isinstance(each, LeftBehind) for each in decode_left(text))


def test_a_note_is_read_as_it_was_written():
    left = [LeftBehind(f"{URL} agent-brain-0a-00000000", "e1"), LeftBehind("x y", "e2")]
    assert decode_left(encode_left(left)) == left
    assert (left[0].url, left[0].name) == (URL, "agent-brain-0a-00000000")
