"""Where Chroma keeps its copy of a store's vectors, and which collections on a server the store has left behind."""

import hashlib
import json
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.storage.chroma_index import ChromaCollection, ChromaIndex
from agent_brain_server.types import ChromaServer

LOCAL_PLACE = "local"
"""The name of a place that is files beside the vectors."""

COLLECTION_NAME = re.compile(r"agent-brain-[0-9a-f]+-(?P<home>[0-9a-f]{8})")
"""The name of a collection on a server: of one store, in one directory of one machine."""


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A collection that a store has made and no longer uses.

    Attributes:
        place: The server's URL and the collection's name, with a space between.
        epoch: What the collection carries if it is still the one that the store made.
    """

    place: str
    epoch: str

    @property
    def url(self) -> str:
        """The server on which it is."""
        return self.place.rpartition(" ")[0]

    @property
    def name(self) -> str:
        """What it is called there."""
        return self.place.rpartition(" ")[2]


class ChromaPlace:
    """The place of one store's copy.

    Attributes:
        name: Tells this place from every other one.
        home: Tells where the store itself lies.

    Args:
        directory: Where the store keeps its vectors.
        store_id: The document store's; hex digits.
        server: Keeps the copy; None where files in the directory do.
    """

    def __init__(self, directory: Path, store_id: str, server: ChromaServer | None = None) -> None:
        self._directory = directory
        self._server = server
        self._collection = name_collection(store_id, directory)
        self.name = f"{server.url} {self._collection}" if server else LOCAL_PLACE
        self.home = json.dumps([platform.node(), str(directory.resolve())])

    @property
    def is_on_server(self) -> bool:
        """Whether it is a collection of a server."""
        return self._server is not None

    def open(self, epoch: str) -> ChromaCollection:
        """Open the collection of an epoch; one of another epoch is made anew.

        Raises:
            StoreError: Chroma can't be opened.
        """
        if self._server is None:
            return ChromaIndex(self._directory, epoch)
        from agent_brain_server.storage.chroma_server import ChromaServerIndex  # noqa: PLC0415 - loads Chroma

        return ChromaServerIndex(self._server, self._collection, epoch)

    def has_left(self, place: str, home: str | None) -> bool:
        """Whether the collection of an earlier place may be removed: of this very directory, or of one that was moved.

        A copy leaves its original's collection alone, and so does what comes from another machine.

        Args:
            place: The earlier place's name.
            home: Where the store lay then; None where that is not known.
        """
        left = LeftBehind(place, "")
        made = COLLECTION_NAME.fullmatch(left.name)
        if self._server is None or made is None or left.url != self._server.url:
            return False  # nothing is ever sent to an address that only the store's files name
        return self._collection.endswith(made["home"]) or _is_gone(home)

    def remove(self, left: Iterable[LeftBehind]) -> None:
        """Remove collections from the server; what lies on another one is passed over.

        Raises:
            StoreError: The server does not answer, or refuses.
        """
        here = [each for each in left if self._server is not None and each.url == self._server.url]
        if self._server is not None and here:
            from agent_brain_server.storage.chroma_server import remove_collections  # noqa: PLC0415 - loads Chroma

            remove_collections(self._server, {each.name: each.epoch for each in here})


def name_collection(store_id: str, directory: Path) -> str:
    """Return the name that a store's collection has on a server: of this store in this place; a copy gets its own.

    Args:
        store_id: The document store's; hex digits.
        directory: Where the store keeps its vectors.
    """
    place = f"{platform.node()}\0{directory.resolve()}"
    return f"agent-brain-{store_id}-{hashlib.sha256(place.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def encode_left(left: Iterable[LeftBehind]) -> str:
    """Return collections as text to be kept."""
    return json.dumps([[each.place, each.epoch] for each in left])


def decode_left(text: str | None) -> list[LeftBehind]:
    """Return the collections that a text tells of; none where it can't be read, as they cost room and nothing else."""
    try:
        return [LeftBehind(str(place), str(epoch)) for place, epoch in json.loads(text or "[]")]
    except (TypeError, ValueError):
        return []


def _is_gone(home: str | None) -> bool:
    """Whether a store lay on this machine, in a directory that is no longer there."""
    try:
        node, directory = json.loads(home or "null")
        return bool(node == platform.node()) and not Path(directory).exists()
    except (TypeError, ValueError):
        return False
