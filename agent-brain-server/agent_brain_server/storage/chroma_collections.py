"""Chroma collections of unit vectors: embedded in this process, or on a server through its HTTP API.

chromadb is imported only for an embedded collection: it takes half a second and 100 MB.
"""

import contextlib
import hashlib
import logging
import platform
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.chunk_rows import keys_array
from agent_brain_server.storage.database import DAMAGED_CODE
from agent_brain_server.support.http_client import is_loopback
from agent_brain_server.support.text import pluralize
from agent_brain_server.types import ChromaServer, Hit, Keys, Vectors

logger = logging.getLogger(__name__)

T = TypeVar("T")

Json = Any
"""A decoded response."""

CONFIGURATION: Any = {"hnsw": {"space": "cosine", "ef_search": 300}}
"""With 300, 99.8 % of the 150 nearest among 10,539 vectors of code are found, with the default of 100 98.7 %."""


class ChromaCollection(Protocol):
    """A Chroma collection of unit vectors; ids are chunk keys. All methods raise `StoreError`."""

    location: str
    batch_size: int
    previous_model: str | None

    def upsert(self, keys: Sequence[int], vectors: Vectors) -> None:
        """Store or replace at most `batch_size` vectors."""

    def delete(self, keys: Sequence[int]) -> None:
        """Delete vectors; unknown keys are ignored."""

    def query(self, vector: Vectors, limit: int, keys: Sequence[int] | None) -> list[Hit]:
        """Return the nearest vectors, best first, optionally only of some keys."""

    def count(self) -> int:
        """Return the number of vectors."""

    def keys(self) -> Keys:
        """Return all keys, ascending."""

    def find_keys(self, keys: Sequence[int]) -> list[int]:
        """Return those of the keys that exist."""

    def check(self) -> None:
        """Raise an error if the collection does not answer, or not correctly."""

    def clear(self) -> None:
        """Delete all vectors."""

    def close(self) -> None:
        """Release files or connections."""


# Embedded

EMBEDDED_PREFIX = "chroma-"
"""Prefix of the directory of an embedded collection."""

DATABASE_NAME = "chroma.sqlite3"
COLLECTION_NAME = "chunks"

PANIC_MODULE = "pyo3_runtime"
"""Module of the exception that a panic in Chroma's native code raises; it is no `Exception`."""

CHECKED_VECTORS = 32
MAX_SELF_DISTANCE = 1e-3
MIN_FOUND_SHARE = 0.9  # the index is approximate; a damaged one finds few of the vectors that it holds
TRIAL_LIMIT_S = 120


