"""Chunked files on their way from the reader to the server: what all chunks of a file share is sent once."""

from typing import Any

from agent_brain_server.types import Chunk, FileChunks, FileRecord


def encode_file(file: FileChunks) -> dict[str, Any]:
    """Return a file and its chunks as JSON values."""
    record = file.record
    return {
        "record": [record.path, record.size, record.mtime_ns, record.content_hash, record.state],
        "language": file.language,
        "source_type": file.source_type,
        "limit": file.limit,
        "chunks": [[c.id, c.text, c.start_line, c.end_line, c.symbols, c.heading] for c in file.chunks],
    }


def decode_file(file: dict[str, Any]) -> FileChunks:
    """Return the file that `encode_file` was given."""
    record = FileRecord(*file["record"])
    language, source_type = file["language"], file["source_type"]
    chunks = tuple(
        Chunk(chunk_id, record.path, text, start_line, end_line, language, source_type, tuple(symbols), heading)
        for chunk_id, text, start_line, end_line, symbols, heading in file["chunks"]
    )
    return FileChunks(record, language, source_type, chunks, file["limit"])
