"""Rows of the document store as the values of `types.py`: statements that write them, and filters and caches."""

import json
import sqlite3
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from sys import intern
from typing import Any, get_args

import numpy as np

from agent_brain_server.storage.database import Database
from agent_brain_server.support.globs import compile_selection
from agent_brain_server.support.tokens import normalize_name
from agent_brain_server.types import (
    AllowedChunks,
    Chunk,
    ChunkMetadata,
    ContextLine,
    FileChunks,
    Keys,
    QueryFilter,
    SourceType,
    StoredChunk,
)

SYMBOL_SEPARATOR = "\x1f"
"""Separates the names in the column `symbols`, and the lines in `context`: ASCII's unit separator, which no name
contains and which the chunker removes from context."""

CONTEXT_SEPARATOR = "\t"
"""Separates number and text of a line in the column `context`."""

METADATA_COLUMNS = "c.key, f.path, c.start_line, c.end_line, c.language, c.source_type, c.symbols, c.heading"

METADATA_TYPES: tuple[set[type], ...] = ({int}, {str}, {int}, {int}, {str}, {str}, {str}, {str, type(None)})
"""Types of the columns `METADATA_COLUMNS`."""

SOURCE_TYPES = frozenset(get_args(SourceType))

SOURCE_TYPE_COLUMN = 5
"""Position of the source type in `METADATA_COLUMNS`."""

SELECT_METADATA = f"""
SELECT {METADATA_COLUMNS} FROM chunks c JOIN files f USING (file_id)
WHERE c.key IN (SELECT value FROM json_each(?))
"""

SELECT_CHUNKS = f"""
SELECT {METADATA_COLUMNS}, c.id, t.text, t.context, t.part, t.parts, t.checksum
FROM chunks c JOIN files f USING (file_id) JOIN texts t ON t.key = c.key
"""

INSERT_CHUNK = """
INSERT INTO chunks (key, id, file_id, start_line, end_line, language, source_type, symbols, heading)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

UPDATE_CHUNK = """
UPDATE chunks SET start_line = ?, end_line = ?, language = ?, source_type = ?, symbols = ?, heading = ? WHERE key = ?
"""

INSERT_TEXT = "INSERT INTO texts (key, text, context, part, parts, checksum) VALUES (?, ?, ?, ?, ?, ?)"

UPDATE_TEXT = "UPDATE texts SET context = ?, part = ?, parts = ?, checksum = ? WHERE key = ?"

INVALIDATE_FILES_OF = """
UPDATE files SET state = 'pending', size = -1
WHERE file_id IN (SELECT file_id FROM chunks WHERE key IN (SELECT value FROM json_each(?)))
"""

UPSERT_FILE = """
INSERT INTO files (path, size, mtime_ns, content_hash, state) VALUES (?, ?, ?, ?, 'pending')
ON CONFLICT (path) DO UPDATE SET
    size = excluded.size, mtime_ns = excluded.mtime_ns, content_hash = excluded.content_hash, state = 'pending'
