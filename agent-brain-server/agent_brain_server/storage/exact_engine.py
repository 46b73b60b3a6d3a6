"""The default engine: unit vectors in a memory-mapped file, compared exactly."""

import logging
import os
import re
import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from agent_brain_server.errors import StoreError
from agent_brain_server.models import VectorEngineName
from agent_brain_server.storage.chunk_rows import as_json
from agent_brain_server.storage.database import DAMAGED_CODE, REBUILDABLE_CODES, Database, remove_database
from agent_brain_server.storage.exact_search import PcaPrefilter, Rows, VectorSnapshot
from agent_brain_server.support.state_files import open_file
from agent_brain_server.types import AllowedChunks, Hit, Keys, SyncResult, Vectors

logger = logging.getLogger(__name__)

EXACT_LIMIT = 25_000
"""Vectors up to which a query is compared with all of them: 2 ms. Beyond it, a PCA prefilter comes first."""

MAX_UNUSED_ROWS = 20_000
"""Rows without a chunk that are kept (30 MB), in addition to as many as are used: their texts may come back."""

BYTES_PER_NUMBER = 4
"""Size of a float32. NumPy multiplies float16 a hundred times slower."""

INDEX_NAME = "vectors.sqlite3"
INDEX_VERSION = 3

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE texts (row INTEGER PRIMARY KEY, embed_key TEXT NOT NULL UNIQUE);
CREATE TABLE vectors (key INTEGER PRIMARY KEY, row INTEGER NOT NULL);
"""

MATRIX_PATTERN = "matrix-*.f32"

MATRIX_NAME = re.compile(r"matrix-[0-9a-f]{12}\.f32")
"""Accepted file names of the matrix: a name read from the index must not lead out of the directory."""


class ExactEngine:
    """Vectors in an append-only matrix file, and a row index that says which chunk has which row.

    Equal texts share a row, and rows of deleted chunks are kept for a while, so that a text that comes back need not be
    embedded again. The row index is committed after the matrix: what it does not name does not exist.

    Args:
        directory: Created if it is missing.
        dimension: Length of a vector.
        model: Identifies the embedding model; vectors of another model are deleted.
        store_id: Identifies the document store of the keys. With another store, chunks are deleted and texts kept.

    Raises:
        StoreError: The directory cannot be read or written.
    """

    name: VectorEngineName = "exact"
    fault: StoreError | None = None

    def __init__(self, directory: Path, *, dimension: int, model: str, store_id: str) -> None:
        self._directory = directory
        self._dimension = dimension
        self._lock = threading.RLock()
        identity = {"model": f"{model}/{dimension}", "store_id": store_id}
        self._index = _RowIndex(directory, identity)
        try:
            self._matrix, self._snapshot = self._open_matrix()
        except StoreError as exc:
            self._index.close()
            if exc.code != DAMAGED_CODE:
                raise
            logger.warning("The row index of the vectors is damaged: rebuilding it", exc_info=True)
            remove_database(directory / INDEX_NAME)
            self._index = _RowIndex(directory, identity)
            self._matrix, self._snapshot = self._open_matrix()
        previous = self._index.previous_model
        self.previous_model = None if previous is None else previous.rpartition("/")[0]

    def find_fault(self) -> str | None:
        """Return which file was removed or found damaged since the engine was opened, or `None`."""
        removed = None if self._matrix.path.is_file() else f"{self._matrix.path} was removed"
        return self._index.database.find_fault() or removed

    def cached_vectors(self, embed_keys: Iterable[str]) -> dict[str, Vectors]:
        """Return vectors of texts embedded earlier, by embed key; each has shape (dimension,)."""
        with self._lock:
            rows = self._index.rows_of_texts(embed_keys)
            matrix = self._snapshot.matrix
            return {embed_key: np.array(matrix[row]) for embed_key, row in rows.items() if row < len(matrix)}

    def add(self, keys: Sequence[int], embed_keys: Sequence[str], vectors: Vectors) -> None:
        """Store vectors; equal `embed_keys` share one row."""
        with self._lock:
            known = self._index.rows_of_texts(embed_keys)
            first_new = len(self._snapshot.matrix)
            new: dict[str, int] = {}
            for position, embed_key in enumerate(embed_keys):
                if embed_key not in known and embed_key not in new:
                    new[embed_key] = position
            if new:
                self._matrix.write(first_new, vectors[list(new.values())])
            new_rows = {embed_key: first_new + order for order, embed_key in enumerate(new)}
            row_of = {**known, **new_rows}
            rows = {int(key): row_of[embed_key] for key, embed_key in zip(keys, embed_keys, strict=True)}
            self._index.add(rows, new_rows)
            matrix = self._matrix.view(first_new + len(new)) if new else self._snapshot.matrix
            self._snapshot = self._snapshot.with_rows(rows, matrix)
            if new and len(matrix) > 2 * len(self._snapshot.keys) + MAX_UNUSED_ROWS:
                outgrown = self._matrix
                self._matrix, self._snapshot = self._open_matrix()
                outgrown.close()

    def delete(self, keys: Keys) -> None:
        """Delete chunks; the vectors of their texts are kept."""
        with self._lock:
            self._index.delete(keys)
            self._snapshot = self._snapshot.without(keys)

    def search(self, vector: Vectors, limit: int, allowed: AllowedChunks | None) -> list[Hit]:
        """Return the nearest chunks, best first; see `VectorSnapshot.search`."""
        return self._snapshot.search(vector, limit, allowed)

    def count(self) -> int:
        """Return the number of chunks that have a vector."""
        return len(self._snapshot.keys)

    def sync(self, expected: Keys) -> SyncResult:
        """Delete all other chunks and return the difference."""
        with self._lock:
            present = self._snapshot.keys
            orphans = np.setdiff1d(present, expected, assume_unique=True)
            if len(orphans):
                self.delete(orphans)
            return SyncResult(np.setdiff1d(expected, present, assume_unique=True), orphans)

    def maintain(self) -> bool:
        """Compute the PCA prefilter if the size requires it: half a second at 130,000 rows. No sync is needed."""
        with self._lock:
            here = self._snapshot
            if len(here.keys) > EXACT_LIMIT and (here.prefilter is None or here.prefilter.is_outdated):
                mapping = self._matrix.view(len(here.matrix))  # unmapped afterwards, so that its pages are released
                self._snapshot = replace(here, prefilter=PcaPrefilter.learn(mapping))
        return False

    def clear(self) -> None:
        """Delete all vectors, including those of cached texts."""
        with self._lock:
            self._index.clear()
            self._matrix.close()
            self._matrix, self._snapshot = self._open_matrix()

    def close(self) -> None:
        """Close the files. Safe to call twice."""
        with self._lock:
            self._matrix.close()
            self._index.close()

    def _open_matrix(self) -> tuple["_MatrixFile", VectorSnapshot]:
        """Open the matrix, forget rows beyond its end, and compact it if far too many rows are unused."""
        matrix = self._open_matrix_file(self._index.matrix_name)
        self._index.truncate(matrix.row_count())
        keys, rows = self._index.load()
        used = np.unique(rows)
        if len(used) and self._index.next_row() - len(used) > len(used) + MAX_UNUSED_ROWS:
            matrix = self._compact(matrix, used)
            keys, rows = self._index.load()
        for other in self._directory.glob(MATRIX_PATTERN):
            if other != matrix.path:
                other.unlink(missing_ok=True)
        return matrix, VectorSnapshot(keys, rows, matrix.view(self._index.next_row()))

    def _open_matrix_file(self, name: str) -> "_MatrixFile":
        path = self._directory / name
        try:
            return _MatrixFile(path, self._dimension)
        except OSError as exc:
            raise StoreError(f"Cannot open {path}: {exc.strerror or exc}.") from exc

    def _compact(self, matrix: "_MatrixFile", used: Rows) -> "_MatrixFile":
        """Copy the used rows into another matrix file, and switch to it once it is on disk."""
        smaller = self._open_matrix_file(_new_matrix_name())
        smaller.write(0, matrix.view(matrix.row_count())[used])
        self._index.keep_rows(used.tolist(), smaller.path.name)
        matrix.close()
        return smaller


def has_files(directory: Path) -> bool:
    """Return whether a directory holds the files of an `ExactEngine`."""
    return (directory / INDEX_NAME).is_file()


def remove_files(directory: Path) -> None:
    """Remove the files of an `ExactEngine` that is not open."""
    remove_database(directory / INDEX_NAME)
    for path in directory.glob(MATRIX_PATTERN):
        path.unlink(missing_ok=True)


class _MatrixFile:
    """A file of float32 rows. The row index says which rows are in use; later ones are overwritten.

    Args:
        path: Created if it is missing.
        dimension: Length of a row.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self.path = path
        self._dimension = dimension
        self._row_bytes = dimension * BYTES_PER_NUMBER
        self._descriptor = open_file(path, os.O_RDWR | os.O_CREAT)

    def row_count(self) -> int:
        """Return the number of complete rows in the file."""
        return os.fstat(self._descriptor).st_size // self._row_bytes

    def write(self, first_row: int, vectors: Vectors) -> None:
        """Write rows; on return they are on disk.

        Raises:
            StoreError: The disk is full or fails.
        """
        data = memoryview(np.asarray(vectors, dtype=np.float32).tobytes())
        offset = first_row * self._row_bytes
        try:
            while data:
                written = os.pwrite(self._descriptor, data, offset)
                data, offset = data[written:], offset + written
            os.fdatasync(self._descriptor)
        except OSError as exc:
            raise StoreError(f"Cannot write {self.path}: {exc.strerror}.") from exc

    def view(self, rows: int) -> Vectors:
        """Return the first rows without copying them; the view stays valid when the file grows or is closed."""
        if rows == 0:
            return np.empty((0, self._dimension), dtype=np.float32)
        return np.memmap(self.path, dtype=np.float32, mode="r", shape=(rows, self._dimension))

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _RowIndex:
    """Index of the matrix: the row of each chunk, and the text that each row was made of.

    Args:
        directory: Holds the database; one that is damaged or of another version is replaced by an empty one.
        identity: `model` and `store_id`, compared with those of the existing index.
    """

    def __init__(self, directory: Path, identity: dict[str, str]) -> None:
        self.database = _open_database(directory / INDEX_NAME)
        self._identity = identity
        known = {key: self.database.get_meta(key) for key in identity}
        self.previous_model = known["model"] if known["model"] != identity["model"] else None
        if self.previous_model or not self.matrix_name:
            self.clear()
        elif known["store_id"] != identity["store_id"]:
            self._forget_chunks()

    @property
    def matrix_name(self) -> str:
        """File name of the matrix, which changes with `clear` and `keep_rows`; empty if there is none."""
        name = self.database.get_meta("matrix_name") or ""
        return name if MATRIX_NAME.fullmatch(name) else ""

    def clear(self) -> None:
        """Forget every row."""
        meta = self._identity | {"matrix_name": _new_matrix_name()}
        with self.database.writing() as connection:
            for table in ("texts", "vectors", "meta"):
                connection.execute(f"DELETE FROM {table}")
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())

    def _forget_chunks(self) -> None:
        with self.database.writing() as connection:
            connection.execute("DELETE FROM vectors")
            connection.executemany("REPLACE INTO meta VALUES (?, ?)", self._identity.items())

    def keep_rows(self, kept: Sequence[int], matrix_name: str) -> None:
        """Renumber the kept rows from 0, in order, forget all others, and switch to another matrix file."""
        new_row = {old: new for new, old in enumerate(kept)}
        with self.database.writing() as connection:
            texts = connection.execute("SELECT row, embed_key FROM texts").fetchall()
            vectors = connection.execute("SELECT key, row FROM vectors").fetchall()
            connection.execute("DELETE FROM texts")
            kept_texts = [(new_row[row], embed_key) for row, embed_key in texts if row in new_row]
            connection.executemany("INSERT INTO texts VALUES (?, ?)", kept_texts)
            connection.executemany("REPLACE INTO vectors VALUES (?, ?)", [(key, new_row[row]) for key, row in vectors])
            connection.execute("UPDATE meta SET value = ? WHERE key = 'matrix_name'", (matrix_name,))

    def truncate(self, row_count: int) -> None:
        """Forget all references to rows beyond the end of the matrix."""
        with self.database.writing() as connection:
            connection.execute("DELETE FROM texts WHERE row NOT BETWEEN 0 AND ?", (row_count - 1,))
            connection.execute("DELETE FROM vectors WHERE row NOT IN (SELECT row FROM texts)")

    def next_row(self) -> int:
        """Return the number of the first free row."""
        with self.database.reading() as connection:
            return int(connection.execute("SELECT coalesce(max(row) + 1, 0) FROM texts").fetchone()[0])

    def rows_of_texts(self, embed_keys: Iterable[str]) -> dict[str, int]:
        """Return the rows of texts that were embedded before, by embed key."""
        query = "SELECT embed_key, row FROM texts WHERE embed_key IN (SELECT value FROM json_each(?))"
        with self.database.reading() as connection:
            return dict(connection.execute(query, (as_json(embed_keys),)))

    def add(self, rows: dict[int, int], new_texts: dict[str, int]) -> None:
        """Assign rows to chunks, after the rows of new texts were written."""
        with self.database.writing() as connection:
            texts = [(row, embed_key) for embed_key, row in new_texts.items()]
            connection.executemany("REPLACE INTO texts VALUES (?, ?)", texts)
            connection.executemany("REPLACE INTO vectors VALUES (?, ?)", rows.items())

    def delete(self, keys: Iterable[int]) -> None:
        """Forget chunks; the rows of their texts stay."""
        rows = [(int(key),) for key in keys]
        with self.database.writing() as connection:
            connection.executemany("DELETE FROM vectors WHERE key = ?", rows)

    def load(self) -> tuple[Keys, Rows]:
        """Return the keys of all chunks, ascending, and their rows."""
        with self.database.reading() as connection:
            pairs = connection.execute("SELECT key, row FROM vectors ORDER BY key").fetchall()
        try:
            both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        except (OverflowError, TypeError, ValueError) as exc:  # SQLite does not enforce column types
            raise StoreError(f"The row index of the vectors is damaged: {exc}.", code=DAMAGED_CODE) from exc
        return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def _open_database(path: Path) -> Database:
    try:
        return Database(path, schema=SCHEMA, version=INDEX_VERSION)
    except StoreError as exc:
        if exc.code not in REBUILDABLE_CODES:
            raise
        logger.warning("The row index of the vectors is damaged or of another version: rebuilding it", exc_info=True)
        remove_database(path)
        return Database(path, schema=SCHEMA, version=INDEX_VERSION)


def _new_matrix_name() -> str:
    return f"matrix-{uuid.uuid4().hex[:12]}.f32"
