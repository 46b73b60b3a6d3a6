"""Protocol between the server and its indexing workers: length-prefixed frames over a pipe.

A frame consists of two big-endian 32-bit lengths, a JSON header, and a binary payload for vectors. JSON is used instead
of pickle because decoding it cannot execute code.
"""

import io
import logging
import struct
from collections.abc import Iterable, Iterator, Sequence
from types import NoneType
from typing import IO, Any, NamedTuple

import numpy as np
import orjson

from agent_brain_server.storage.fact_values import COLUMNS, KINDS, MAX_LINE, ReferenceTable, list_values
from agent_brain_server.types import (
    Chunk,
    ContextLine,
    Definition,
    FileChunks,
    FileRecord,
    SyntaxFacts,
)

READ_BYTES = 1 << 18  # bytes read from a pipe at once
MAX_RECORDS = 200  # log records per reply; a request that logs more repeats itself

MAX_DEFINITIONS = 20_000  # of one file; extraction stops there, too
MAX_REFERENCES = 100_000  # of one file; as above
MAX_FACT_TEXT = 1_000  # characters of a name, signature or documentation line; extraction shortens them

Record = dict[str, Any]

_LENGTHS = struct.Struct(">II")


class InvalidFactsError(ValueError):
    """The facts of a file are not what a reader extracts."""


def encode_file(file: FileChunks) -> dict[str, Any]:
    """Return a file and its chunks as JSON values."""
    record = file.record
    return {
        "record": [record.path, record.size, record.mtime_ns, record.content_hash, record.state],
        "language": file.language,
        "source_type": file.source_type,
        "limit": file.limit,
        "chunks": [
            [c.id, c.text, c.start_line, c.end_line, c.symbols, c.heading, [*map(list, c.context)], c.part, c.parts]
            for c in file.chunks
        ],
        "facts": _encode_facts(file.facts),
    }


def decode_file(file: dict[str, Any]) -> FileChunks:
    """Return the file that `encode_file` encoded.

    Raises:
        InvalidFactsError: The syntax facts have a wrong type or exceed a limit.
    """
    record = FileRecord(*file["record"])
    language, source_type = file["language"], file["source_type"]
    chunks = tuple(
        Chunk(
            *(chunk_id, record.path, text, start_line, end_line, language, source_type, tuple(symbols), heading),
            *(tuple(ContextLine(*line) for line in context), part, parts),
        )
        for chunk_id, text, start_line, end_line, symbols, heading, context, part, parts in file["chunks"]
    )
    return FileChunks(record, language, source_type, chunks, file["limit"], decode_facts(file["facts"]))


def decode_facts(facts: Any) -> SyntaxFacts:  # noqa: ANN401 - any JSON value, if a reader was compromised
    """Return the facts that `encode_file` encoded, after checking every value.

    Raises:
        InvalidFactsError: They have a wrong type or exceed a limit.
    """
    try:
        return _decode_facts(facts)
    except InvalidFactsError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidFactsError(f"The reader sent invalid syntax facts: {type(error).__name__}.") from error


def _encode_facts(facts: SyntaxFacts) -> dict[str, Any]:
    """Return facts as JSON values, with four numbers for each reference."""
    table = ReferenceTable.make(facts.references)
    return {
        "definitions": list(map(list_values, facts.definitions)),
        "names": list(table.names),
        "references": table.numbers.ravel().tolist(),
        "is_partial": facts.is_partial,
    }


def _decode_facts(facts: dict[str, Any]) -> SyntaxFacts:
    definitions, names, numbers, is_partial = (
        facts[key] for key in ("definitions", "names", "references", "is_partial")
    )
    _require(type(is_partial) is bool, "a flag is none")
    _require(set(map(type, (definitions, names, numbers))) == {list}, "a list is none")
    _require(len(definitions) <= MAX_DEFINITIONS, "too many definitions")
    _require(len(numbers) <= COLUMNS * MAX_REFERENCES, "too many references")
    _check_definitions(definitions)
    _require_texts(names)
    _require(len(set(names)) == len(names), "a name is repeated")
    _require(set(map(type, numbers)) <= {int}, "a reference is no number")
    references = np.array(numbers, dtype=np.int64).reshape(-1, COLUMNS)
    most = (len(names) - 1, MAX_LINE, len(KINDS) - 1, len(definitions) - 1)
    is_valid = bool(np.all((references >= (0, 1, 0, -1)) & (references <= most)))
    _require(is_valid, "a number is out of range")
    return SyntaxFacts(
        tuple(Definition(*values) for values in definitions), ReferenceTable(tuple(names), references), is_partial
    )


def _check_definitions(definitions: list[Any]) -> None:
    """Check the values of definitions column by column."""
    if not definitions:
        return
    name, qualified_name, kind, signature, *lines, parent, documentation = zip(*definitions, strict=True)
    for texts in (name, qualified_name, kind, signature, documentation):
        _require_texts(texts)
    for column in lines:
        _require(set(map(type, column)) == {int}, "a line is no number")
        _require(min(column) >= 1 and max(column) <= MAX_LINE, "a line is out of range")
    _require(set(map(type, parent)) <= {int, NoneType}, "an index is no number")
    _require(all(p is None or 0 <= p < n for n, p in enumerate(parent)), "a definition precedes its parent")


def _require_texts(texts: Sequence[Any]) -> None:
    _require(set(map(type, texts)) <= {str} and max(map(len, texts), default=0) <= MAX_FACT_TEXT, "a text is too long")


def _require(condition: bool, fault: str) -> None:
    if not condition:
        raise InvalidFactsError(f"The reader sent invalid syntax facts: {fault}.")


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
