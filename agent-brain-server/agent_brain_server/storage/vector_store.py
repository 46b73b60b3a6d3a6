"""The vectors of one project, in the engine that the settings name."""

import logging
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from agent_brain_server.errors import StoreError
from agent_brain_server.models import VectorEngineName
from agent_brain_server.storage import chroma_collections, exact_engine
from agent_brain_server.storage.chroma_engine import ChromaEngine
from agent_brain_server.storage.chunk_rows import keys_array
from agent_brain_server.storage.document_store import DocumentStore, read_store_id
from agent_brain_server.storage.exact_engine import ExactEngine
from agent_brain_server.storage_paths import DOCUMENTS_DIR, VECTORS_DIR
from agent_brain_server.support.text import pluralize
from agent_brain_server.types import AllowedChunks, ChromaServer, Hit, Keys, SyncResult, Vectors

logger = logging.getLogger(__name__)


class VectorEngine(Protocol):
    """Stores unit vectors by chunk key and finds the nearest ones.

    Searches may run in any thread; writers take turns. The document store decides which vectors should exist: an engine
    that lost or missed something is brought up to date by `sync`.
    """

    name: VectorEngineName
    previous_model: str | None
    """Model whose vectors were dropped when the engine was opened, or `None`."""

    @property
    def fault(self) -> StoreError | None:
        """Why the engine cannot answer now, or `None`."""

    def add(self, keys: Sequence[int], embed_keys: Sequence[str], vectors: Vectors) -> None:
        """Store or replace vectors; on return they are durable and searchable.

        Args:
            keys: Chunk keys.
            embed_keys: For each chunk, the key of the text that was embedded.
            vectors: Unit vectors, shape (len(keys), dimension).

        Raises:
            StoreError: The engine cannot write.
        """

    def delete(self, keys: Keys) -> None:
        """Delete the vectors of chunks; unknown keys are ignored.

        An engine that cannot write now deletes them with the next `sync`.
        """

    def search(self, vector: Vectors, limit: int, allowed: AllowedChunks | None) -> list[Hit]:
        """Return the chunks nearest to a unit vector by cosine similarity, best first.

        Args:
            vector: Shape (dimension,).
            limit: Maximum number of hits, at least 1.
            allowed: Restricts the result before it is cut to `limit`; `None` allows all chunks.

        Raises:
            StoreError: The engine cannot answer.
        """

    def count(self) -> int:
        """Return the number of vectors; the last known number while the engine cannot answer."""

    def sync(self, expected: Keys) -> SyncResult:
        """Delete the vectors of all other chunks, and report which expected ones are missing.

        While the engine cannot answer, nothing is reported as missing; `maintain` requests another sync later.

        Args:
            expected: Keys of the chunks that have a vector according to the document store, ascending.
        """

    def cached_vectors(self, embed_keys: Iterable[str]) -> dict[str, Vectors]:
        """Return vectors of texts embedded earlier, by embed key; an engine may keep none."""

    def maintain(self) -> bool:
        """Do a short piece of background work; return whether `sync` has to be called."""

    def find_fault(self) -> str | None:
        """Return which file was removed since the engine was opened, or `None`; costs a `stat` each."""

    def clear(self) -> None:
        """Delete all vectors, including cached ones."""

    def close(self) -> None:
        """Release files and connections. Safe to call twice."""


