"""Messages between the server and its indexing worker: length-prefixed frames over a pipe.

A frame is two big-endian 32-bit lengths, a JSON header and raw bytes (vectors travel there). Nothing in it can execute,
which is why this is not pickle.
"""

import struct
from typing import IO, Any, NamedTuple

import orjson

_LENGTHS = struct.Struct(">II")


class Frame(NamedTuple):
    """One message: a JSON object and the bytes that belong to it."""

    header: dict[str, Any]
    payload: bytes = b""


def write_frame(stream: IO[bytes], frame: Frame) -> None:
    """Write one frame and flush.

    Raises:
        OSError: The other side is gone.
    """
    header = orjson.dumps(frame.header)
    stream.write(_LENGTHS.pack(len(header), len(frame.payload)) + header + frame.payload)
    stream.flush()


class FrameBuffer:
    """Puts frames together from the parts in which a pipe delivers them."""

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        """Append what was read."""
        self._data += data

    def take(self) -> Frame | None:
        """Return the next frame, `None` if it is not complete yet."""
        if len(self._data) < _LENGTHS.size:
            return None
        header_length, payload_length = _LENGTHS.unpack_from(self._data)
        header_end = _LENGTHS.size + header_length
        end = header_end + payload_length
        if len(self._data) < end:
            return None
        frame = Frame(orjson.loads(self._data[_LENGTHS.size : header_end]), bytes(self._data[header_end:end]))
        del self._data[:end]
        return frame


def read_frame(stream: IO[bytes]) -> Frame | None:
    """Read one frame; None where the other side has closed, even in the middle of a frame."""
    lengths = _read_exactly(stream, _LENGTHS.size)
    if lengths is None:
        return None
    header_length, payload_length = _LENGTHS.unpack(lengths)
    header = _read_exactly(stream, header_length)
    payload = _read_exactly(stream, payload_length)
    if header is None or payload is None:
        return None
    return Frame(orjson.loads(header), payload)


def _read_exactly(stream: IO[bytes], count: int) -> bytes | None:
    data = stream.read(count) if count else b""
    return data if len(data) == count else None
