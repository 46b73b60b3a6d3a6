"""The vectors of one project: a matrix that answers while it is not huge, Chroma beside it for when it is."""

import logging
import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.chroma_index import remove_files
from agent_brain_server.storage.chroma_mirror import ChromaMirror
from agent_brain_server.storage.chroma_place import ChromaPlace
from agent_brain_server.storage.chunk_rows import keys_array
from agent_brain_server.storage.coarse_search import CoarseVectors
from agent_brain_server.storage.database import DAMAGED_CODE
from agent_brain_server.storage.exact_search import Rows, find_unsound_rows, is_true_to, search_exactly
from agent_brain_server.storage.vector_map import VectorMap, new_matrix_name, remove_map
from agent_brain_server.storage.vector_matrix import VectorMatrix
from agent_brain_server.storage.vector_snapshot import VectorSnapshot
from agent_brain_server.types import AllowedChunks, ChromaServer, Hit, Keys, VectorEngineName, Vectors

log = logging.getLogger(__name__)

EXACT_LIMIT = 25_000
"""Vectors up to which a query is compared with each of them: 2 ms, exact. Beyond, it is compared coarsely first."""

CHROMA_FROM = 1_000_000
"""Vectors beyond which Chroma answers; below, the components do: Chroma's writes hold everything else up."""

CHROMA_SERVER_FROM = EXACT_LIMIT
"""The same for a Chroma server: who names one wants its memory used, and not this server's."""

EXACT_SUBSET_LIMIT = 10_000
"""Vectors up to which a subset is compared one by one: what a filter left over, or what Chroma does not have yet."""

OVERFETCH = 1.5
"""Neighbours asked for beyond what a filter should leave, as chunks that match a filter do not lie evenly."""

MAX_UNUSED_ROWS = 20_000
"""Rows without a chunk, beyond as many as have one, that are kept on disk (30 MB) for texts that may come back."""


