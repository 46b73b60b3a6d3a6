"""The engine that stores vectors in Chroma, embedded or on a server."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from agent_brain_server.errors import StateDirError, StoreError
from agent_brain_server.models import VectorEngineName
from agent_brain_server.storage.chroma_collections import (
    DATABASE_NAME,
    ChromaCollection,
    HttpCollection,
    measure_files,
    name_collection,
    open_embedded,
)
from agent_brain_server.support.state_files import read_file, replace_file
from agent_brain_server.types import AllowedChunks, ChromaServer, Hit, Keys, SyncResult, Vectors

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_S = 15.0
"""Pause after a failure before Chroma is tried again, and interval of checks that a server still answers."""

MARKER_NAME = "closed"
"""File with the sizes of Chroma's files, written when the engine is closed properly and removed when it is opened."""

MAX_MARKER_BYTES = 200

OVERFETCH = 1.5
MAX_OVERFETCHED = 300
"""Results requested to apply a filter afterwards; Chroma Cloud rejects more unless agreed on."""

NO_KEYS: Keys = np.empty(0, dtype=np.int64)


class ChromaEngine:
    """Vectors in one Chroma collection of this document store.

    A failure is remembered in `fault`: for `RETRY_S` all calls fail at once, then `maintain` opens Chroma again and
    requests a sync. Embedded files that were not closed properly, or have another size than when they were closed, are
    tried in a subprocess first, as Chroma's native code may crash on damaged files. Files that fail are replaced by an
    empty collection.

    Args:
        directory: Holds the embedded files.
        dimension: Length of a vector.
        model: Identifies the embedding model; vectors of another model are deleted.
        store_id: Identifies the document store of the keys; vectors of another store are deleted.
        server: Stores the collection; `None` embeds Chroma.

    Raises:
        StoreError: The embedded files cannot be created.
    """

    name: VectorEngineName = "chroma"

    def __init__(
        self, directory: Path, *, dimension: int, model: str, store_id: str, server: ChromaServer | None = None
    ) -> None:
        self._directory = directory
        self._server = server
        self._store_id = store_id
        self._metadata = {"model": f"{model}/{dimension}", "store_id": store_id}
        self._marker = directory / MARKER_NAME
        self._lock = threading.RLock()
        self._collection: ChromaCollection | None = None
        self._needs_sync = False
        self._known_count = 0
        self._retry_at = 0.0
        self.fault: StoreError | None = None
        self.previous_model: str | None = None
        try:
            self._open()
        except StoreError as exc:
            if server is None:
                raise
            self._note_fault(exc)

    def find_fault(self) -> str | None:
        """Return that the embedded files were removed, or `None`."""
        if self._server is not None or self._collection is None or self.fault is not None:
            return None
        database = Path(self._collection.location) / DATABASE_NAME
        return None if database.is_file() else f"{database} was removed"

    def cached_vectors(self, embed_keys: Iterable[str]) -> dict[str, Vectors]:
        """Return nothing: vectors are stored by chunk only."""
        return {}

    def add(self, keys: Sequence[int], embed_keys: Sequence[str], vectors: Vectors) -> None:
        """Store vectors in small batches: an embedded write blocks all other threads while it lasts."""

        def write(collection: ChromaCollection) -> None:
            for first in range(0, len(keys), collection.batch_size):
                batch = slice(first, first + collection.batch_size)
                collection.upsert([int(key) for key in keys[batch]], vectors[batch])
            self._known_count = collection.count()

        with self._lock:
            self._call(write)

    def delete(self, keys: Keys) -> None:
        """Delete vectors, or leave them to the next sync if Chroma fails."""
        with self._lock:
            try:
                self._call(lambda collection: _delete_all(collection, keys))
            except StoreError:
                self._needs_sync = True

    def search(self, vector: Vectors, limit: int, allowed: AllowedChunks | None) -> list[Hit]:
        """Return the nearest chunks, best first; approximate (HNSW)."""
        hits = self._call(lambda collection: _search(collection, vector, limit, allowed, self._known_count))
        return sorted(hits, key=lambda hit: (-hit.score, hit.key))

    def count(self) -> int:
        """Return the number of vectors, or the last known number if Chroma fails."""
        with contextlib.suppress(StoreError):
            self._known_count = self._call(lambda collection: collection.count())
        return self._known_count

    def sync(self, expected: Keys) -> SyncResult:
        """Compare the collection with the expected keys if their numbers differ or changes were missed."""
        with self._lock:
            try:
                return self._call(lambda collection: self._sync(collection, expected))
            except StoreError:
                self._needs_sync = True
                return SyncResult(NO_KEYS, NO_KEYS)

    def maintain(self) -> bool:
        """Check a server, or open Chroma again after a failure; return whether `sync` has to be called."""
        with self._lock:
            if time.monotonic() >= self._retry_at:
                self._retry_at = time.monotonic() + RETRY_S
                with contextlib.suppress(StoreError):
                    if self.fault is not None:
                        self._reopen()
                    elif self._server is not None:
                        self._call(lambda collection: collection.check())
            return self._needs_sync and self.fault is None

    def clear(self) -> None:
        """Delete all vectors, or leave that to the next sync if Chroma fails."""
        with self._lock:
            try:
                self._call(lambda collection: collection.clear())
            except StoreError:
                self._needs_sync = True
            self._known_count = 0

    def close(self) -> None:
        """Close Chroma. Safe to call twice."""
        with self._lock:
            if self._collection is None:
                return
            self._close_collection()
            if self.fault is None and not self._needs_sync:
                with contextlib.suppress(OSError, StateDirError):
                    replace_file(self._marker, measure_files(self._directory), durable=False)

    def _open(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            was_closed = self._take_marker() == measure_files(self._directory)
        except (OSError, StateDirError) as exc:
            raise StoreError(f"Cannot write {self._directory}: {exc}.") from exc
        if self._server is None:
            self._collection = open_embedded(self._directory, self._metadata, is_trusted=was_closed)
        else:
            self._collection = HttpCollection(
                self._server, name_collection(self._store_id, self._directory), self._metadata
            )
        self.previous_model = self._collection.previous_model
        self._needs_sync |= not was_closed

    def _take_marker(self) -> bytes | None:
        try:
            content = read_file(self._marker, MAX_MARKER_BYTES)
        except FileNotFoundError:
            return b"0 0" if self._server is None else None  # a new directory, without embedded files
        self._marker.unlink()
        return content

    def _reopen(self) -> None:
        self._close_collection()
        try:
            self._open()
        except StoreError as exc:
            self._note_fault(exc)
            raise
        logger.info("Chroma answers again at %s", self._collection and self._collection.location)
        self.fault = None
        self._needs_sync = True

    def _close_collection(self) -> None:
        collection, self._collection = self._collection, None
        if collection is not None:
            with contextlib.suppress(StoreError):
                collection.close()

    def _sync(self, collection: ChromaCollection, expected: Keys) -> SyncResult:
        self._known_count = collection.count()
        if self._known_count == len(expected) and not self._needs_sync:
            return SyncResult(NO_KEYS, NO_KEYS)
        present = collection.keys()
        orphans = np.setdiff1d(present, expected, assume_unique=True)
        _delete_all(collection, orphans)
        self._known_count = len(present) - len(orphans)
        self._needs_sync = False
        return SyncResult(np.setdiff1d(expected, present, assume_unique=True), orphans)

    def _call(self, operation: Callable[[ChromaCollection], T]) -> T:
        """Run an operation, and remember its failure.

        Raises:
            StoreError: It failed, or an earlier one did a moment ago.
        """
        fault, collection = self.fault, self._collection
        if fault is not None or collection is None:
            fault = fault or StoreError("The vectors are closed.")
            raise StoreError(fault.message, code=fault.code, hint=fault.hint)
        try:
            return operation(collection)
        except StoreError as exc:
            self._note_fault(exc)
            raise

    def _note_fault(self, error: StoreError) -> None:
        self._retry_at = time.monotonic() + RETRY_S
        if self.fault is None:
            logger.warning("Chroma fails; queries are answered by keywords alone", exc_info=error)
        self.fault = error


def _delete_all(collection: ChromaCollection, keys: Keys) -> None:
    for first in range(0, len(keys), collection.batch_size):
        collection.delete(keys[first : first + collection.batch_size].tolist())


def _search(
    collection: ChromaCollection, vector: Vectors, limit: int, allowed: AllowedChunks | None, total: int
) -> list[Hit]:
    """Query a collection; a filter that allows most chunks is applied to a larger result, a narrow one by Chroma."""
    if allowed is None:
        return collection.query(vector, limit, None)
    if not len(allowed.keys):
        return []
    wanted = math.ceil(limit * OVERFETCH * max(1.0, total / len(allowed.keys)))
    if wanted <= MAX_OVERFETCHED:
        found = collection.query(vector, wanted, None)
        is_allowed = np.isin([hit.key for hit in found], allowed.keys)
        hits = [hit for hit, is_kept in zip(found, is_allowed, strict=True) if is_kept][:limit]
        if len(hits) == limit:
            return hits
    keys = allowed.keys.tolist()
    try:
        return collection.query(vector, limit, keys)
    except StoreError:  # Chroma rejects unknown ids: chunks that are not embedded yet, or were deleted meanwhile
        known = collection.find_keys(keys)
        return collection.query(vector, limit, known) if known else []
