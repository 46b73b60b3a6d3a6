"""Encoding and decoding of frames."""

import io

import orjson
import pytest

from agent_brain_server.indexing.worker.protocol import Frame, decode_file, encode_file, read_frames, write_frame
from agent_brain_server.types import Chunk, ContextLine, FileChunks, FileRecord


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
