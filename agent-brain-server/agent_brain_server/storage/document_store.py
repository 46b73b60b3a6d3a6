"""The document store (SQLite): the truth about files and chunks, from which both indexes are derived.

Texts are in a separate table, so that filters and ranking do not read them. Keys are never reused (`AUTOINCREMENT`): an
index that still holds a removed chunk cannot confuse it with another one. The checksum covers everything that a result
says about a chunk, because SQLite does not notice a byte that changes in the middle of a row.
"""

import contextlib
import logging
import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.chunk_rows import (
    SELECT_CHUNKS,
    SELECT_METADATA,
    FilterResolver,
    MetadataCache,
    as_json,
    delete_chunks,
    delete_damaged,
    fetch_rows,
    keys_array,
    next_key,
    read_metadata,
    split_damaged,
    write_file,
)
from agent_brain_server.storage.database import Database, open_inspected
from agent_brain_server.storage.fact_rows import (
    FACT_TABLES,
    FACTS_SCHEMA,
    delete_facts,
    fold,
    purge_facts,
    write_facts,
)
from agent_brain_server.storage.symbol_index import SymbolIndex
from agent_brain_server.types import (
    AllowedChunks,
    Chunk,
    ChunkMetadata,
    FileChunks,
    FileRecord,
    Keys,
    QueryFilter,
    ReplacedFiles,
    Skip,
    StoreCounts,
    StoredChunk,
    is_in,
)

logger = logging.getLogger(__name__)

DATABASE_NAME = "documents.sqlite3"

SCHEMA_VERSION = 3

SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE files (
    file_id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'indexed', 'skipped'))
);
CREATE INDEX files_pending ON files (path) WHERE state = 'pending';

