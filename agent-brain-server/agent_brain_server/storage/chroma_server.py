"""A collection on a Chroma server: another process, another machine, a cluster or a cloud, over HTTP."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import httpx  # what Chroma's own client speaks HTTP with: installed wherever that is
from chromadb.api.fastapi import FastAPI
from chromadb.api.models.Collection import Collection
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings, System
from chromadb.errors import NotFoundError

from agent_brain_server.config.trust import is_loopback
from agent_brain_server.errors import StoreError
from agent_brain_server.storage.chroma_index import CONFIGURATION, ChromaCollection
from agent_brain_server.types import ChromaServer, Hit, Vectors

TIMEOUT_S = 3.0
"""For connecting, and for each wait of a request: a hundred times what one takes, and no query waits twice."""

DEFAULT_PORTS = {"http": 80, "https": 443}

CLOUD_QUOTA = 300
"""Keys or neighbours that Chroma's cloud gives in one answer, unless more is agreed on."""

MAX_MESSAGE = 300
"""Characters of an answer that are repeated: a server that is none of Chroma's may send a whole page."""


class ChromaDatabase:
    """The database on a server that holds the collections.

    Args:
        server: Where, and the token that is shown.

    Raises:
        StoreError: The server does not answer (code `chroma_unreachable`) or refuses (`chroma_refused`).
    """

    def __init__(self, server: ChromaServer) -> None:
        self._url = server.url
        self._system = System(make_settings(server))
        self.api = self._system.instance(TimedApi)
        self._system.start()
        try:
            with self.translate_errors():
                self._tenant, self._database = self._find_names()
        except StoreError:
            self.close()
            raise

    def open(self, name: str, epoch: str) -> Collection:
        """Return a collection; one of another epoch is made anew."""
        collection = self._get_or_create(name, epoch)
        if (collection.metadata or {}).get("epoch") != epoch:
            self._delete(name)
            collection = self._get_or_create(name, epoch)
        return collection

    def remove(self, name: str, epoch: str) -> None:
        """Remove a collection if it is there and of this epoch."""
        try:
            found = self.api.get_collection(name, tenant=self._tenant, database=self._database)
        except NotFoundError:
            return
        if (found.metadata or {}).get("epoch") == epoch:
            self._delete(name)

    def close(self) -> None:
        """Give back the connections. Safe to call twice."""
        self._system.stop()
        self.api.disconnect()

    def _find_names(self) -> tuple[str, str]:
        """Return tenant and database: those of the URL, else the only ones of the token, else the default ones."""
        path = urlsplit(self._url).path.strip("/")
        if path:
            tenant, _, database = path.partition("/")
            return unquote(tenant), unquote(database)
        user = self.api.get_user_identity()
        databases = [name for name in user.databases or () if name != "*"]
        return user.tenant or DEFAULT_TENANT, databases[0] if len(databases) == 1 else DEFAULT_DATABASE

    def _get_or_create(self, name: str, epoch: str) -> Collection:
        known = self.api.create_collection(
            name,
            configuration=CONFIGURATION,
            metadata={"epoch": epoch},
            get_or_create=True,
            tenant=self._tenant,
            database=self._database,
        )
        return Collection(client=self.api, model=known, embedding_function=None)

    def _delete(self, name: str) -> None:
        self.api.delete_collection(name, tenant=self._tenant, database=self._database)

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise as `StoreError` what the server or the way to it raises."""
        try:
            yield
        except httpx.TransportError as exc:
            raise StoreError(
                f"The Chroma server at {self._url} does not answer: {str(exc) or type(exc).__name__}.",
                code="chroma_unreachable",
                hint="Start it, or correct chroma_url. Answers are complete meanwhile, and slower.",
            ) from exc
        except Exception as exc:  # a border: an answer that is not Chroma's fails anywhere in its client
            raise StoreError(
                f"The Chroma server at {self._url} refuses: {str(exc)[:MAX_MESSAGE] or type(exc).__name__}.",
                code="chroma_refused",
                hint="See its log; correct chroma_url or AGENT_BRAIN_CHROMA_TOKEN.",
            ) from exc


class ChromaServerIndex(ChromaCollection):
    """The collection of one store on a server. Only vectors and keys are sent there, no text and no path.

    Args:
        server: Where, and the token that is shown.
        name: The collection's name; it belongs to one store alone.
        epoch: A collection of that name with another epoch is made anew.

    Raises:
        StoreError: The server does not answer (code `chroma_unreachable`) or refuses (`chroma_refused`).
    """

    batch_size = 128  # 100 ms of the server, 3 ms of this process, far below what a cloud takes at once

    def __init__(self, server: ChromaServer, name: str, epoch: str) -> None:
        self.where = server.url
        self._database = ChromaDatabase(server)
        try:
            with self._translate_errors():
                self._collection = self._database.open(name, epoch)
        except StoreError:
            self.close()
            raise

    def search(self, vector: Vectors, limit: int) -> list[Hit]:
        """Return the nearest chunks by cosine; a cloud that gives no more than its quota is asked for no more again."""
        try:
            return super().search(vector, limit)
        except StoreError as exc:
            if limit <= CLOUD_QUOTA or exc.code != "chroma_refused":
                raise
            self.max_hits = CLOUD_QUOTA
            return super().search(vector, CLOUD_QUOTA)

    def keys(self) -> list[int]:
        """Return the key of every vector."""
        keys: list[int] = []
        with self._translate_errors():
            while page := self._collection.get(include=[], limit=CLOUD_QUOTA, offset=len(keys))["ids"]:
                keys.extend(map(int, page))
        return keys

    def check(self) -> None:
        """Find out whether the server still answers.

        Raises:
            StoreError: It does not.
        """
        with self._translate_errors():
            self._database.api.heartbeat()

    def close(self) -> None:
        """Give back the connections. Safe to call twice."""
        self._database.close()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        with self._database.translate_errors():
            yield


def remove_collections(server: ChromaServer, epochs: Mapping[str, str]) -> None:
    """Remove collections, each only if it still carries its epoch and so is the one that was made here.

    Args:
        server: Where, and the token that is shown.
        epochs: The epoch of each collection by its name.

    Raises:
        StoreError: The server does not answer, or refuses.
    """
    database = ChromaDatabase(server)
    try:
        with database.translate_errors():
            for name, epoch in epochs.items():
                database.remove(name, epoch)
    finally:
        database.close()


class TimedApi(FastAPI):
    """Chroma's HTTP client with a timeout, which it has none of, and no proxy on the way to this machine itself."""

    def __init__(self, system: System) -> None:
        super().__init__(system)
        endless = self._session
        host = str(system.settings.chroma_server_host).strip("[]")
        self._session = httpx.Client(
            timeout=TIMEOUT_S, limits=self.http_limits, headers=endless.headers, trust_env=not is_loopback(host)
        )
        endless.close()

    def disconnect(self) -> None:
        """Close the connections, which a stop of Chroma's client leaves open."""
        self._session.close()


def make_settings(server: ChromaServer) -> Settings:
    """Return what Chroma's client needs to know of a server."""
    parts = urlsplit(server.url)
    host = parts.hostname or ""
    headers = {}
    if server.token is not None:  # a server behind a gateway reads the first, Chroma's cloud the second
        headers = {"Authorization": f"Bearer {server.token}", "X-Chroma-Token": server.token}
    return Settings(
        _env_file=None,  # Chroma would read `.env` of the current directory, which may be a clone's
        anonymized_telemetry=False,
        chroma_api_impl="chromadb.api.fastapi.FastAPI",
        chroma_server_host=f"[{host}]" if ":" in host else host,
        chroma_server_http_port=parts.port or DEFAULT_PORTS[parts.scheme],
        chroma_server_ssl_enabled=parts.scheme == "https",
        chroma_server_headers=headers,
    )