RETURNING file_id
"""

MAX_CACHED_METADATA = 50_000
"""Chunks whose metadata is cached, some 15 MB; a query reads it of 300 chunks, and similar queries of the same ones."""

MAX_CACHED_FILTERS = 16
"""Filters whose chunks are cached: an agent repeats the same few. Each costs 8 bytes for every allowed chunk."""


def keys_array(keys: Iterable[int]) -> Keys:
    """Return the keys as an ascending array."""
    return np.sort(np.fromiter(keys, dtype=np.int64))


def as_json(values: Iterable[object]) -> str:
    """Return a list as the single parameter of `IN (SELECT value FROM json_each(?))`, which has no length limit."""
    return json.dumps([int(value) if isinstance(value, np.integer) else value for value in values])


def fetch_rows(connection: sqlite3.Connection, query: str, values: Sequence[object]) -> list[Sequence[Any]]:
    """Return all rows; invalid UTF-8, a sign of damage, is returned as replacement characters."""
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


def split_damaged(rows: Iterable[Sequence[Any]]) -> tuple[list[StoredChunk], list[int]]:
    """Compare rows of `SELECT_CHUNKS` with their checksums; return the valid chunks and the keys of damaged ones."""
    valid, damaged = [], []
    for row in rows:
        if _checksum(row[1:-1]) == row[-1]:
            valid.append(read_chunk(row))
        else:
            damaged.append(int(row[0]))
    return valid, damaged


def read_chunk(row: Sequence[Any]) -> StoredChunk:
    """Read a row of `SELECT_CHUNKS`."""
    (
        key,
        path,
        start_line,
        end_line,
        language,
        source_type,
        symbols,
        heading,
        chunk_id,
        text,
        context,
        part,
        parts,
        _,
    ) = row
    names = tuple(symbols.split(SYMBOL_SEPARATOR)) if symbols else ()
    lines = _read_context(context)
    return StoredChunk(
        key,
        Chunk(chunk_id, path, text, start_line, end_line, language, source_type, names, heading, lines, part, parts),
    )


def read_metadata(rows: Sequence[Sequence[Any]]) -> dict[int, ChunkMetadata]:
    """Read rows of `SELECT_METADATA`, by key; damaged rows with values of another type are left out."""
    valid = rows if _are_valid(rows) else [row for row in rows if _are_valid([row])]
    return {row[0]: _read_metadata(row) for row in valid}


def _read_metadata(row: Sequence[Any]) -> ChunkMetadata:
    key, path, start_line, end_line, language, source_type, symbols, heading = row
    names = tuple(normalize_name(symbols).split(SYMBOL_SEPARATOR)) if symbols else ()
    return ChunkMetadata(key, intern(path), start_line, end_line, intern(language), source_type, names, heading)


def _are_valid(rows: Sequence[Sequence[Any]]) -> bool:
    """Return whether the columns `METADATA_COLUMNS` have the types that ranking relies on; SQLite does not check."""
    columns = list(zip(*rows, strict=True))
    typed = all(types.issuperset(map(type, column)) for types, column in zip(METADATA_TYPES, columns, strict=False))
    return typed and (not columns or SOURCE_TYPES.issuperset(columns[SOURCE_TYPE_COLUMN]))


def next_key(connection: sqlite3.Connection) -> int:
    """Return the smallest key that no chunk ever had, within a transaction."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'").fetchone()
    return 1 if row is None else int(row[0]) + 1


def write_file(connection: sqlite3.Connection, file: FileChunks) -> tuple[int, list[StoredChunk], list[int]]:
    """Replace the row and the chunks of one file.

    A chunk whose id exists already keeps its key and its vector. Of chunks with equal ids, the first one is used.

    Returns:
        The id of the file, its chunks in order, and the keys of the chunks that it no longer has.
    """
    record = file.record
    values = (record.path, record.size, record.mtime_ns, record.content_hash)
    file_id = int(connection.execute(UPSERT_FILE, values).fetchone()[0])
    connection.execute("DELETE FROM skips WHERE path = ?", (record.path,))
    known: dict[str, int] = dict(connection.execute("SELECT id, key FROM chunks WHERE file_id = ?", (file_id,)))
    first_new = next_key(connection)
    stored: dict[str, StoredChunk] = {}
    added: list[StoredChunk] = []
    kept: list[StoredChunk] = []
    for chunk in file.chunks:
        if chunk.id in stored:
            continue
        key = known.pop(chunk.id, None)
        stored[chunk.id] = StoredChunk(first_new + len(added) if key is None else key, chunk)
        (added if key is None else kept).append(stored[chunk.id])
    delete_chunks(connection, known.values())
    connection.executemany(UPDATE_CHUNK, [(*_metadata_values(s.chunk), s.key) for s in kept])
    connection.executemany(INSERT_CHUNK, [(s.key, s.chunk.id, file_id, *_metadata_values(s.chunk)) for s in added])
    connection.executemany(UPDATE_TEXT, [(*_context_values(s.chunk), _chunk_checksum(s.chunk), s.key) for s in kept])
    connection.executemany(
        INSERT_TEXT, [(s.key, s.chunk.text, *_context_values(s.chunk), _chunk_checksum(s.chunk)) for s in added]
    )
    return file_id, list(stored.values()), list(known.values())


def delete_chunks(connection: sqlite3.Connection, keys: Iterable[int]) -> None:
    """Delete chunks and their texts."""
    rows = [(key,) for key in keys]
    connection.executemany("DELETE FROM texts WHERE key = ?", rows)
    connection.executemany("DELETE FROM chunks WHERE key = ?", rows)


def delete_damaged(connection: sqlite3.Connection, keys: Iterable[int]) -> None:
    """Delete damaged chunks, and give their files an impossible size, so that the next comparison reads them again."""
    listed = list(keys)
    connection.execute(INVALIDATE_FILES_OF, (as_json(listed),))
    delete_chunks(connection, listed)


