"""Embed chunks that have no vector yet, after keyword indexing and without delaying it."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, takewhile
from typing import TypeVar

import numpy as np

from agent_brain_server.errors import StoreError
from agent_brain_server.indexing.worker.client import WorkerClient, WorkerDiedError
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.storage.vector_store import VectorStoreManager
from agent_brain_server.types import Chunk, StoredChunk

logger = logging.getLogger(__name__)

T = TypeVar("T")

SLICE_CHUNKS = 512
"""Chunks read from the store at a time: some seconds of embedding, half a megabyte of text."""

BATCH_CHUNKS = 8
"""Chunks embedded and stored at a time: a tenth of a second, by which a save may be delayed."""

MAX_DEATHS = 3
"""Crashes of the worker without progress in between, after which the texts are assumed to cause them."""

KEY_DIGITS = 32
"""Hex digits of an embedding key: 128 bits, so that keys of different texts never collide."""


def embedding_text(chunk: Chunk) -> str:
    """Return the text that is embedded for a chunk: its path and enclosing definition, then its lines in context."""
    place = f"{chunk.path} > {chunk.heading}" if chunk.heading else chunk.path
    return f"{place}\n{chunk.text_in_context(has_members=True)}"


def embedding_key(text: str) -> str:
    """Return the key under which the vector of a text is cached."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:KEY_DIGITS]


class EmbeddingQueue:
    """Embed chunks that have no vector, newest first. The document store knows them. For one thread at a time.

    Args:
        model: Name of the embedding model, as in the settings.
    """

    def __init__(
        self,
        documents: DocumentStore,
        vectors: VectorStoreManager,
        worker: WorkerClient,
        metrics: Metrics,
        *,
        model: str,
    ) -> None:
        self._documents = documents
        self._vectors = vectors
        self._worker = worker
        self._metrics = metrics
        self._model = model

    def is_empty(self) -> bool:
        """Return whether every chunk has a vector."""
        counts = self._documents.counts()
        return counts.embedded == counts.chunks

    def drain(self, should_stop: Callable[[], bool]) -> None:
        """Embed until every chunk has a vector, or `should_stop` returns `True` between two batches.

        A worker that is killed is replaced.

        Raises:
            WorkerDiedError: The worker crashed repeatedly without progress.
            WorkerRequestError: The model could not be opened or failed.
            StoreError: A store could not be written, or the vector engine cannot answer now.
        """
        deaths, embedded = 0, 0
        if (fault := self._vectors.fault) is not None:
            raise StoreError(fault.message, code=fault.code, hint=fault.hint)
        while not should_stop():
            chunks = self._documents.unembedded(SLICE_CHUNKS)
            if not chunks:
                return
            try:
                self._embed(self._take_cached(chunks), should_stop)
            except WorkerDiedError as error:
                before, embedded = embedded, self._documents.counts().embedded
                deaths = deaths + 1 if embedded == before else 1
                if deaths == MAX_DEATHS:
                    raise
                logger.warning("%s Starting another one with the model %s", error.message, self._model)

    def is_blocked(self) -> bool:
        """Return whether the vector engine cannot answer now, so that embedding has to wait."""
        return self._vectors.fault is not None

    def sync(self) -> None:
        """Delete vectors whose chunk was deleted without them, as damaged chunks are."""
        self._vectors.sync(self._documents)

    def maintain(self) -> bool:
        """Do a short piece of the vector engine's background work; return whether chunks have to be embedded again."""
        return self._vectors.maintain(self._documents) and not self.is_empty()

    def _take_cached(self, chunks: Sequence[StoredChunk]) -> list[tuple[StoredChunk, str]]:
        """Store cached vectors of equal texts; return the chunks that have none, with their texts."""
        texts = [embedding_text(stored.chunk) for stored in chunks]
        keys = [embedding_key(text) for text in texts]
        cached = self._vectors.cached_vectors(keys)
        known = [(stored, key) for stored, key in zip(chunks, keys, strict=True) if key in cached]
        for batch in _batches(known):
            keys_here = [stored.key for stored, _ in batch]
            self._vectors.add(keys_here, [key for _, key in batch], np.stack([cached[key] for _, key in batch]))
            self._documents.mark_embedded(keys_here)
        return [(s, text) for s, text, key in zip(chunks, texts, keys, strict=True) if key not in cached]

    def _embed(self, missing: Sequence[tuple[StoredChunk, str]], should_stop: Callable[[], bool]) -> None:
        """Embed and store batch by batch. To stop, no more batches are sent, so that the worker keeps its model."""
        batches = list(_batches(missing))
        wanted = takewhile(lambda _: not should_stop(), batches)
        replies = self._worker.embed(self._model, ([text for _, text in batch] for batch in wanted))
        began = time.perf_counter()
        for batch, vectors in zip(batches, replies, strict=False):
            self._metrics.embedding_seconds.inc(time.perf_counter() - began)
            keys = [stored.key for stored, _ in batch]
            self._vectors.add(keys, [embedding_key(text) for _, text in batch], vectors)
            self._documents.mark_embedded(keys)
            self._metrics.chunks_embedded.inc(len(batch))
            self._vectors.maintain(self._documents)
            began = time.perf_counter()


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    rest = iter(items)
    while batch := tuple(islice(rest, BATCH_CHUNKS)):
        yield batch
