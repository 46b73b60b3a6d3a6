"""Encoding and decoding of frames."""

import io

import pytest

from agent_brain_server.indexing.worker.protocol import Frame, read_frame, write_frame


def test_frames_round_trip() -> None:
    stream = io.BytesIO()
    frames = [Frame({"op": "chunk", "files": ["a b", "ü"]}, b""), Frame({}, bytes(range(256)))]
    for frame in frames:
        write_frame(stream, frame)
    stream.seek(0)
    assert [read_frame(stream), read_frame(stream)] == frames
    assert read_frame(stream) is None


@pytest.mark.parametrize("cut", [1, 7, 9, 20])
def test_read_frame_truncated_returns_none(cut: int) -> None:
    stream = io.BytesIO()
    write_frame(stream, Frame({"op": "embed"}, b"0123456789"))
    assert read_frame(io.BytesIO(stream.getvalue()[:-cut])) is None
