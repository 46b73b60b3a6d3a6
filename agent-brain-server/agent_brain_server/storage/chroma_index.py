"""Chroma's approximate nearest neighbours (HNSW), fed from the vector matrix: what answers when there are very many."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.chroma_guard import DATABASE_NAME, INDEX_HEADER, SEAL_NAME, UNCLOSED_NAME, ChromaGuard
from agent_brain_server.types import Hit, Vectors

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

COLLECTION_NAME = "chunks"

CONFIGURATION: Any = {"hnsw": {"space": "cosine"}}

MAX_HITS = 1_000
"""Most neighbours asked of Chroma, whose cost grows with them; a filter that needs more is answered exactly."""

PANIC_MODULE = "pyo3_runtime"
"""Of the exception that a panic in Chroma's native code comes as, which is no `Exception`."""

log = logging.getLogger(__name__)


class ChromaCollection:
    """What is done with a Chroma collection, wherever it is kept. A subclass opens and closes it.

    Attributes:
        batch_size: Most vectors of one write.
        max_hits: Most neighbours of one search.
        where: Names the place in messages.
        has_failed: Something was asked of Chroma that it could not do.
    """

    batch_size: int
    max_hits = MAX_HITS
    where: str
    has_failed = False
    _collection: "Collection"

    def upsert(self, keys: Sequence[int], vectors: Vectors) -> None:
        """Take vectors in."""
        with self._translate_errors():
            self._collection.upsert(ids=[str(key) for key in keys], embeddings=vectors)

    def delete(self, keys: Sequence[int]) -> None:
        """Take vectors out; those that are not there are passed over."""
        with self._translate_errors():
            self._collection.delete(ids=[str(key) for key in keys])

    def search(self, vector: Vectors, limit: int) -> list[Hit]:
        """Return the nearest chunks by cosine, the best first; `vector` has shape (dimension,)."""
        with self._translate_errors():
            one: Any = vector[np.newaxis]
            found = self._collection.query(query_embeddings=one, n_results=limit, include=["distances"])
        distances = (found["distances"] or [[]])[0]
        return [Hit(int(key), 1.0 - float(far)) for key, far in zip(found["ids"][0], distances, strict=True)]

    def count(self) -> int:
        """Return how many vectors there are."""
        with self._translate_errors():
            return int(self._collection.count())

    def keys(self) -> list[int]:
        """Return the key of every vector."""
        with self._translate_errors():
            return [int(key) for key in self._collection.get(include=[])["ids"]]

    def check(self) -> None:
        """Find out whether it still answers, where that costs little."""

    def close(self) -> None:
        """Give back what it holds. Safe to call twice."""

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise what Chroma raises as `StoreError` that names the place."""
        try:
            yield
        except BaseException as exc:  # a border: Chroma's bindings raise plain types as well, and Rust's panics
            if not isinstance(exc, Exception) and type(exc).__module__ != PANIC_MODULE:
                raise
            self.has_failed = True
            raise StoreError(f"Chroma cannot use {self.where}: {exc}.") from exc


class ChromaIndex(ChromaCollection):
    """A collection in files of this machine, named by the epoch of the vectors that it was fed with.

    A write holds the interpreter lock for its whole length: few vectors at a time.

    Args:
        directory: Where Chroma keeps its files; it may hold other files too.
        epoch: A collection of another epoch is removed.

    Raises:
        StoreError: Chroma cannot open or make its files, even after they were removed.
    """

    batch_size = 16  # 6 ms here, three times that on a slow core

    def __init__(self, directory: Path, epoch: str) -> None:
        self.where = str(directory)
        self._directory = directory
        self._client: ClientAPI | None = None
        self._guard = ChromaGuard(directory)
        self._begin()
        try:
            self._collection = self._open(epoch)
        except StoreError:
            log.warning("Chroma's files cannot be read; they are made anew", exc_info=True)
            self.close()
            forget_system(directory)
            remove_files(directory)
            self._begin()
            self._collection = self._open(epoch)

    def close(self) -> None:
        """Give back Chroma's threads and files. Safe to call twice."""
        if self._client is not None:
            client, self._client = self._client, None
            client.close()  # type: ignore[attr-defined]
            self._guard.end(is_sound=not self.has_failed)

    def _begin(self) -> None:
        try:
            while reason := self._guard.begin():
                log.warning("Chroma's files in %s are made anew: %s", self.where, reason)
                remove_files(self._directory)
        except OSError as exc:
            raise StoreError(f"Chroma cannot use {self.where}: {exc.strerror or exc}.") from exc

    def _open(self, epoch: str) -> "Collection":
        import chromadb  # noqa: PLC0415 - half a second and 100 MB that an empty or a small store never pays
        from chromadb.config import Settings  # noqa: PLC0415 - the same

        settings = Settings(_env_file=None, anonymized_telemetry=False)  # not `.env` of a clone
        with self._translate_errors():
            self._client = chromadb.PersistentClient(path=str(self._directory), settings=settings)
            collection = self._get_or_create(epoch)
            if (collection.metadata or {}).get("epoch") != epoch:
                self._client.delete_collection(COLLECTION_NAME)
                collection = self._get_or_create(epoch)
        return collection

    def _get_or_create(self, epoch: str) -> "Collection":
        assert self._client is not None
        known = [collection.name for collection in self._client.list_collections()]
        if COLLECTION_NAME in known:
            return self._client.get_collection(COLLECTION_NAME, embedding_function=None)
        return self._client.create_collection(
            COLLECTION_NAME, configuration=CONFIGURATION, metadata={"epoch": epoch}, embedding_function=None
        )


def forget_system(directory: Path) -> None:
    """Let Chroma forget a directory that it failed to open: it would hand out the half-opened one again."""
    from chromadb.api.shared_system_client import SharedSystemClient  # noqa: PLC0415 - loaded already

    SharedSystemClient._identifier_to_system.pop(str(directory), None)


def remove_files(directory: Path) -> None:
    """Remove what Chroma wrote into a directory, and nothing else."""
    for path in (*directory.glob(f"{DATABASE_NAME}*"), directory / SEAL_NAME, directory / UNCLOSED_NAME):
        path.unlink(missing_ok=True)
    for path in directory.iterdir():
        if path.is_dir() and (path / INDEX_HEADER).exists():
            shutil.rmtree(path, ignore_errors=True)
