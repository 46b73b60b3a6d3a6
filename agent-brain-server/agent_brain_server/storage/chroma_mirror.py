"""The copy of the vectors that Chroma keeps: follows the map in small writes, and is left alone while it fails."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.chroma_index import ChromaCollection
from agent_brain_server.storage.chroma_place import ChromaPlace
from agent_brain_server.storage.database import DAMAGED_CODE
from agent_brain_server.storage.vector_map import VectorMap
from agent_brain_server.types import Hit, Vectors

RETRY_S = 15.0
"""How long a Chroma that failed is left alone. Nobody waits for it meanwhile: this decides how soon it is back."""

log = logging.getLogger(__name__)


class ChromaMirror:
    """Searched from any thread; one thread at a time lets it follow.

    Args:
        vector_map: Says what Chroma has and what it lacks.
        map_lock: Held by whoever changes the map, and by whoever lets Chroma follow.
        place: Where Chroma keeps its copy; opened when that is first needed, and after it failed.
        read_rows: Returns rows of the matrix by number.
    """

    def __init__(
        self,
        vector_map: VectorMap,
        map_lock: "threading.RLock",
        place: ChromaPlace,
        read_rows: Callable[[Sequence[int]], Vectors],
    ) -> None:
        self._map = vector_map
        self._place = place
        self._read_rows = read_rows
        self._lock = map_lock
        self._opened: ChromaCollection | None = None
        self._fault: StoreError | None = None
        self._retry_at = 0.0
        self._is_distrusted = False

    @property
    def fault(self) -> StoreError | None:
        """Why it can't answer; None where it can, as far as is known. Only `follow` finds out that it can again."""
        return self._fault

    def search(self, vector: Vectors, limit: int) -> list[Hit] | None:
        """Return the nearest chunks that Chroma has, the best first; None where it fails, or too many are wanted."""
        if self._fault is not None:
            return None
        try:
            collection = self.opened()
            return collection.search(vector, limit) if limit <= collection.max_hits else None
        except StoreError as exc:
            self._note_fault(exc)  # closing is left to `follow`: nobody who waits for an answer waits for the lock
            return None

    def distrust(self) -> None:
        """Take nothing from it any more, as its answers were wrong; `follow` then feeds it anew."""
        self._is_distrusted = True
        self._note_fault(StoreError("Chroma's vectors are not those that it was given.", code=DAMAGED_CODE))

    def follow(self) -> bool:
        """Remove what was left behind, or write one batch; False where nothing is, or Chroma failed a moment ago.

        Raises:
            StoreError: Chroma fails.
        """
        with self._lock:
            if self._fault is not None:
                if time.monotonic() < self._retry_at:
                    return False
                self.close()
                if self._is_distrusted:
                    self._map.distrust_chroma()
                    self._is_distrusted = False
            try:
                is_written = self._write_batch()
            except StoreError as exc:
                self._note_fault(exc)
                self.close()  # after a failed write its next call may wait for ever, interpreter lock held
                raise
            if self._fault is not None:
                log.info("Chroma is back at %s", self.opened().where)
                self._fault = None
            return is_written

    def opened(self) -> ChromaCollection:
        """Open the collection the first time that it is needed, and find out what it really has.

        Raises:
            StoreError: Chroma can't be opened.
        """
        if (opened := self._opened) is not None:
            return opened
        with self._lock:
            if self._opened is None:
                collection = self._place.open(self._map.epoch)
                try:
                    if collection.count() != self._map.count_in_chroma():
                        self._map.match_chroma(collection.keys())
                except StoreError:
                    collection.close()
                    raise
                self._opened = collection
            return self._opened

    def close(self) -> None:
        """Give back what Chroma holds; it is opened again when it is needed."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _write_batch(self) -> bool:
        if left := self._map.left_behind():  # before the collection is opened, which may have the same name
            self._place.remove(left)
            self._map.note_removed()
            return True
        if not self._map.dropped(1) and not self._map.lagging(1):
            if self._opened is not None or self._fault is not None:
                self.opened().check()
            return False
        collection = self.opened()
        dropped = self._map.dropped(collection.batch_size)
        if dropped:
            collection.delete(dropped)
            self._map.note_dropped(dropped)
            return True
        lagging = self._map.lagging(collection.batch_size)
        if lagging:
            collection.upsert([key for key, _ in lagging], self._read_rows([row for _, row in lagging]))
            self._map.note_taken(key for key, _ in lagging)
        return bool(lagging)

    def _note_fault(self, error: StoreError) -> None:
        self._retry_at = time.monotonic() + RETRY_S
        if self._fault is None:
            log.warning("Chroma fails; vectors are compared exactly", exc_info=error)
        self._fault = error
