"""The document store: the truth about files and chunks, from which both indexes are derived."""

import contextlib
import logging
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.chunk_filter import FilterResolver
from agent_brain_server.storage.chunk_rows import (
    SELECT_CHUNKS,
    SELECT_FACTS,
    as_json,
    delete_chunks,
    fetch_rows,
    file_record_of,
    forget_damaged,
    keys_array,
    next_key,
    read_facts,
    split_sound,
    write_file,
)
from agent_brain_server.storage.database import Database
from agent_brain_server.storage.facts_cache import FactsCache
from agent_brain_server.storage.schema import ADDED_COLUMNS, SCHEMA, SCHEMA_VERSION, SKIPS_OF_WALK
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

MARK_PENDING = """
INSERT INTO files (path, size, mtime_ns, content_hash, state) VALUES (?, 0, 0, '', 'pending')
ON CONFLICT (path) DO UPDATE SET state = 'pending'
"""

DATABASE_NAME = "documents.sqlite3"


class DocumentStore:
    """Files, chunks and jobs of one project, in one SQLite file. Any thread reads; writes wait for each other.

    `on_damage` is called where a damaged chunk was met and forgotten: `take_damage` then says so once.

    Args:
        directory: Location of the database, created if it is missing.
        origin: Mark of the data directory, which the store must carry; None for no mark.

    Raises:
        StoreError: The file is unusable; `store_damaged`, `store_version` and `store_foreign` mean that it can be
            rebuilt.
    """

    def __init__(self, directory: Path, *, origin: str | None = None) -> None:
        self.database = Database(
            directory / DATABASE_NAME, schema=SCHEMA, version=SCHEMA_VERSION, added=ADDED_COLUMNS, origin=origin
        )
        self._filters = FilterResolver(self.database)
        self._facts = FactsCache()
        self._generation = 0
        self._vectors_generation = 0
        self._generation_lock = threading.Lock()
        self._was_damaged = threading.Event()
        self.on_damage: Callable[[], None] = lambda: None
        self._counts: tuple[tuple[int, int], StoreCounts] | None = None
        self.store_id = self._ensure_store_id()

    @property
    def generation(self) -> int:
        """Grows whenever files or chunks change."""
        return self._generation

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def get_meta(self, key: str) -> str | None:
        """Return a remembered value, None where there is none."""
        return self.database.get_meta(key)

    def set_meta(self, key: str, value: str | None) -> None:
        """Remember a value; None forgets it."""
        self.database.set_meta(key, value)

    # Files

    def replace_files(self, batch: Sequence[FileChunks]) -> ReplacedFiles:
        """Put files with all their chunks into the store, in one transaction; each is `pending` afterwards."""
        removed: list[int] = []
        files: list[tuple[str, tuple[StoredChunk, ...]]] = []
        with self.database.writing() as connection:
            for file in batch:
                stored, gone = write_file(connection, file)
                if file.limit is not None:
                    connection.execute("INSERT INTO skips VALUES (?, ?)", (file.record.path, file.limit))
                removed.extend(gone)
                files.append((file.record.path, tuple(stored)))
        self._note_change()
        return ReplacedFiles(keys_array(removed), tuple(files))

    def mark_indexed(self, paths: Iterable[str]) -> None:
        """Say that every chunk of these files is in the keyword index."""
        with self.database.writing() as connection:
            connection.executemany("UPDATE files SET state = 'indexed' WHERE path = ?", [(path,) for path in paths])
        self._note_change()

    def mark_pending(self, paths: Iterable[str]) -> None:
        """Record that files are to be read, new ones among them; they keep the chunks that they have."""
        with self.database.writing() as connection:
            connection.executemany(MARK_PENDING, [(path,) for path in paths])
        self._note_change()

    def remember_skipped(self, skipped: Iterable[tuple[FileRecord, str]]) -> Keys:
        """Remember files that were read and hold nothing to index, each with its reason.

        Returns:
            The keys of the chunks that they had.
        """
        removed: list[int] = []
        with self.database.writing() as connection:
            for record, reason in skipped:
                removed.extend(write_file(connection, FileChunks(record, "", "code", ()))[1])
                connection.execute("UPDATE files SET state = 'skipped' WHERE path = ?", (record.path,))
                connection.execute("INSERT OR REPLACE INTO skips VALUES (?, ?)", (record.path, reason))
        self._note_change()
        return keys_array(removed)

    def mark_all_pending(self) -> None:
        """Say that no file is in the keyword index, as after that was lost."""
        with self.database.writing() as connection:
            connection.execute("UPDATE files SET state = 'pending' WHERE state = 'indexed'")
        self._note_change()

    def remove_files(self, paths: Iterable[str]) -> Keys:
        """Forget files and their chunks; returns the keys that no longer exist."""
        listed = as_json(paths)
        of_paths = "file_id IN (SELECT file_id FROM files WHERE path IN (SELECT value FROM json_each(?)))"
        with self.database.writing() as connection:
            keys = [key for (key,) in connection.execute(f"SELECT key FROM chunks WHERE {of_paths}", (listed,))]
            delete_chunks(connection, keys)
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
                return {row[0]: file_record_of(row) for row in connection.execute(select)}
            # '0' follows '/', so that the range holds what is below the directory and nothing else
            inside = f"{select} WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0')"
            return {row[0]: file_record_of(row) for path in only for row in connection.execute(inside, (path,))}

    def pending_paths(self) -> list[str]:
        """Return the files that are not wholly in the keyword index, in order."""
        with self.database.reading() as connection:
            return [
                path for (path,) in connection.execute("SELECT path FROM files WHERE state = 'pending' ORDER BY path")
            ]

    # Chunks

    def get_chunk(self, chunk_id: str) -> Chunk | None:
        """Return the chunk with this public id, None where there is none."""
        return next((stored.chunk for stored in self._read_chunks("WHERE c.id = ?", chunk_id)), None)

    def chunks_by_keys(self, keys: Iterable[int]) -> dict[int, Chunk]:
        """Return the chunks that exist, by key."""
        found = self._read_chunks("WHERE c.key IN (SELECT value FROM json_each(?))", as_json(keys))
        return {stored.key: stored.chunk for stored in found}

    def facts_by_keys(self, keys: Collection[int]) -> dict[int, ChunkMetadata]:
        """Return what ranking needs of the chunks that exist, by key, without reading their texts."""
        known = self._facts.at(self._generation)
        wanted = set(keys)
        if missing := wanted.difference(known):
            with self.database.reading() as connection:
                known.update(read_facts(fetch_rows(connection, SELECT_FACTS, (as_json(missing),))))
            wanted -= missing.difference(known)
        return dict(zip(wanted, map(known.__getitem__, wanted), strict=True))

    def resolve_filter(self, query_filter: QueryFilter) -> AllowedChunks | None:
        """Return the chunks that a filter allows, None where it allows all.

        Raises:
            InvalidRequestError: A glob that can't be used; the message names it.
        """
        return self._filters.resolve(query_filter, self._generation)

    def counts(self) -> StoreCounts:
        """Count files and chunks; the answer is remembered until something changes."""
        generations = (self._generation, self._vectors_generation)
        if self._counts is None or self._counts[0] != generations:
            self._counts = (generations, self._count())
        return self._counts[1]

    # Vectors

    def unembedded(self, limit: int) -> list[StoredChunk]:
        """Return chunks without a vector, the newest first."""
        return self._read_chunks("WHERE c.embedded = 0 ORDER BY c.key DESC LIMIT ?", limit)

    def mark_embedded(self, keys: Iterable[int]) -> None:
        """Say that these chunks have a vector."""
        rows = [(int(key),) for key in keys]
        with self.database.writing(durable=False) as connection:
            connection.executemany("UPDATE chunks SET embedded = 1 WHERE key = ?", rows)
        self._vectors_generation += 1

    def match_embedded(self, keys: Iterable[int]) -> Keys:
        """Say that exactly these chunks have a vector; returns those of the keys that are no chunk's any more."""
        present = {int(key) for key in keys}
        with self.database.writing(durable=False) as connection:
            rows = connection.execute("SELECT key, embedded FROM chunks").fetchall()
            wrong = [(int(key in present), key) for key, embedded in rows if bool(embedded) != (key in present)]
            connection.executemany("UPDATE chunks SET embedded = ? WHERE key = ?", wrong)
        self._vectors_generation += 1
        return keys_array(present.difference(key for key, _ in rows))

    def next_key(self) -> int:
        """Return the first key that no chunk ever had."""
        with self.database.reading() as connection:
            return next_key(connection)

    def clear_embedded(self) -> None:
        """Say that no chunk has a vector, as after a change of the model."""
        self.match_embedded(())

    # The whole

    def record_skips(self, skips: Iterable[Skip], *, below: str = "", only: frozenset[str] | None = None) -> None:
        """Record what a walk left out, in place of what an earlier one did.

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
            return  # as after most walks: nothing need be written
        with self.database.writing(durable=False) as connection:
            connection.executemany("DELETE FROM skips WHERE path = ?", [(path,) for path, _ in known])
            connection.executemany("INSERT OR REPLACE INTO skips (path, reason) VALUES (?, ?)", sorted(rows))

    def skips(self) -> list[Skip]:
        """Return what the last walk left out, by path."""
        with self.database.reading() as connection:
            return [Skip(*row) for row in connection.execute("SELECT path, reason FROM skips ORDER BY path")]

    def skip_counts(self) -> dict[str, int]:
        """Return how many paths the last walk left out, by reason."""
        with self.database.reading() as connection:
            return Counter(dict(connection.execute("SELECT reason, count(*) FROM skips GROUP BY reason")))

    def clear(self) -> StoreCounts:
        """Forget files, chunks and skips; jobs and remembered values stay. Returns what was there."""
        before = self.counts()
        with self.database.writing() as connection:
            for table in ("texts", "chunks", "files", "skips"):
                connection.execute(f"DELETE FROM {table}")
        self._note_change()
        return before

    def take_damage(self) -> bool:
        """Say whether damaged chunks were forgotten since this was last asked: their files have to be read again."""
        found = self._was_damaged.is_set()
        self._was_damaged.clear()
        return found

    def _read_chunks(self, condition: str, value: object) -> list[StoredChunk]:
        """Return the chunks that a condition picks; those that are not as they were written are forgotten."""
        with self.database.reading() as connection:
            rows = fetch_rows(connection, f"{SELECT_CHUNKS} {condition}", (value,))
        sound, damaged = split_sound(rows)
        if damaged:
            logger.warning("%d chunks of %s are damaged: reading their files again", len(damaged), self.database.path)
            with contextlib.suppress(StoreError), self.database.writing() as connection:  # kept out of answers anyway
                forget_damaged(connection, damaged)
            self._note_change()
            self._was_damaged.set()
            self.on_damage()
        return sound

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
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('store_id', ?)", (uuid.uuid4().hex,))
        return self.database.get_meta("store_id") or ""