class VectorStoreManager:
    """Vectors by chunk key, in one engine. Searches may run in any thread; writers take turns.

    The files of the other engine are removed. When `chroma` replaces `exact`, they are kept until every chunk has its
    vector, so that texts that were embedded before need not be embedded again. `repairs` describes what was lost and
    restored while the store was open.

    Args:
        persist_dir: Directory of the vectors; created if it is missing.
        dimension: Length of a vector.
        model_name: Name of the embedding model; vectors of another model are deleted.
        store_id: Identifies the document store of the keys.
        engine: Which engine stores the vectors.
        chroma_server: Server for the engine `chroma`; `None` embeds Chroma.

    Raises:
        StoreError: The directory cannot be read or written.
    """

    def __init__(
        self,
        persist_dir: Path,
        *,
        dimension: int,
        model_name: str,
        store_id: str,
        engine: VectorEngineName = "exact",
        chroma_server: ChromaServer | None = None,
    ) -> None:
        self._persist_dir = persist_dir
        self._lock = threading.RLock()
        self._replaced: ExactEngine | None = None
        self.repairs: list[str] = []
        self._engine: VectorEngine
        if engine == "exact":
            self._engine = ExactEngine(persist_dir, dimension=dimension, model=model_name, store_id=store_id)
        else:
            if exact_engine.has_files(persist_dir):
                self._replaced = ExactEngine(persist_dir, dimension=dimension, model=model_name, store_id=store_id)
            self._engine = ChromaEngine(
                persist_dir, dimension=dimension, model=model_name, store_id=store_id, server=chroma_server
            )
        if engine == "exact" or chroma_server is not None:
            chroma_collections.remove_files(persist_dir)

    @property
    def engine(self) -> VectorEngineName:
        """Name of the engine."""
        return self._engine.name

    @property
    def fault(self) -> StoreError | None:
        """Why the engine cannot answer now, or `None`."""
        return self._engine.fault

    @property
    def previous_model(self) -> str | None:
        """Name of the model whose vectors were deleted on opening, because another one is set now, or `None`."""
        return self._engine.previous_model

    def find_fault(self) -> str | None:
        """Return which file was removed since the store was opened, or `None`; costs a `stat` each."""
        return self._engine.find_fault()

    def add(self, keys: Sequence[int], embed_keys: Sequence[str], vectors: Vectors) -> None:
        """Store vectors of chunks; see `VectorEngine.add`."""
        with self._lock:
            self._engine.add(keys, embed_keys, vectors)

    def delete(self, keys: Iterable[int]) -> None:
        """Delete the vectors of chunks; unknown keys are ignored."""
        deleted = keys_array(keys)
        if len(deleted):
            with self._lock:
                self._engine.delete(deleted)

    def search(self, vector: Vectors, limit: int, allowed: AllowedChunks | None = None) -> list[Hit]:
        """Return the chunks nearest to a unit vector by cosine similarity, best first.

        Args:
            vector: Shape (dimension,).
            limit: Maximum number of hits.
            allowed: Restricts the result before it is cut to `limit`; `None` allows all chunks.

        Raises:
            StoreError: The engine cannot answer.
        """
        return self._engine.search(vector, limit, allowed) if limit > 0 else []

    def count(self) -> int:
        """Return the number of chunks that have a vector."""
        return self._engine.count()

    def sync(self, documents: DocumentStore) -> SyncResult:
        """Make the engine and the document store agree on which chunks have a vector.

        Vectors of no chunk are deleted, and chunks without a vector are marked, so that they are embedded.
        """
        with self._lock:
            result = self._engine.sync(documents.embedded_keys())
            documents.mark_unembedded(result.missing)
        return result

    def cached_vectors(self, embed_keys: Sequence[str]) -> dict[str, Vectors]:
        """Return the vectors of texts that were embedded before, by embed key; each has shape (dimension,)."""
        with self._lock:
            replaced = {} if self._replaced is None else self._replaced.cached_vectors(embed_keys)
            return replaced | self._engine.cached_vectors(embed_keys)

    def maintain(self, documents: DocumentStore) -> bool:
        """Do a short piece of background work, and sync if the engine requires it; return whether it did."""
        if self._replaced is not None and self._is_complete(documents):
            with self._lock:
                self._remove_replaced()
        if not self._engine.maintain():
            return False
        missing = len(self.sync(documents).missing)
        if missing:
            self.repairs.append(f"{pluralize(missing, 'vector')} damaged or lost: embedding again")
            logger.warning("%s", self.repairs[-1])
        return True

    def clear(self) -> None:
        """Delete all vectors, including those of cached texts."""
        with self._lock:
            self._remove_replaced()
            self._engine.clear()

    def close(self) -> None:
        """Release files and connections. Safe to call twice."""
        with self._lock:
            self._engine.close()
            if self._replaced is not None:
                self._replaced.close()

    def _is_complete(self, documents: DocumentStore) -> bool:
        counts = documents.counts()
        return self._engine.fault is None and counts.embedded == counts.chunks > 0

    def _remove_replaced(self) -> None:
        if self._replaced is not None:
            self._replaced.close()
            self._replaced = None
            exact_engine.remove_files(self._persist_dir)


def purge_remote_vectors(data: Path, server: ChromaServer) -> bool:
    """Delete the vectors of an index from a Chroma server; return whether there were any.

    Args:
        data: Data directory of the index, which no server has open.
        server: The Chroma server.

    Raises:
        StoreError: The server does not answer, or refuses; the hint names the collection.
    """
    store_id = read_store_id(data / DOCUMENTS_DIR)
    if store_id is None:
        return False
    name = chroma_collections.name_collection(store_id, data / VECTORS_DIR)
    try:
        return chroma_collections.delete_collection(name, server)
    except StoreError as exc:
        raise StoreError(exc.message, code=exc.code, hint=f"Delete this collection there: {name}") from exc
