"""Nearest neighbours among the rows of a matrix: brute force, with a PCA prefilter for large matrices.

Vectors of a language model lie close to a subspace. Of 134,000 vectors that MiniLM made of chunks of code, the 96
components with the largest second moments hold 80 % of the squared length. The prefilter compares these components
only, a quarter of the numbers, and rescores the best candidates exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from agent_brain_server.storage.chunk_rows import keys_array
from agent_brain_server.types import AllowedChunks, Hit, Keys, Vectors

Rows = npt.NDArray[np.int64]
"""Shape (n,), row numbers of the matrix."""

PICKED_ROW_COST = 6
"""Rows compared in file order in the time that one row takes which is picked individually."""

MAX_COSINE = 1.01
"""Largest cosine of two unit vectors, with room for rounding; a larger one means a damaged row."""

UNIT_TOLERANCE = 1e-3
"""Accepted difference of a squared length from 1: rounding to float32 causes 1e-6, damage far more."""

COMPONENTS = 96
"""Finds 99.7 % of the ten nearest among 134,000; 64 find 98.9 %, 128 find 99.8 % in a quarter more time."""

RESCORED = 2_000
"""Candidates rescored exactly: finds 99.3 % of the 150 nearest; 500 find 95 %, 4,000 find 99.7 %."""

SAMPLE_ROWS = 20_000
"""Evenly spaced rows that the components are computed from: takes 50 ms, and more rows change nothing."""

BLOCK_ROWS = 8_192
"""Rows projected at a time: 12 MB."""

SPARE = 1.25
"""Capacity of the components' memory relative to its size, so that most additions copy nothing."""


def search_brute_force(
    matrix: Vectors, keys: Keys, rows: Rows, vector: Vectors, limit: int, allowed: AllowedChunks | None
) -> list[Hit]:
    """Return the chunks nearest to a unit vector, best first; equal scores are ordered by key.

    Rows that were damaged on disk are left out.

    Args:
        matrix: Unit vectors by row.
        keys: Chunk keys, ascending.
        rows: For each chunk, the row of its vector.
        vector: Shape (dimension,).
        limit: Maximum number of hits.
        allowed: Restricts the result; `None` allows all chunks.
    """
    keys, rows = select_allowed(keys, rows, allowed)
    if not len(keys):
        return []
    with np.errstate(all="ignore"):  # a damaged row may hold any bit pattern
        scores = matrix[rows] @ vector if len(rows) * PICKED_ROW_COST < len(matrix) else (matrix @ vector)[rows]
    best = np.argpartition(-scores, limit - 1)[:limit] if limit < len(scores) else np.arange(len(scores))
    best = best[np.abs(scores[best]) <= MAX_COSINE]  # excludes NaN too
    best = best[np.lexsort((keys[best], -scores[best]))]
    return list(map(Hit, keys[best].tolist(), scores[best].tolist()))


def select_allowed(keys: Keys, rows: Rows, allowed: AllowedChunks | None) -> tuple[Keys, Rows]:
    """Return the allowed chunks and their rows; `None` allows all."""
    if allowed is None:
        return keys, rows
    chosen = np.flatnonzero(np.isin(keys, allowed.keys, assume_unique=True))
    return keys[chosen], rows[chosen]