CREATE TABLE chunks (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    file_id INTEGER NOT NULL REFERENCES files (file_id),
    start_line INTEGER NOT NULL,
    end_line INTEGER NOT NULL,
    language TEXT NOT NULL,
    source_type TEXT NOT NULL,
    symbols TEXT NOT NULL,
    heading TEXT,
    embedded INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX chunks_of_file ON chunks (file_id);
CREATE INDEX chunks_of_kind ON chunks (language, source_type, file_id);
CREATE INDEX chunks_unembedded ON chunks (key) WHERE embedded = 0;

CREATE TABLE texts (
    key INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    context TEXT NOT NULL,
    part INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    checksum INTEGER NOT NULL
);

{FACTS_SCHEMA}
CREATE TABLE skips (path TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE jobs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    folder_path TEXT NOT NULL,
    request TEXT NOT NULL,
    progress TEXT NOT NULL,
    error TEXT,
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT
);
CREATE INDEX jobs_by_state ON jobs (state, sequence);
"""

ADDED_COLUMNS = ("correlation_id TEXT", "end_order INTEGER")
"""Columns added to `jobs` if they are missing; older versions ignore them. `end_order` counts the jobs
that ended: times depend on a clock, and a clock can be set back."""

SKIPS_OF_WALK = """
FROM skips WHERE (:below IN ('', path) OR substr(path, 1, length(:below) + 1) = :below || '/')
    AND NOT EXISTS (SELECT 1 FROM files WHERE files.path = skips.path AND files.state = 'skipped')
    AND reason NOT IN ('cpu_limit', 'memory_limit', 'parser_crashed')
"""
"""SQL for the skips of a walk below a folder, without files skipped after reading them or split by lines only."""

ROOT_META = "project_root"
"""Key in `meta`: the root that the documents were read from."""

LAST_INDEXED_META = "last_indexed_at"
"""Key in `meta`: when the tree was last compared completely, ISO 8601 with zone."""

LIMITED_CONTENTS_META = "limited_contents"
"""Key in `meta`: hashes of contents that took too much CPU or memory to parse, as JSON."""

ROOTS_META = "scopes"
"""Key in `meta`: the requests whose folders are kept up to date, as JSON."""

STORE_ID_META = "store_id"
"""Key in `meta`: random text that identifies the store to the indexes derived from it."""

INVALIDATE_FILES = """
UPDATE files SET state = 'pending', size = -1 WHERE file_id IN (SELECT value FROM json_each(?))
"""

MARK_PENDING = """
INSERT INTO files (path, size, mtime_ns, content_hash, state) VALUES (?, 0, 0, '', 'pending')
ON CONFLICT (path) DO UPDATE SET state = 'pending'
"""


class DocumentStore:
    """Files, chunks and jobs of one project, in one SQLite file. Any thread may read; writers take turns.

    `on_damage` is called after a damaged chunk was found and deleted; `take_damage` then returns `True` once.

    Args:
        directory: Directory of the database, created if it is missing.
        origin: Mark of the data directory, which the store must have; `None` for no mark.

    Raises:
        StoreError: The file is unusable; the codes in `REBUILDABLE_CODES` mean that it can be built again.
    """

    def __init__(self, directory: Path, *, origin: str | None = None) -> None:
        self.database = Database(
            directory / DATABASE_NAME, schema=SCHEMA, version=SCHEMA_VERSION, added=ADDED_COLUMNS, origin=origin
        )
        self.symbols = SymbolIndex(self.database, self._repair_facts)
        self._filters = FilterResolver(self.database)
        self._metadata = MetadataCache()
        self._generation = 0
        self._vectors_generation = 0
        self._generation_lock = threading.Lock()
        self._was_damaged = threading.Event()
        self.on_damage: Callable[[], None] = lambda: None
        self._counts: tuple[tuple[int, int], StoreCounts] | None = None
        self.store_id = self._ensure_store_id()

    @property
    def generation(self) -> int:
        """Number that grows with every change of files and chunks."""
        return self._generation

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def get_meta(self, key: str) -> str | None:
        """Return a stored value, or `None` if it is not set."""
        return self.database.get_meta(key)

    def set_meta(self, key: str, value: str | None) -> None:
        """Store a value; `None` deletes it."""
        self.database.set_meta(key, value)

    # Files

    def replace_files(self, batch: Sequence[FileChunks]) -> ReplacedFiles:
        """Write files with all their chunks in one transaction; their state is `pending` afterwards."""
        removed: list[int] = []
        files: list[tuple[str, tuple[StoredChunk, ...]]] = []
        facts: list[tuple[int, FileChunks]] = []
        with self.database.writing() as connection:
            for file in batch:
                file_id, stored, gone = write_file(connection, file)
                facts.append((file_id, file))
                if file.limit is not None:
                    connection.execute("INSERT INTO skips VALUES (?, ?)", (file.record.path, file.limit))
                removed.extend(gone)
                files.append((file.record.path, tuple(stored)))
            write_facts(connection, facts)
        self.symbols.names.add(fold(each.name) for file in batch for each in file.facts.definitions)
        self._note_change()
        return ReplacedFiles(keys_array(removed), tuple(files))

    def mark_indexed(self, paths: Iterable[str]) -> None:
        """Record that all chunks of these files are in the keyword index."""
        with self.database.writing() as connection:
            connection.executemany("UPDATE files SET state = 'indexed' WHERE path = ?", [(path,) for path in paths])
        self._note_change()

    def mark_pending(self, paths: Iterable[str]) -> None:
        """Record that files, known or new, have to be read; they keep their chunks."""
        with self.database.writing() as connection:
            connection.executemany(MARK_PENDING, [(path,) for path in paths])
        self._note_change()

    def remember_skipped(self, skipped: Iterable[tuple[FileRecord, str]]) -> Keys:
        """Record files that were read and have nothing to index, each with the reason.

        Returns:
            The keys of the chunks that they had.
        """
        removed: list[int] = []
        with self.database.writing() as connection:
            for record, reason in skipped:
                file_id, _, gone = write_file(connection, FileChunks(record, "", "code", ()))
                delete_facts(connection, [file_id])
                removed.extend(gone)
                connection.execute("UPDATE files SET state = 'skipped' WHERE path = ?", (record.path,))
                connection.execute("INSERT OR REPLACE INTO skips VALUES (?, ?)", (record.path, reason))
        self._note_change()
        return keys_array(removed)

    def mark_all_pending(self) -> None:
        """Record that no file is in the keyword index."""
        with self.database.writing() as connection:
            connection.execute("UPDATE files SET state = 'pending' WHERE state = 'indexed'")
        self._note_change()

    def remove_files(self, paths: Iterable[str]) -> Keys:
        """Delete files and their chunks; return the keys of the deleted chunks."""
        listed = as_json(paths)
        of_paths = "file_id IN (SELECT file_id FROM files WHERE path IN (SELECT value FROM json_each(?)))"
        with self.database.writing() as connection:
            keys = [key for (key,) in connection.execute(f"SELECT key FROM chunks WHERE {of_paths}", (listed,))]
            delete_chunks(connection, keys)
            found = connection.execute(
                "SELECT file_id FROM files WHERE path IN (SELECT value FROM json_each(?))", (listed,)
            )
            delete_facts(connection, [file_id for (file_id,) in found.fetchall()])
            for table in ("files", "skips"):
                connection.execute(f"DELETE FROM {table} WHERE path IN (SELECT value FROM json_each(?))", (listed,))
        self._note_change()
        return keys_array(keys)

    def file_records(self, only: Collection[str] | None = None) -> dict[str, FileRecord]:
        """Return the recorded files by path.

        Args:
            only: Return these files, and those inside these directories; `None`: all.
        """
        select = "SELECT path, size, mtime_ns, content_hash, state FROM files"
        with self.database.reading() as connection:
            if only is None:
                return {row[0]: FileRecord(*row) for row in connection.execute(select)}
            # '0' follows '/', so the range holds everything below the directory and nothing else
            inside = f"{select} WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0')"
            return {row[0]: FileRecord(*row) for path in only for row in connection.execute(inside, (path,))}

    def pending_paths(self) -> list[str]:
        """Return the files that are not completely in the keyword index, ordered by path."""
        query = "SELECT path FROM files WHERE state = 'pending' ORDER BY path"
        with self.database.reading() as connection:
            return [path for (path,) in connection.execute(query)]

    # Chunks

    def get_chunk(self, chunk_id: str) -> Chunk | None:
        """Return the chunk with this public id, or `None`."""
        return next((stored.chunk for stored in self._read_chunks("WHERE c.id = ?", chunk_id)), None)

    def chunks_by_keys(self, keys: Iterable[int]) -> dict[int, Chunk]:
        """Return the chunks that exist, by key."""
        found = self._read_chunks("WHERE c.key IN (SELECT value FROM json_each(?))", as_json(keys))
        return {stored.key: stored.chunk for stored in found}

    def has_lines(self, path: str, first: int, last: int) -> bool:
        """Return whether a chunk of a file has lines in a range, 1-based and inclusive; lines in no chunk are blank."""
        overlaps = "f.path = ? AND c.start_line <= ? AND c.end_line >= ?"
        query = f"SELECT 1 FROM chunks c JOIN files f USING (file_id) WHERE {overlaps} LIMIT 1"
        with self.database.reading() as connection:
            return connection.execute(query, (path, last, first)).fetchone() is not None

    def chunks_at(self, places: Iterable[tuple[str, int]]) -> list[Chunk]:
        """Return the chunks with these lines, in the order of the places, each once; damaged ones are left out.

        Args:
            places: Path and line, 1-based.
        """
        query = (
            "SELECT c.key FROM chunks c JOIN files f USING (file_id) "
            "WHERE f.path = ? AND ? BETWEEN c.start_line AND c.end_line ORDER BY c.end_line - c.start_line LIMIT 1"
        )
        with self.database.reading() as connection:
            rows = [connection.execute(query, place).fetchone() for place in places]
        keys = list(dict.fromkeys(row[0] for row in rows if row is not None))
        found = self.chunks_by_keys(keys)
        return [found[key] for key in keys if key in found]

    def metadata_by_keys(self, keys: Collection[int]) -> dict[int, ChunkMetadata]:
        """Return the metadata that ranking needs of the chunks that exist, by key; no text is read."""
        known = self._metadata.at(self._generation)
        wanted = set(keys)
        if missing := wanted.difference(known):
            with self.database.reading() as connection:
                known.update(read_metadata(fetch_rows(connection, SELECT_METADATA, (as_json(missing),))))
            wanted -= missing.difference(known)
        return dict(zip(wanted, map(known.__getitem__, wanted), strict=True))

    def resolve_filter(self, query_filter: QueryFilter) -> AllowedChunks | None:
        """Return the chunks that a filter allows, or `None` if it allows all.

        Raises:
            InvalidRequestError: A glob is invalid; the message names it.
        """
        return self._filters.resolve(query_filter, self._generation)

    def counts(self) -> StoreCounts:
        """Count files and chunks; the result is cached until something changes."""
        generations = (self._generation, self._vectors_generation)
        if self._counts is None or self._counts[0] != generations:
            self._counts = (generations, self._count())
        return self._counts[1]

    # Vectors

    def unembedded(self, limit: int) -> list[StoredChunk]:
        """Return chunks without a vector, newest first."""
        return self._read_chunks("WHERE c.embedded = 0 ORDER BY c.key DESC LIMIT ?", limit)

    def embedded_keys(self) -> Keys:
        """Return the keys of the chunks that have a vector."""
        with self.database.reading() as connection:
            return keys_array(key for (key,) in connection.execute("SELECT key FROM chunks WHERE embedded != 0"))

    def mark_embedded(self, keys: Iterable[int]) -> None:
        """Record that these chunks have a vector."""
        self._set_embedded(keys, 1)

    def mark_unembedded(self, keys: Iterable[int]) -> None:
        """Record that these chunks have no vector any more."""
        self._set_embedded(keys, 0)

    def next_key(self) -> int:
        """Return the smallest key that no chunk ever had."""
        with self.database.reading() as connection:
            return next_key(connection)

    # The whole

    def record_skips(self, skips: Iterable[Skip], *, below: str = "", only: frozenset[str] | None = None) -> None:
        """Replace the record of what an earlier walk left out.

        The records of files that were left out after reading them do not change.

        Args:
            skips: What was left out.
            below: The folder that was walked, relative to the root; "" for all of it.
            only: The files and directories that the walk was restricted to; `None` if it was not.
        """
        rows = {(skip.path, skip.reason) for skip in skips}
        with self.database.reading() as connection:
            found = connection.execute(f"SELECT path, reason {SKIPS_OF_WALK}", {"below": below}).fetchall()
        known = {row for row in found if only is None or is_in(row[0], only)}
        if known == rows:
            return  # the usual case, without a write
        with self.database.writing(durable=False) as connection:
            connection.executemany("DELETE FROM skips WHERE path = ?", [(path,) for path, _ in known])
            connection.executemany("INSERT OR REPLACE INTO skips (path, reason) VALUES (?, ?)", sorted(rows))

    def skips(self) -> list[Skip]:
        """Return what the last walk left out, ordered by path."""
        with self.database.reading() as connection:
            return [Skip(*row) for row in connection.execute("SELECT path, reason FROM skips ORDER BY path")]

    def find_skip(self, path: str) -> str | None:
        """Return why the last walk left out a path, or `None` if it did not."""
        with self.database.reading() as connection:
            row = connection.execute("SELECT reason FROM skips WHERE path = ?", (path,)).fetchone()
            return None if row is None else str(row[0])

    def skip_counts(self) -> dict[str, int]:
        """Return how many paths the last walk left out, by reason."""
        with self.database.reading() as connection:
            return Counter(dict(connection.execute("SELECT reason, count(*) FROM skips GROUP BY reason")))

    def clear(self) -> StoreCounts:
        """Delete files, chunks and skips, but not jobs and `meta`; return the counts before."""
        before = self.counts()
        with self.database.writing() as connection:
            for table in ("texts", "chunks", *FACT_TABLES, "files", "skips"):
                connection.execute(f"DELETE FROM {table}")
        self.symbols.names.clear()
        self._note_change()
        return before

    def take_damage(self) -> bool:
        """Return whether damaged chunks were deleted since the last call, so that their files have to be read again."""
        found = self._was_damaged.is_set()
        self._was_damaged.clear()
        return found

    def _read_chunks(self, condition: str, value: object) -> list[StoredChunk]:
        """Return the chunks that a condition selects; damaged ones are deleted and left out."""
        with self.database.reading() as connection:
            rows = fetch_rows(connection, f"{SELECT_CHUNKS} {condition}", (value,))
        valid, damaged = split_damaged(rows)
        if damaged:
            logger.warning("%d chunks of %s are damaged: reading their files again", len(damaged), self.database.path)
            with contextlib.suppress(StoreError), self.database.writing() as connection:  # left out of results anyway
                delete_damaged(connection, damaged)
            self._note_damage()
        return valid

    def _repair_facts(self, file_ids: Collection[int]) -> None:
        """Delete the facts of files with damaged rows, and have the files read again."""
        with contextlib.suppress(StoreError), self.database.writing() as connection:  # left out of answers anyway
            purge_facts(connection, file_ids)
            connection.execute(INVALIDATE_FILES, (as_json(file_ids),))
        self._note_damage()

    def _note_damage(self) -> None:
        self._note_change()
        self._was_damaged.set()
        self.on_damage()

    def _set_embedded(self, keys: Iterable[int], value: int) -> None:
        rows = [(value, int(key)) for key in keys]
        if rows:
            with self.database.writing(durable=False) as connection:
                connection.executemany("UPDATE chunks SET embedded = ? WHERE key = ?", rows)
            self._vectors_generation += 1

    def _count(self) -> StoreCounts:
        with self.database.reading() as connection:
            row = connection.execute(
                """SELECT (SELECT count(*) FROM files WHERE state != 'skipped'),
                          (SELECT count(*) FROM files WHERE state = 'pending'),
                          (SELECT count(*) FROM chunks), (SELECT count(*) FROM chunks WHERE embedded = 0)"""
            ).fetchone()
        files, pending, chunks, unembedded = row
        return StoreCounts(files, pending, chunks, chunks - unembedded)

    def _note_change(self) -> None:
        with self._generation_lock:
            self._generation += 1

    def _ensure_store_id(self) -> str:
        with self.database.writing() as connection:
            connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (STORE_ID_META, uuid.uuid4().hex))
        return self.database.get_meta(STORE_ID_META) or ""


def read_store_id(directory: Path) -> str | None:
    """Return the id of a document store that is not open, or `None` if it cannot be read.

    Args:
        directory: Directory of the database.
    """
    if directory.is_symlink():
        return None
    try:
        with open_inspected(directory / DATABASE_NAME, schema=SCHEMA, added=ADDED_COLUMNS) as connection:
            row = connection and connection.execute("SELECT value FROM meta WHERE key = ?", (STORE_ID_META,)).fetchone()
            return str(row[0]) if row else None
    except sqlite3.Error:
        return None
