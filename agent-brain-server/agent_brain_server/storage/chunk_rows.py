"""Rows of the document store as the values of `types.py`, and the statements that write them."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from sys import intern
from typing import Any

import numpy as np

from agent_brain_server.types import Chunk, ChunkFacts, FileChunks, FileRecord, Keys, StoredChunk

SYMBOL_SEPARATOR = "\x1f"
"""Between the names of the `symbols` column: ASCII's unit separator, which no name contains."""

FACT_COLUMNS = "c.key, f.path, c.start_line, c.end_line, c.language, c.source_type, c.symbols, c.heading"

SELECT_FACTS = f"""
SELECT {FACT_COLUMNS} FROM chunks c JOIN files f USING (file_id)
WHERE c.key IN (SELECT value FROM json_each(?))
"""

SELECT_CHUNKS = f"""
SELECT {FACT_COLUMNS}, c.id, t.text FROM chunks c JOIN files f USING (file_id) JOIN texts t ON t.key = c.key
"""

INSERT_CHUNK = """
INSERT INTO chunks (key, id, file_id, start_line, end_line, language, source_type, symbols, heading)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

UPDATE_CHUNK = """
UPDATE chunks SET start_line = ?, end_line = ?, language = ?, source_type = ?, symbols = ?, heading = ? WHERE key = ?
"""

UPSERT_FILE = """
INSERT INTO files (path, size, mtime_ns, content_hash, state) VALUES (?, ?, ?, ?, 'pending')
ON CONFLICT (path) DO UPDATE SET
    size = excluded.size, mtime_ns = excluded.mtime_ns, content_hash = excluded.content_hash, state = 'pending'
RETURNING file_id
"""


def keys_array(keys: Iterable[int]) -> Keys:
    """Return the keys as an ascending array."""
    return np.sort(np.fromiter(keys, dtype=np.int64))


def as_json(values: Iterable[object]) -> str:
    """Return a list as the one parameter of `IN (SELECT value FROM json_each(?))`, which has no limit of length."""
    return json.dumps([int(value) if isinstance(value, np.integer) else value for value in values])


def facts_of(row: Sequence[Any]) -> ChunkFacts:
    """Read the columns `FACT_COLUMNS`; the many chunks of one file share its path."""
    key, path, start_line, end_line, language, source_type, symbols, heading = row
    names = _split_symbols(symbols)
    return ChunkFacts(key, intern(path), start_line, end_line, intern(language), source_type, names, heading)


def stored_chunk_of(row: Sequence[Any]) -> StoredChunk:
    """Read the columns of `SELECT_CHUNKS`."""
    key, path, start_line, end_line, language, source_type, symbols, heading, chunk_id, text = row
    names = _split_symbols(symbols)
    return StoredChunk(key, Chunk(chunk_id, path, text, start_line, end_line, language, source_type, names, heading))


def file_record_of(row: Sequence[Any]) -> FileRecord:
    """Read path, size, mtime_ns, content_hash and state."""
    return FileRecord(*row)


def next_key(connection: sqlite3.Connection) -> int:
    """Return the first key that no chunk ever had; to be used inside a transaction."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'").fetchone()
    return 1 if row is None else int(row[0]) + 1


def write_file(connection: sqlite3.Connection, file: FileChunks) -> tuple[list[StoredChunk], list[int]]:
    """Replace one file's row and chunks.

    A chunk whose id is there already keeps its key and its vector. Of chunks with the same id the first counts.

    Returns:
        The chunks that the file now has, in order, and the keys of those that it no longer has.
    """
    record = file.record
    values = (record.path, record.size, record.mtime_ns, record.content_hash)
    file_id = int(connection.execute(UPSERT_FILE, values).fetchone()[0])
    connection.execute("DELETE FROM skips WHERE path = ?", (record.path,))
    known: dict[str, int] = dict(connection.execute("SELECT id, key FROM chunks WHERE file_id = ?", (file_id,)))
    first_new = next_key(connection)
    stored: list[StoredChunk] = []
    added: list[StoredChunk] = []
    kept: list[StoredChunk] = []
    seen: set[str] = set()
    for chunk in file.chunks:
        if chunk.id in seen:
            continue
        seen.add(chunk.id)
        old_key = known.pop(chunk.id, None)
        here = StoredChunk(first_new + len(added) if old_key is None else old_key, chunk)
        (added if old_key is None else kept).append(here)
        stored.append(here)
    delete_chunks(connection, known.values())
    connection.executemany(UPDATE_CHUNK, [(*_described(s.chunk), s.key) for s in kept])
    connection.executemany(INSERT_CHUNK, [(s.key, s.chunk.id, file_id, *_described(s.chunk)) for s in added])
    connection.executemany("INSERT INTO texts (key, text) VALUES (?, ?)", [(s.key, s.chunk.text) for s in added])
    return stored, list(known.values())


def delete_chunks(connection: sqlite3.Connection, keys: Iterable[int]) -> None:
    """Delete chunks and their texts."""
    rows = [(key,) for key in keys]
    connection.executemany("DELETE FROM texts WHERE key = ?", rows)
    connection.executemany("DELETE FROM chunks WHERE key = ?", rows)


def _described(chunk: Chunk) -> tuple[object, ...]:
    symbols = SYMBOL_SEPARATOR.join(chunk.symbols)
    return (chunk.start_line, chunk.end_line, chunk.language, chunk.source_type, symbols, chunk.heading)


def _split_symbols(joined: str) -> tuple[str, ...]:
    return tuple(joined.split(SYMBOL_SEPARATOR)) if joined else ()
