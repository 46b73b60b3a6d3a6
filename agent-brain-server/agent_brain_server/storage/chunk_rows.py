"""Rows of the document store as the values of `types.py`, and the statements that write them."""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from sys import intern
from typing import Any, get_args

import numpy as np

from agent_brain_server.support.tokens import normalize_name
from agent_brain_server.types import Chunk, ChunkMetadata, FileChunks, FileRecord, Keys, SourceType, StoredChunk

SYMBOL_SEPARATOR = "\x1f"
"""Between the names of the `symbols` column: ASCII's unit separator, which no name contains."""

FACT_COLUMNS = "c.key, f.path, c.start_line, c.end_line, c.language, c.source_type, c.symbols, c.heading"

FACT_KINDS: tuple[set[type], ...] = ({int}, {str}, {int}, {int}, {str}, {str}, {str}, {str, type(None)})
"""Types of the columns `FACT_COLUMNS`."""

SOURCE_TYPES = frozenset(get_args(SourceType))

SOURCE_TYPE_COLUMN = 5
"""Place of the source type in `FACT_COLUMNS`."""

SELECT_FACTS = f"""
SELECT {FACT_COLUMNS} FROM chunks c JOIN files f USING (file_id)
WHERE c.key IN (SELECT value FROM json_each(?))
"""

SELECT_CHUNKS = f"""
SELECT {FACT_COLUMNS}, c.id, t.text, t.checksum FROM chunks c JOIN files f USING (file_id) JOIN texts t ON t.key = c.key
"""

INSERT_CHUNK = """
INSERT INTO chunks (key, id, file_id, start_line, end_line, language, source_type, symbols, heading)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

UPDATE_CHUNK = """
UPDATE chunks SET start_line = ?, end_line = ?, language = ?, source_type = ?, symbols = ?, heading = ? WHERE key = ?
"""

INSERT_TEXT = "INSERT INTO texts (key, text, checksum) VALUES (?, ?, ?)"

FORGET_FILES_OF = """
UPDATE files SET state = 'pending', size = -1
WHERE file_id IN (SELECT file_id FROM chunks WHERE key IN (SELECT value FROM json_each(?)))
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


def facts_of(row: Sequence[Any]) -> ChunkMetadata:
    """Read the columns `FACT_COLUMNS`; the many chunks of one file share its path."""
    key, path, start_line, end_line, language, source_type, symbols, heading = row
    names = tuple(normalize_name(symbols).split(SYMBOL_SEPARATOR)) if symbols else ()
    return ChunkMetadata(key, intern(path), start_line, end_line, intern(language), source_type, names, heading)


def stored_chunk_of(row: Sequence[Any]) -> StoredChunk:
    """Read the columns of `SELECT_CHUNKS`."""
    key, path, start_line, end_line, language, source_type, symbols, heading, chunk_id, text, _ = row
    names = _split_symbols(symbols)
    return StoredChunk(key, Chunk(chunk_id, path, text, start_line, end_line, language, source_type, names, heading))


def split_sound(rows: Iterable[Sequence[Any]]) -> tuple[list[StoredChunk], list[int]]:
    """Read the columns of `SELECT_CHUNKS` and compare each row with its checksum.

    Returns:
        The chunks that are as they were written, and the keys of the others.
    """
    sound, damaged = [], []
    for row in rows:
        if _checksum(row[1:-1]) == row[-1]:
            sound.append(stored_chunk_of(row))
        else:
            damaged.append(int(row[0]))
    return sound, damaged


def fetch_rows(connection: sqlite3.Connection, query: str, values: Sequence[object]) -> list[Sequence[Any]]:
    """Return all rows; bytes of a text that are no UTF-8, and so are damaged, come as replacement characters."""
    try:
        return connection.execute(query, values).fetchall()
    except sqlite3.OperationalError as exc:
        if "decode" not in str(exc):
            raise
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.text_factory = str


def read_facts(rows: Sequence[Sequence[Any]]) -> dict[int, ChunkMetadata]:
    """Read the columns `FACT_COLUMNS` of many chunks; a damaged row that holds something else is left out."""
    whole = rows if _are_whole(rows) else [row for row in rows if _are_whole([row])]
    return {row[0]: facts_of(row) for row in whole}


def _are_whole(rows: Sequence[Sequence[Any]]) -> bool:
    """Whether the columns `FACT_COLUMNS` hold what ranking relies on; SQLite does not see to it."""
    columns = list(zip(*rows, strict=True))
    typed = all(kinds.issuperset(map(type, column)) for kinds, column in zip(FACT_KINDS, columns, strict=False))
    return typed and (not columns or SOURCE_TYPES.issuperset(columns[SOURCE_TYPE_COLUMN]))


def forget_damaged(connection: sqlite3.Connection, keys: Iterable[int]) -> None:
    """Delete damaged chunks; their files get a size that none has, so that the next comparison has them read again."""
    listed = list(keys)
    connection.execute(FORGET_FILES_OF, (as_json(listed),))
    delete_chunks(connection, listed)


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
    connection.executemany("UPDATE texts SET checksum = ? WHERE key = ?", [(_sum(s.chunk), s.key) for s in kept])
    connection.executemany(INSERT_TEXT, [(s.key, s.chunk.text, _sum(s.chunk)) for s in added])
    return stored, list(known.values())


def delete_chunks(connection: sqlite3.Connection, keys: Iterable[int]) -> None:
    """Delete chunks and their texts."""
    rows = [(key,) for key in keys]
    connection.executemany("DELETE FROM texts WHERE key = ?", rows)
    connection.executemany("DELETE FROM chunks WHERE key = ?", rows)


def _described(chunk: Chunk) -> tuple[object, ...]:
    symbols = SYMBOL_SEPARATOR.join(chunk.symbols)
    return (chunk.start_line, chunk.end_line, chunk.language, chunk.source_type, symbols, chunk.heading)


def _sum(chunk: Chunk) -> int:
    return _checksum((chunk.path, *_described(chunk), chunk.id, chunk.text))


def _checksum(columns: Iterable[object]) -> int:
    """Return the CRC-32 of path, lines, language, source type, symbols, heading, id and text."""
    return zlib.crc32("\0".join(map(str, columns)).encode("utf-8", "replace"))


def _split_symbols(joined: str) -> tuple[str, ...]:
    return tuple(joined.split(SYMBOL_SEPARATOR)) if joined else ()