def _metadata_values(chunk: Chunk) -> tuple[object, ...]:
    symbols = SYMBOL_SEPARATOR.join(chunk.symbols)
    return (chunk.start_line, chunk.end_line, chunk.language, chunk.source_type, symbols, chunk.heading)


def _context_values(chunk: Chunk) -> tuple[str, int, int]:
    lines = (f"{line}{CONTEXT_SEPARATOR}{text}" for line, text in chunk.context)
    return SYMBOL_SEPARATOR.join(lines), chunk.part, chunk.parts


def _read_context(stored: str) -> tuple[ContextLine, ...]:
    """Read the column `context`, whose checksum is valid."""
    if not stored:
        return ()
    lines = (line.partition(CONTEXT_SEPARATOR) for line in stored.split(SYMBOL_SEPARATOR))
    return tuple(ContextLine(int(number), text) for number, _, text in lines)


def _chunk_checksum(chunk: Chunk) -> int:
    return _checksum((chunk.path, *_metadata_values(chunk), chunk.id, chunk.text, *_context_values(chunk)))


def _checksum(columns: Iterable[object]) -> int:
    """Return the CRC-32 of path, lines, language, source type, symbols, heading, id, text, context and parts."""
    return zlib.crc32("\0".join(map(str, columns)).encode("utf-8", "replace"))


class MetadataCache:
    """Chunk metadata of one generation of the store, by key. Any thread may read and add.

    Reading the metadata of a query's candidates takes longer than ranking them.
    """

    def __init__(self) -> None:
        self._kept: tuple[int, dict[int, ChunkMetadata]] = (0, {})

    def at(self, generation: int) -> dict[int, ChunkMetadata]:
        """Return the cached metadata of a generation, to be read and added to.

        Args:
            generation: Generation of the store before the added metadata was read.
        """
        kept = self._kept
        if kept[0] != generation or len(kept[1]) > MAX_CACHED_METADATA:
            kept = self._kept = (generation, {})
        return kept[1]


class FilterResolver:
    """Resolves query filters to chunk keys, once for each filter and generation of the store.

    Args:
        database: Holds the tables `files` and `chunks`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._cache: OrderedDict[QueryFilter, tuple[int, AllowedChunks]] = OrderedDict()

    def resolve(self, query_filter: QueryFilter, generation: int) -> AllowedChunks | None:
        """Return the allowed chunks, or `None` if all are allowed.

        Args:
            query_filter: The filter of the request.
            generation: Generation of the store; cached results of earlier ones are not used.

        Raises:
            InvalidRequestError: A glob is invalid.
        """
        if query_filter.is_empty:
            return None
        with self._lock:
            cached = self._cache.get(query_filter)
            if cached is not None and cached[0] == generation:
                self._cache.move_to_end(query_filter)
                return cached[1]
        allowed = self._look_up(query_filter)
        with self._lock:
            self._cache[query_filter] = (generation, allowed)
            while len(self._cache) > MAX_CACHED_FILTERS:
                self._cache.popitem(last=False)
        return allowed

    def _look_up(self, query_filter: QueryFilter) -> AllowedChunks:
        files: dict[int, str] | None = None
        globs = compile_selection(query_filter.file_paths, "file_paths")
        with self._database.reading() as connection:
            if globs is not None:
                rows = connection.execute("SELECT file_id, path FROM files ORDER BY path")
                files = {file_id: path for file_id, path in rows if globs.match_file(path)}
            keys = _select_keys(connection, query_filter, files)
        return AllowedChunks(query_filter, keys, None if files is None else tuple(files.values()))


def _select_keys(connection: sqlite3.Connection, query_filter: QueryFilter, files: dict[int, str] | None) -> Keys:
    """Return the keys of the chunks that match all conditions of the filter."""
    conditions = {"language": query_filter.languages, "source_type": query_filter.source_types}
    chosen: dict[str, Iterable[object]] = {column: values for column, values in conditions.items() if values}
    if files is not None:
        chosen["file_id"] = files
    where = " AND ".join(f"{column} IN (SELECT value FROM json_each(?))" for column in chosen)
    rows = connection.execute(f"SELECT key FROM chunks WHERE {where}", [as_json(values) for values in chosen.values()])
    return keys_array(key for (key,) in rows)
