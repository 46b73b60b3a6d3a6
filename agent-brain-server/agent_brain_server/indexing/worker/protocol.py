"""Protocol between the server and its indexing workers: length-prefixed frames over a pipe.

A frame consists of two big-endian 32-bit lengths, a JSON header, and a binary payload for vectors. JSON is used instead
of pickle because decoding it cannot execute code.
"""

import io
import logging
import struct
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

import orjson

from agent_brain_server.types import Chunk, ContextLine, FileChunks, FileRecord

READ_BYTES = 1 << 18  # bytes read from a pipe at once
MAX_RECORDS = 200  # log records per reply; a request that logs more repeats itself

Record = dict[str, Any]

_LENGTHS = struct.Struct(">II")


def encode_file(file: FileChunks) -> dict[str, Any]:
    """Return a file and its chunks as JSON values."""
    record = file.record
    return {
        "record": [record.path, record.size, record.mtime_ns, record.content_hash, record.state],
        "language": file.language,
        "source_type": file.source_type,
        "limit": file.limit,
        "chunks": [
            [c.id, c.text, c.start_line, c.end_line, c.symbols, c.heading, c.context, c.part, c.parts]
            for c in file.chunks
        ],
    }


def decode_file(file: dict[str, Any]) -> FileChunks:
    """Return the file that `encode_file` encoded."""
    record = FileRecord(*file["record"])
    language, source_type = file["language"], file["source_type"]
    chunks = tuple(
        Chunk(
            *(chunk_id, record.path, text, start_line, end_line, language, source_type, tuple(symbols), heading),
            *(tuple(ContextLine(*line) for line in context), part, parts),
        )
        for chunk_id, text, start_line, end_line, symbols, heading, context, part, parts in file["chunks"]
    )
    return FileChunks(record, language, source_type, chunks, file["limit"])


class RecordCollector(logging.Handler):
    """Logging handler that keeps records until the next reply."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[Record] = []
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, unless there are `MAX_RECORDS` already."""
        if len(self._records) >= MAX_RECORDS:
            return
        line: Record = {
            "name": record.name,
            "levelno": record.levelno,
            "created": record.created,
            "msg": _escape_surrogates(record.getMessage()),
        }
        if record.exc_info:
            line["exc_text"] = _escape_surrogates(self._formatter.formatException(record.exc_info))
        self._records.append(line)

    def take(self) -> list[Record]:
        """Return and remove the records."""
        records, self._records = self._records, []
        return records


def relay_records(records: Iterable[Record], worker_pid: int) -> None:
    """Log a worker's records in this process, with their original timestamps.

    Args:
        records: Records of the worker's `RecordCollector`.
        worker_pid: Process id of the worker, added to each record.
    """
    for fields in records:
        logger = logging.getLogger(fields["name"])
        if logger.isEnabledFor(fields["levelno"]):
            level = logging.getLevelName(fields["levelno"])
            logger.handle(logging.makeLogRecord({**fields, "levelname": level, "worker_pid": worker_pid}))


def _escape_surrogates(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # orjson rejects lone surrogates


class Frame(NamedTuple):
    """One message: a JSON object and a binary payload."""

    header: dict[str, Any]
    payload: bytes = b""


def write_frame(stream: IO[bytes], frame: Frame) -> None:
    """Write one frame and flush.

    Raises:
        OSError: The other process has closed the pipe.
    """
    header = orjson.dumps(frame.header)
    stream.write(_LENGTHS.pack(len(header), len(frame.payload)) + header + frame.payload)
    stream.flush()


class FrameBuffer:
    """Reassembles frames from the blocks that a pipe delivers."""

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        """Append a block."""
        self._data += data

    def take(self) -> Frame | None:
        """Return the next frame, or `None` if it is incomplete."""
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


def read_frames(stream: io.BufferedIOBase) -> Iterator[Frame]:
    """Yield the frames of a stream until it ends; an incomplete frame at the end is dropped."""
    buffer = FrameBuffer()
    while data := stream.read1(READ_BYTES):
        buffer.add(data)
        while (frame := buffer.take()) is not None:
            yield frame
