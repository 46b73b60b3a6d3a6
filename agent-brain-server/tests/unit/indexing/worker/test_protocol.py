"""Encoding and decoding of frames, and of the syntax facts of a file."""

import io
from typing import Any

import orjson
import pytest

from agent_brain_server.indexing.worker.protocol import (
    MAX_DEFINITIONS,
    MAX_FACT_TEXT,
    MAX_REFERENCES,
    Frame,
    InvalidFactsError,
    decode_facts,
    decode_file,
    encode_file,
    read_frames,
    write_frame,
)
from agent_brain_server.storage.fact_values import MAX_NAMES, MAX_SCOPE
from agent_brain_server.structure import facts, references
from agent_brain_server.types import Chunk, ContextLine, Definition, FileChunks, FileRecord, Reference, SyntaxFacts


def test_frames_round_trip() -> None:
    stream = io.BytesIO()
    frames = [Frame({"op": "chunk", "files": ["a b", "ü"]}, b""), Frame({}, bytes(range(256)))]
    for frame in frames:
        write_frame(stream, frame)
    stream.seek(0)
    assert list(read_frames(stream)) == frames


@pytest.mark.parametrize("cut", [1, 7, 9, 20])
def test_read_frames_drops_truncated_frame(cut: int) -> None:
    stream = io.BytesIO()
    write_frame(stream, Frame({"op": "embed"}, b"0123456789"))
    assert list(read_frames(io.BytesIO(stream.getvalue()[:-cut]))) == []


def test_file_round_trips_as_json() -> None:
    context = (ContextLine(1, "def f(a):"),)
    chunk = Chunk("i", "a.py", "return a", 2, 2, "python", "code", ("f",), "class A", context, 2, 2)
    file = FileChunks(FileRecord("a.py", 1, 2, "h", "pending"), "python", "code", (chunk,))
    assert decode_file(orjson.loads(orjson.dumps(encode_file(file)))) == file


FACTS = SyntaxFacts(
    (
        Definition("Client", "Client", "class", "class Client", 2, 1, 9, None, "A client."),
        Definition("send", "Client.send", "def", "def send(self)", 4, 4, 9, 0),
    ),
    (Reference("Base", 2, "inherit", 0), Reference("json", 1, "import"), Reference("json", 5, "use", 1)),
    is_partial=True,
)


def encode_facts(facts: SyntaxFacts = FACTS) -> Any:
    record = FileRecord("a.py", 1, 2, "0" * 64, "pending")
    file = FileChunks(record, "python", "code", (), facts=facts)
    decoded = orjson.loads(orjson.dumps(encode_file(file)))
    assert decode_file(decoded) == file
    return decoded["facts"]


def test_facts_round_trip() -> None:
    assert decode_facts(encode_facts()) == FACTS
    assert decode_facts(encode_facts(SyntaxFacts())) == SyntaxFacts()


def test_limits_admit_what_extraction_returns() -> None:
    assert MAX_DEFINITIONS >= facts.MAX_DEFINITIONS
    assert MAX_REFERENCES >= references.MAX_REFERENCES
    assert MAX_SCOPE >= MAX_DEFINITIONS
    assert MAX_NAMES >= MAX_REFERENCES
    assert MAX_FACT_TEXT >= 2 * facts.MAX_QUALIFIED_NAME


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("definitions", [["f"] * 9]),
        ("definitions", [["f", "f", "def", "", 1, 1, 1, None]]),
        ("definitions", [["f", "f", "def", "", 1, 1, -1, None, ""]]),
        ("definitions", [["f", "f", "def", "", 1, 1, True, None, ""]]),
        ("definitions", [["f", "f", "def", "", 1, 1, 1, 0, ""]]),
        ("definitions", [["f", "f", "def", "", 1, 1, 1.5, None, ""]]),
        ("definitions", [["f" * 1_001, "f", "def", "", 1, 1, 1, None, ""]]),
        ("definitions", [None]),
        ("definitions", "text"),
        ("definitions", [[]] * 20_001),
        ("references", [0, 1, 0]),
        ("references", [0, -1, 0, -1]),
        ("references", [0, 1, 4, -1]),
        ("references", [0, 1, 0, 2]),
        ("references", [0, 1, 0, -2]),
        ("references", [9, 1, 0, -1]),
        ("references", [0, 1 << 28, 0, -1]),
        ("references", [0, 1 << 70, 0, -1]),
        ("references", [0, True, 0, -1]),
        ("references", [0, None, 0, -1]),
        ("references", [0, 1, 0, -1] * 100_001),
        ("references", {}),
        ("names", ["same", "same"]),
        ("names", ["x" * 1_001]),
        ("names", [["list"]]),
        ("names", "Base"),
        ("is_partial", 1),
    ],
)
def test_decode_facts_invalid_is_rejected(key: str, value: object) -> None:
    with pytest.raises(InvalidFactsError, match="invalid syntax facts"):
        decode_facts({**encode_facts(), key: value})


@pytest.mark.parametrize("facts", [None, [], {}, "text", {"definitions": []}])
def test_decode_facts_other_value_is_rejected(facts: object) -> None:
    with pytest.raises(InvalidFactsError):
        decode_facts(facts)