class EmbeddedCollection:
    """A collection in files of this machine.

    Args:
        path: Directory of the files; chromadb keeps a directory that it failed to open in use until the process ends.
        metadata: A collection with other metadata is replaced by an empty one.
    """

    batch_size = 16  # 6 ms; three times that on a slow core

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        import chromadb  # noqa: PLC0415 - half a second and 100 MB
        from chromadb.config import Settings  # noqa: PLC0415

        self.location = str(path)
        self.previous_model: str | None = None
        self._metadata = dict(metadata)
        settings = Settings(_env_file=None, anonymized_telemetry=False)  # `.env` may be a clone's
        with self._translating_errors():
            self._client = chromadb.PersistentClient(path=str(path), settings=settings)
        try:
            with self._translating_errors():
                known = [collection.name for collection in self._client.list_collections()]
                if COLLECTION_NAME not in known:
                    self._create()
                    return
                self._collection = self._client.get_collection(COLLECTION_NAME, embedding_function=None)
                found = dict(self._collection.metadata or {})
                if found != self._metadata:
                    self.previous_model = _find_previous_model(found, self._metadata)
                    self.clear()
        except BaseException:
            self.close()
            raise

    def _create(self) -> None:
        self._collection = self._client.create_collection(
            COLLECTION_NAME, configuration=CONFIGURATION, metadata=self._metadata, embedding_function=None
        )

    def upsert(self, keys: Sequence[int], vectors: Vectors) -> None:
        """Store or replace vectors."""
        with self._translating_errors():
            self._collection.upsert(ids=[str(key) for key in keys], embeddings=vectors)

    def delete(self, keys: Sequence[int]) -> None:
        """Delete vectors; unknown keys are ignored."""
        with self._translating_errors():
            self._collection.delete(ids=[str(key) for key in keys])

    def query(self, vector: Vectors, limit: int, keys: Sequence[int] | None) -> list[Hit]:
        """Return the nearest vectors, best first.

        Raises:
            StoreError: Chroma fails, or finds nothing although it counts vectors, because its index was lost.
        """
        one: Any = vector[np.newaxis]
        ids: Any = None if keys is None else [str(key) for key in keys]
        with self._translating_errors():
            found = self._collection.query(query_embeddings=one, n_results=limit, include=["distances"], ids=ids)
            if not found["ids"][0] and keys is None and self._collection.count():
                raise ValueError("its index is empty")
        return _read_hits(found)

    def count(self) -> int:
        """Return the number of vectors."""
        with self._translating_errors():
            return int(self._collection.count())

    def keys(self) -> Keys:
        """Return all keys, ascending."""
        with self._translating_errors():
            return keys_array(_read_keys(self._collection.get(include=[])))

    def find_keys(self, keys: Sequence[int]) -> list[int]:
        """Return those of the keys that exist."""
        with self._translating_errors():
            return _read_keys(self._collection.get(ids=[str(key) for key in keys], include=[]))

    def check(self) -> None:
        """Look up some of the vectors, which must find themselves.

        Raises:
            StoreError: They do not.
        """
        with self._translating_errors():
            total = self._collection.count()
            positions = {total * number // CHECKED_VECTORS for number in range(CHECKED_VECTORS)} if total else ()
            found = 0
            for position in positions:
                stored = self._collection.get(limit=1, offset=position, include=["embeddings"])
                nearest = self._collection.query(
                    query_embeddings=stored["embeddings"], n_results=1, include=["distances"]
                )
                found += any(hit.score > 1 - MAX_SELF_DISTANCE for hit in _read_hits(nearest))
            if found < MIN_FOUND_SHARE * len(positions):
                raise ValueError(f"found only {found} of {pluralize(len(positions), 'vector')}")

    def clear(self) -> None:
        """Delete all vectors."""
        with self._translating_errors():
            self._client.delete_collection(COLLECTION_NAME)
            self._create()

    def close(self) -> None:
        """Stop Chroma's threads and close its files."""
        with self._translating_errors():
            self._client.close()  # type: ignore[attr-defined]

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except BaseException as exc:  # boundary: the bindings raise plain types, and Rust panics
            if not isinstance(exc, Exception) and type(exc).__module__ != PANIC_MODULE:
                raise
            raise StoreError(f"Chroma cannot use {self.location}: {exc}.", code=DAMAGED_CODE) from exc


def open_embedded(directory: Path, metadata: Mapping[str, str], *, is_trusted: bool) -> EmbeddedCollection:
    """Open the embedded collection; files that are damaged are replaced by an empty collection.

    Args:
        directory: Holds the directory of the collection.
        metadata: As for `EmbeddedCollection`.
        is_trusted: The files were closed properly; otherwise they are tried in a subprocess first.

    Raises:
        StoreError: A new collection cannot be created either.
    """
    found = sorted(directory.glob(f"{EMBEDDED_PREFIX}*"))
    if len(found) == 1:
        if is_trusted or _passes_trial(found[0], metadata):
            with contextlib.suppress(StoreError):
                return _open_checked(found[0], metadata)
        logger.warning("The files of Chroma in %s are damaged: rebuilding them", found[0])
    remove_files(directory)
    path = directory / f"{EMBEDDED_PREFIX}{uuid.uuid4().hex[:8]}"
    return EmbeddedCollection(path, metadata)


def _open_checked(path: Path, metadata: Mapping[str, str]) -> EmbeddedCollection:
    collection = EmbeddedCollection(path, metadata)
    try:
        collection.check()
    except StoreError:
        with contextlib.suppress(StoreError):
            collection.close()
        raise
    return collection


def _passes_trial(path: Path, metadata: Mapping[str, str]) -> bool:
    """Open a collection in a subprocess, which may crash; return whether it succeeded."""
    arguments = [argument for pair in metadata.items() for argument in pair]
    command = [sys.executable, "-P", "-m", "agent_brain_server.storage.chroma_collections", str(path), *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRIAL_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def measure_files(directory: Path) -> bytes:
    """Return number and total size of the embedded files."""
    sizes = [path.stat().st_size for path in directory.glob(f"{EMBEDDED_PREFIX}*/**/*") if path.is_file()]
    return f"{len(sizes)} {sum(sizes)}".encode()


def remove_files(directory: Path) -> None:
    """Remove the embedded files, which must not be open, of this version and of earlier ones."""
    for path in directory.glob(f"{EMBEDDED_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


# On a server

TIMEOUT_S = 3.0
"""For connecting and for each wait: a hundred times what a request takes."""

CONTENT_TYPE = {"Content-Type": "application/json"}
DEFAULT_NAME = {"tenant": "default_tenant", "database": "default_database"}
PAGE_KEYS = 300
"""Keys of one answer; Chroma Cloud sends no more unless agreed on."""

MAX_MESSAGE = 300
"""Characters of an error response that are repeated: it may be a whole page of another server."""


class HttpCollection:
    """A collection on a Chroma server, through its HTTP API (v2). Only keys and vectors are sent, no text and no path.

    Args:
        server: Address and token.
        name: Name of the collection; it belongs to one store alone.
        metadata: A collection of that name with other metadata is replaced by an empty one.

    Raises:
        StoreError: The server does not answer (`chroma_unreachable`) or refuses (`chroma_refused`).
    """

    batch_size = 128  # 100 ms on the server, 3 ms here

    def __init__(self, server: ChromaServer, name: str, metadata: Mapping[str, str]) -> None:
        self.location = server.url
        self.previous_model: str | None = None
        self._api = _ChromaApi(server)
        self._body = {
            "name": name,
            "configuration": CONFIGURATION,
            "metadata": dict(metadata),
            "get_or_create": True,
        }
        try:
            self._id, found = self._create()
            if found != metadata:
                self.previous_model = _find_previous_model(found, metadata)
                self.clear()
        except BaseException:
            self.close()
            raise

    def _create(self) -> tuple[str, Mapping[str, str]]:
        found = self._api.call("POST", "", self._body)
        return str(found["id"]), found.get("metadata") or {}

    def upsert(self, keys: Sequence[int], vectors: Vectors) -> None:
        """Store or replace vectors."""
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        self._api.call("POST", f"/{self._id}/upsert", {"ids": [str(key) for key in keys], "embeddings": rows})

    def delete(self, keys: Sequence[int]) -> None:
        """Delete vectors; unknown keys are ignored."""
        self._api.call("POST", f"/{self._id}/delete", {"ids": [str(key) for key in keys]})

    def query(self, vector: Vectors, limit: int, keys: Sequence[int] | None) -> list[Hit]:
        """Return the nearest vectors, best first."""
        rows = np.ascontiguousarray(vector[np.newaxis], dtype=np.float32)
        body: dict[str, object] = {"query_embeddings": rows, "n_results": limit, "include": ["distances"]}
        if keys is not None:
            body["ids"] = [str(key) for key in keys]
        return self._api.parse(_read_hits, self._api.call("POST", f"/{self._id}/query", body))

    def count(self) -> int:
        """Return the number of vectors."""
        return self._api.parse(int, self._api.call("GET", f"/{self._id}/count"))

    def keys(self) -> Keys:
        """Return all keys, ascending."""
        keys: list[int] = []
        while True:
            body = {"include": [], "limit": PAGE_KEYS, "offset": len(keys)}
            page = self._api.parse(_read_keys, self._api.call("POST", f"/{self._id}/get", body))
            if not page:
                return keys_array(keys)
            keys.extend(page)

    def find_keys(self, keys: Sequence[int]) -> list[int]:
        """Return those of the keys that exist."""
        body = {"ids": [str(key) for key in keys], "include": []}
        return self._api.parse(_read_keys, self._api.call("POST", f"/{self._id}/get", body))

    def check(self) -> None:
        """Raise an error if the server does not answer, or lost the collection."""
        self.count()

    def clear(self) -> None:
        """Delete all vectors."""
        self._api.call("DELETE", f"/{self._body['name']}")
        self._id, _ = self._create()

    def close(self) -> None:
        """Close the connections."""
        self._api.close()


class _ChromaApi:
    """HTTP requests to the database of a server that holds the collections."""

    def __init__(self, server: ChromaServer) -> None:
        import httpx  # noqa: PLC0415 - 0.1 s

        self._httpx = httpx
        self._url = server.url
        url = httpx.URL(server.url)
        headers = {}
        if server.token is not None:  # a gateway reads the first header, Chroma Cloud the second
            headers = {"Authorization": f"Bearer {server.token}", "X-Chroma-Token": server.token}
        self._client = httpx.Client(timeout=TIMEOUT_S, headers=headers, trust_env=not is_loopback(url.host))
        self._root = f"{url.copy_with(path='/')}api/v2"
        try:
            names = [part for part in url.raw_path.decode().split("/") if part] or self._find_names()
        except StoreError:
            self.close()
            raise
        self._collections = "{}/tenants/{}/databases/{}/collections".format(self._root, *names)

    def call(self, method: str, path: str, body: object = None) -> Json:
        """Send a request about the collections and return the decoded response.

        Raises:
            StoreError: The server does not answer, or refuses.
        """
        return self._request(method, self._collections + path, body)

    def parse(self, read: Callable[[Json], T], response: Json) -> T:
        """Read a response.

        Raises:
            StoreError: It has another form than Chroma's.
        """
        try:
            return read(response)
        except (KeyError, TypeError, ValueError, IndexError) as exc:
            raise self._refusal(f"unexpected response: {exc}") from exc

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _find_names(self) -> list[str]:
        """Return tenant and database of the token, or the default ones."""
        identity = self._request("GET", f"{self._root}/auth/identity")
        databases = [name for name in identity.get("databases") or () if name != "*"]
        tenant = identity.get("tenant") or DEFAULT_NAME["tenant"]
        return [tenant, databases[0] if len(databases) == 1 else DEFAULT_NAME["database"]]

    def _request(self, method: str, url: str, body: object = None) -> Json:
        import orjson  # noqa: PLC0415

        content = None if body is None else orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        try:
            response = self._client.request(method, url, content=content, headers=CONTENT_TYPE)
            if response.is_error:
                raise self._refusal(f"{response.status_code} {response.text}")
            return orjson.loads(response.content)
        except self._httpx.TransportError as exc:
            raise StoreError(
                f"The Chroma server at {self._url} does not answer: {str(exc) or type(exc).__name__}.",
                code="chroma_unreachable",
                hint="Start it, or correct chroma_url. Queries are answered by keywords meanwhile.",
            ) from exc
        except (self._httpx.HTTPError, ValueError) as exc:
            raise self._refusal(str(exc)) from exc

    def _refusal(self, reason: str) -> StoreError:
        return StoreError(
            f"The Chroma server at {self._url} refuses: {reason[:MAX_MESSAGE]}.",
            code="chroma_refused",
            hint="See its log; correct chroma_url or AGENT_BRAIN_CHROMA_TOKEN.",
        )


def name_collection(store_id: str, directory: Path) -> str:
    """Return the name of a store's collection on a server; a copy of the store in another directory gets another name.

    Args:
        store_id: Of the document store; hexadecimal.
        directory: Where the store keeps its vectors.
    """
    location = f"{platform.node()}\0{directory.resolve()}"
    return f"agent-brain-{store_id}-{hashlib.sha256(location.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def delete_collection(name: str, server: ChromaServer) -> bool:
    """Delete a collection from a server; return whether it existed.

    Raises:
        StoreError: The server does not answer, or refuses.
    """
    api = _ChromaApi(server)
    try:
        if all(found["name"] != name for found in api.call("GET", "")):
            return False
        api.call("DELETE", f"/{name}")
        return True
    finally:
        api.close()


def _find_previous_model(found: Mapping[str, object], wanted: Mapping[str, str]) -> str | None:
    """Return the name of another model that a collection was made with."""
    model = str(found.get("model") or "")
    return model.rpartition("/")[0] if model and model != wanted["model"] else None


def _read_keys(response: Json) -> list[int]:
    return [int(key) for key in response["ids"]]


def _read_hits(response: Json) -> list[Hit]:
    distances = (response["distances"] or [[]])[0]
    return [Hit(int(key), 1.0 - float(far)) for key, far in zip(response["ids"][0], distances, strict=True)]


def _try(path: Path, metadata: Mapping[str, str]) -> None:
    """Open and check a collection; run in a subprocess, as native code may crash on damaged files."""
    _open_checked(path, metadata).close()


if __name__ == "__main__":
    _try(Path(sys.argv[1]), dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True)))