class VectorStoreManager:
    """Vectors by chunk key, and by the text that they were made of. Any thread searches; changes wait for each other.

    `damaged_count` says how many chunks lost their vector to damage that was found on opening.

    Args:
        persist_dir: The store's directory; made where it is missing.
        dimension: Length of a vector.
        model_name: What the vectors are made with; vectors of another model are forgotten.
        store_id: The document store that the keys are from; of another one the chunks are forgotten, and the texts'
            vectors kept.
        chroma_server: Keeps Chroma's copy instead of files in the directory. All else stays: the matrix is what counts.

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
        chroma_server: ChromaServer | None = None,
    ) -> None:
        self._persist_dir = persist_dir
        self._dimension = dimension
        self._lock = threading.RLock()
        self._place = ChromaPlace(persist_dir, store_id, chroma_server)
        self.damaged_count = 0
        self._map = self._open_map(model_name, store_id)
        try:
            self._matrix, self._snapshot = self._open_matrix()
        except StoreError as exc:
            self._map.close()
            if exc.code != DAMAGED_CODE:
                raise
            log.warning("the map of the vectors is damaged: making it again", exc_info=True)
            remove_map(persist_dir)
            self._map = self._open_map(model_name, store_id)
            self._matrix, self._snapshot = self._open_matrix()
        if chroma_server or not self.wants_chroma:
            remove_files(persist_dir)  # of a Chroma that was kept here before
        self._mirror = ChromaMirror(self._map, self._lock, self._place, lambda rows: self._matrix.read(rows))

    def _open_map(self, model_name: str, store_id: str) -> VectorMap:
        return VectorMap(self._persist_dir, f"{model_name}/{self._dimension}", store_id, self._place)

    def find_fault(self) -> str | None:
        """Say what of the files was removed since they were opened, None where all are there; costs a `stat` each."""
        gone = None if self._matrix.path.is_file() else f"{self._matrix.path} was removed"
        return self._map.find_fault() or gone

    @property
    def previous_model(self) -> str | None:
        """Name of the model whose vectors were dropped on opening, as another one is set now; None if none were."""
        previous = self._map.previous_model
        return None if previous is None else previous.rpartition("/")[0]

    @property
    def chroma_fault(self) -> str | None:
        """Why Chroma can't answer or follow, its code first; None where it can, as far as is known."""
        fault = self._mirror.fault
        return None if fault is None else f"{fault.code}: {fault.message} {fault.hint}"

    def count_behind(self) -> int:
        """Return how many changes Chroma is still to take in; none while it has no part in the answers."""
        return self._map.count_behind() if self.wants_chroma else 0

    def cached_vectors(self, embed_keys: Iterable[str]) -> dict[str, Vectors]:
        """Return the vectors of texts that were embedded before, by the text's key; each has shape (dimension,)."""
        with self._lock:
            rows = self._map.rows_of_texts(embed_keys)
            matrix = self._snapshot.matrix
            return {embed_key: np.array(matrix[row]) for embed_key, row in rows.items() if row < len(matrix)}

    def add(self, keys: Sequence[int], embed_keys: Sequence[str], vectors: Vectors) -> None:
        """Give chunks their vectors; on disk and found by searches when this returns.

        Args:
            keys: The chunks' keys.
            embed_keys: For each chunk what names the text that was embedded: equal texts share one row.
            vectors: Unit vectors, shape (len(keys), dimension).
        """
        with self._lock:
            known = self._map.rows_of_texts(embed_keys)
            first_new = len(self._snapshot.matrix)
            new: dict[str, int] = {}
            for position, embed_key in enumerate(embed_keys):
                if embed_key not in known and embed_key not in new:
                    new[embed_key] = position
            if new:
                self._matrix.write(first_new, vectors[list(new.values())])
            new_rows = {embed_key: first_new + order for order, embed_key in enumerate(new)}
            row_of = {**known, **new_rows}
            rows = [row_of[embed_key] for embed_key in embed_keys]
            self._map.add([int(key) for key in keys], rows, [(row, text) for text, row in new_rows.items()])
            here = self._snapshot
            matrix = self._matrix.view(first_new + len(new)) if new else here.matrix
            self._snapshot = here.with_rows(dict(zip(map(int, keys), rows, strict=True)), matrix)
            if new and len(self._snapshot.matrix) > 2 * len(self._snapshot.keys) + MAX_UNUSED_ROWS:
                outgrown = self._matrix  # a server that runs for weeks would never open it anew otherwise
                self._matrix, self._snapshot = self._open_matrix()
                outgrown.close()

    def delete(self, keys: Iterable[int]) -> None:
        """Forget the vectors of chunks; texts that come back need not be embedded again."""
        gone = keys_array(keys)
        if not len(gone):
            return
        with self._lock:
            self._map.delete(gone)
            self._snapshot = self._snapshot.without(gone)

    def search(self, vector: Vectors, limit: int, allowed: AllowedChunks | None = None) -> list[Hit]:
        """Return the chunks nearest to a unit vector by cosine, the best first; beyond `EXACT_LIMIT` nearly always.

        Args:
            vector: Shape (dimension,).
            limit: Most hits to return.
            allowed: What the answer may hold; None for everything.
        """
        here = self._snapshot
        if limit < 1 or not len(here.keys):
            return []
        hits = self._search_chroma(here, vector, limit, allowed) if self.wants_chroma else None
        return here.search(vector, limit, allowed) if hits is None else hits

    def count(self) -> int:
        """Return how many chunks have a vector."""
        return len(self._snapshot.keys)

    @property
    def wants_chroma(self) -> bool:
        """Whether there are so many vectors that Chroma is to answer."""
        return self.count() > (CHROMA_SERVER_FROM if self._place.is_on_server else CHROMA_FROM)

    @property
    def engine(self) -> VectorEngineName:
        """The engine that answers a query without a filter now: Chroma only if it is wanted, up to date and working."""
        is_ready = self.wants_chroma and self._mirror.fault is None
        return (
            "chroma" if is_ready and len(self._map.lagging(EXACT_SUBSET_LIMIT + 1)) <= EXACT_SUBSET_LIMIT else "exact"
        )

    def learn_components(self) -> None:
        """Make the matrix ready for coarse comparison, where its size asks for that; half a second at 130,000 rows.

        Until then, and where it was not asked for, all rows are compared.
        """
        with self._lock:
            here = self._snapshot
            if len(here.keys) <= EXACT_LIMIT or self.wants_chroma or (here.coarse and not here.coarse.is_outgrown):
                return
            passing = self._matrix.view(len(here.matrix))  # unmapped afterwards: its pages leave this process with it
            self._snapshot = replace(here, coarse=CoarseVectors.learn(passing))

    def keys(self) -> Keys:
        """Return the keys of the chunks that have a vector, ascending."""
        return self._snapshot.keys

    def has_left_collections(self) -> bool:
        """Whether collections that are no longer used are still on the Chroma server; the next flush removes them."""
        return bool(self._map.left_behind())

    def flush_chroma(self, max_batches: int = 1) -> int:
        """Let Chroma catch up by some small writes.

        Returns:
            How many changes Chroma is still behind; 0 also where it failed a moment ago and is left alone.

        Raises:
            StoreError: Chroma cannot write; exact answers are not touched by that.
        """
        for _ in range(max_batches):
            if not self._mirror.follow():
                return 0
        return self._map.count_behind()

    def clear(self) -> None:
        """Forget every vector, of texts too."""
        with self._lock:
            self._map.clear()
            self._mirror.close()
            self._matrix.close()
            self._matrix, self._snapshot = self._open_matrix()

    def close(self) -> None:
        """Close every file. Safe to call twice."""
        with self._lock:
            self._mirror.close()
            self._matrix.close()
            self._map.close()

    def _open_matrix(self) -> tuple[VectorMatrix, VectorSnapshot]:
        """Open the matrix; forget what refers to rows that it lacks, and most rows where far too many are unused."""
        matrix = self._open_matrix_file(self._map.matrix_name)
        on_disk = matrix.rows_on_disk()
        unsound = find_unsound_rows(matrix.view(min(on_disk, self._map.next_row())))
        self.damaged_count = self._map.keep_sound(on_disk, unsound)
        keys, rows = self._map.load()
        used = np.unique(rows)
        if len(used) and self._map.next_row() - len(used) > len(used) + MAX_UNUSED_ROWS:
            matrix = self._compact(matrix, used)
            keys, rows = self._map.load()
        for other in self._persist_dir.glob("matrix-*.f32"):
            if other != matrix.path:
                other.unlink(missing_ok=True)
        return matrix, VectorSnapshot(keys, rows, matrix.view(self._map.next_row()))

    def _open_matrix_file(self, name: str) -> VectorMatrix:
        path = self._persist_dir / name
        try:
            return VectorMatrix(path, self._dimension)
        except OSError as exc:
            raise StoreError(f"{path} cannot be used: {exc.strerror or exc}.") from exc

    def _compact(self, matrix: VectorMatrix, used: Rows) -> VectorMatrix:
        """Copy the rows that chunks have into a new matrix, and go over to it once it is on disk."""
        smaller = self._open_matrix_file(new_matrix_name())
        smaller.write(0, matrix.view(matrix.rows_on_disk())[used])
        self._map.keep_rows(used.tolist(), smaller.path.name)
        matrix.close()
        return smaller

    def _search_chroma(
        self, here: VectorSnapshot, vector: Vectors, limit: int, allowed: AllowedChunks | None
    ) -> list[Hit] | None:
        """Return Chroma's answer, None where the exact one is cheaper, or Chroma fails or is too far behind."""
        behind = self._map.lagging(EXACT_SUBSET_LIMIT + 1)
        share = 1.0 if allowed is None else len(allowed.keys) / len(here.keys)
        is_few = allowed is not None and len(allowed.keys) <= EXACT_SUBSET_LIMIT
        if is_few or len(behind) > EXACT_SUBSET_LIMIT:
            return None
        wanted = math.ceil(limit / share * (1.0 if allowed is None else OVERFETCH))
        nearest = self._mirror.search(vector, wanted)
        if nearest is None:
            return None
        late = {key for key, _ in behind}
        if not is_true_to(here.matrix, here.keys, here.rows, vector, [hit for hit in nearest if hit.key not in late]):
            self._mirror.distrust()
            return None
        named = keys_array(late.union(hit.key for hit in nearest))
        candidates = np.intersect1d(here.keys, named, assume_unique=True)
        rows = here.rows[np.searchsorted(here.keys, candidates)]
        return search_exactly(here.matrix, candidates, rows, vector, limit, allowed)
