"""Encoding and decoding of frames."""

import io

import pytest

from agent_brain_server.indexing.worker.protocol import Frame, read_frames, write_frame


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