@dataclass(frozen=True, slots=True)
class PcaPrefilter:
    """The leading principal components of the matrix's rows, in memory. Immutable; `extended` returns a larger one.

    Attributes:
        basis: Orthonormal columns, shape (dimension, components).
        values: Shape (components, rows): contiguous by component, which is half as fast again to read.
        memory: Array of which `values` is the beginning, with capacity for more rows.
        learned_rows: Number of rows when the basis was computed.
    """

    basis: Vectors
    values: Vectors
    memory: Vectors
    learned_rows: int

    @classmethod
    def learn(cls, matrix: Vectors) -> Self:
        """Compute the components of a matrix and project its rows onto them.

        Args:
            matrix: Unit vectors by row; damaged rows are not used for the basis.
        """
        sample = np.array(matrix[:: max(1, len(matrix) // SAMPLE_ROWS)])
        with np.errstate(all="ignore"):
            lengths = np.einsum("ij,ij->i", sample, sample)
        sample = sample[np.abs(lengths - 1) <= UNIT_TOLERANCE]
        _, directions = np.linalg.eigh(sample.T @ sample)  # ascending
        basis = np.ascontiguousarray(directions[:, ::-1][:, :COMPONENTS], dtype=np.float32)
        empty = np.empty((basis.shape[1], 0), dtype=np.float32)
        return cls(basis, empty, empty, len(matrix)).extended(matrix)

    @property
    def is_outdated(self) -> bool:
        """Whether most rows were added after the basis was computed, so that it may not fit them."""
        return bool(self.values.shape[1] > 2 * self.learned_rows)

    def extended(self, matrix: Vectors) -> Self:
        """Return a prefilter that includes the rows added to the matrix; for one thread at a time."""
        known, total = self.values.shape[1], len(matrix)
        memory = self.memory
        if total > memory.shape[1]:
            memory = np.empty((self.basis.shape[1], int(total * SPARE)), dtype=np.float32)
            memory[:, :known] = self.values
        for first in range(known, total, BLOCK_ROWS):
            last = min(first + BLOCK_ROWS, total)
            with np.errstate(all="ignore"):
                memory[:, first:last] = (matrix[first:last] @ self.basis).T
        return type(self)(self.basis, memory[:, :total], memory, self.learned_rows)

    def select(self, keys: Keys, rows: Rows, vector: Vectors, count: int) -> tuple[Keys, Rows]:
        """Return the `count` chunks with the best approximate scores, and their rows, in the order of `keys`."""
        scores = np.matmul(vector @ self.basis, self.values, dtype=np.float32)[rows]
        best = np.argpartition(scores, -count)[-count:]
        best.sort()
        return keys[best], rows[best]


@dataclass(frozen=True, slots=True)
class VectorSnapshot:
    """The searchable vectors at one moment. Immutable; each change returns another snapshot.

    Attributes:
        keys: Chunk keys, ascending.
        rows: For each chunk, the row of its vector.
        matrix: Unit vectors by row.
        prefilter: `None` for small matrices.
    """

    keys: Keys
    rows: Rows
    matrix: Vectors
    prefilter: PcaPrefilter | None = None

    def search(self, vector: Vectors, limit: int, allowed: AllowedChunks | None) -> list[Hit]:
        """Return the chunks nearest to a unit vector, best first.

        Scores are exact. With a prefilter, a few per mille of the nearest chunks may be missed.
        """
        keys, rows = select_allowed(self.keys, self.rows, allowed)
        rescored = max(RESCORED, 2 * limit)
        if self.prefilter is not None and len(keys) > rescored:
            keys, rows = self.prefilter.select(keys, rows, vector, rescored)
        return search_brute_force(self.matrix, keys, rows, vector, limit, None)

    def without(self, deleted: Keys) -> Self:
        """Return the snapshot without some chunks."""
        kept = np.isin(self.keys, deleted, invert=True)
        return replace(self, keys=self.keys[kept], rows=self.rows[kept])

    def with_rows(self, added: Mapping[int, int], matrix: Vectors) -> Self:
        """Return the snapshot with chunks added or assigned to another row.

        Args:
            added: Row by chunk key.
            matrix: Holds every row, and begins with the rows of this snapshot's matrix.
        """
        new_keys = keys_array(added)
        new_rows = np.array([added[int(key)] for key in new_keys], dtype=np.int64)
        positions = np.searchsorted(self.keys, new_keys)
        is_known = positions < len(self.keys)
        is_known[is_known] = self.keys[positions[is_known]] == new_keys[is_known]
        rows = self.rows.copy()
        rows[positions[is_known]] = new_rows[is_known]
        positions, is_new = positions[~is_known], ~is_known
        return replace(
            self,
            keys=np.insert(self.keys, positions, new_keys[is_new]),
            rows=np.insert(rows, positions, new_rows[is_new]),
            matrix=matrix,
            prefilter=self.prefilter.extended(matrix) if self.prefilter else None,
        )
