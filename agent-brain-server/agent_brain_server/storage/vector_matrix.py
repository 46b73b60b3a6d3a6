"""Unit vectors in one append-only file, mapped into memory: exact cosine similarity by one multiplication."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent_brain_server.errors import StoreError
from agent_brain_server.support.state_files import open_file
from agent_brain_server.types import Vectors

BYTES_PER_NUMBER = 4
"""Of float32: half of it would do for the ranking, and numpy multiplies float16 a hundred times slower."""


class VectorMatrix:
    """A file of float32 rows. Which of them count is remembered elsewhere; what lies beyond is written over.

    Args:
        path: The file; made where it is missing.
        dimension: Length of a row.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self.path = path
        self.dimension = dimension
        self._row_bytes = dimension * BYTES_PER_NUMBER
        self._descriptor = open_file(path, os.O_RDWR | os.O_CREAT)

    def rows_on_disk(self) -> int:
        """Return how many whole rows the file has."""
        return os.fstat(self._descriptor).st_size // self._row_bytes

    def write(self, first_row: int, vectors: Vectors) -> None:
        """Write rows, and return when they are on disk.

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
            raise StoreError(f"{self.path} cannot be written: {exc.strerror}.") from exc

    def view(self, rows: int) -> Vectors:
        """Return the first rows without copying them; the view stays valid when the file grows."""
        if rows == 0:
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.memmap(self.path, dtype=np.float32, mode="r", shape=(rows, self.dimension))

    def read(self, rows: Sequence[int]) -> Vectors:
        """Return copies of rows by number, without mapping the pages that they lie on into this process."""
        data = b"".join(os.pread(self._descriptor, self._row_bytes, row * self._row_bytes) for row in rows)
        return np.frombuffer(data, dtype=np.float32).reshape(-1, self.dimension)

    def close(self) -> None:
        """Close the file; views stay valid."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
