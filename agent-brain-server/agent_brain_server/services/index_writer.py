"""Writes to the three stores, in the order that makes a kill at any instant harmless.

New content: documents first (the files become `pending`), then the keyword index, then the files are marked `indexed`.
A kill in between leaves them `pending`, and the next job reads them again. Removal goes the other way round, also that
of a file which holds nothing to index any more: what is still in the documents is found and removed again. Vectors may
lag behind either way, since a vector whose chunk is gone is dropped.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from agent_brain_server.errors import StoreError
from agent_brain_server.indexing.bm25_index import BM25IndexManager
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.vector_store import VectorStoreManager
from agent_brain_server.types import FileChunks, FileRecord

COMMIT_INTERVAL_S = 1.0
"""A commit of the keyword index waits 0.1 s for the disk: once a second keeps the first answers early, the cost low."""


class IndexWriter:
    """Puts files into the stores and takes them out. For one thread at a time.

    Args:
        documents: The truth.
        bm25: The keyword index.
        vectors: The vector index.
    """

    def __init__(self, documents: DocumentStore, bm25: BM25IndexManager, vectors: VectorStoreManager) -> None:
        self._documents = documents
        self._bm25 = bm25
        self._vectors = vectors
        self._uncommitted: list[str] = []
        self._skipped: list[tuple[FileRecord, str]] = []
        self._committed_at = time.monotonic()

    def write(self, files: Sequence[FileChunks], skipped: Sequence[tuple[FileRecord, str]]) -> int:
        """Store files with their chunks, and remember which ones hold nothing, with the reason.

        Returns:
            How many chunks the files have.
        """
        replaced = self._documents.replace_files(files)
        with self._changing_keywords():
            self._bm25.index_files(replaced.files)
        self._uncommitted.extend(path for path, _ in replaced.files)
        self._vectors.delete(replaced.removed)
        with self._changing_keywords():
            self._bm25.delete_paths(record.path for record, _ in skipped)
        self._skipped.extend(skipped)
        if time.monotonic() - self._committed_at >= COMMIT_INTERVAL_S:
            self.commit()
        return sum(len(chunks) for _, chunks in replaced.files)

    def commit(self) -> None:
        """Make what was written answerable by keyword; only then do the documents forget what is no longer."""
        with self._changing_keywords():
            self._bm25.commit()
        if self._uncommitted:
            self._documents.mark_indexed(self._uncommitted)
            self._uncommitted.clear()
        if self._skipped:
            self._vectors.delete(self._documents.remember_skipped(self._skipped))
            self._skipped.clear()
        self._committed_at = time.monotonic()

    def release(self) -> None:
        """Give back what only writing needs, between two runs of work: some 15 MB and a few threads."""
        self._bm25.release_writer()

    def remove(self, paths: Sequence[str]) -> None:
        """Take files out of every store."""
        if not paths:
            return
        with self._changing_keywords():
            self._bm25.delete_paths(paths)
            self._bm25.commit()
        self._vectors.delete(self._documents.remove_files(paths))

    def clear(self) -> None:
        """Take everything out of every store: the documents first, since what is left of the others is dropped then."""
        self._forget_uncommitted()
        self._documents.clear()
        self._bm25.clear()
        self._vectors.clear()

    @contextmanager
    def _changing_keywords(self) -> Iterator[None]:
        """After a failure forget what waits for its commit: the keyword index dropped it, and it stays `pending`."""
        try:
            yield
        except StoreError:
            self._forget_uncommitted()
            raise

    def _forget_uncommitted(self) -> None:
        self._uncommitted.clear()
        self._skipped.clear()
