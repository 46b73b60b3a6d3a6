"""What a vector search works on: chunks, the rows of their vectors, the matrix; each change replaces it as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from agent_brain_server.storage.chunk_rows import keys_array
from agent_brain_server.storage.coarse_search import CoarseVectors, search_coarsely
from agent_brain_server.storage.exact_search import Rows, search_exactly
from agent_brain_server.types import AllowedChunks, Hit, Keys, Vectors


@dataclass(frozen=True, slots=True)
class VectorSnapshot:
    """Chunks with their vectors at one moment.

    Attributes:
        keys: Chunks, ascending.
        rows: For each chunk the row of its vector.
        matrix: Unit vectors by row.
        coarse: The rows' leading components, where there are so many that they are worth it.
    """

    keys: Keys
    rows: Rows
    matrix: Vectors
    coarse: CoarseVectors | None = None

    def search(self, vector: Vectors, limit: int, allowed: AllowedChunks | None) -> list[Hit]:
        """Return the chunks nearest to a unit vector, the best first; nearly all of them where `coarse` is there."""
        if self.coarse is None:
            return search_exactly(self.matrix, self.keys, self.rows, vector, limit, allowed)
        return search_coarsely(self.coarse, self.matrix, self.keys, self.rows, vector, limit, allowed)

    def without(self, gone: Keys) -> Self:
        """Return the snapshot without some chunks."""
        stay = np.isin(self.keys, gone, invert=True)
        return replace(self, keys=self.keys[stay], rows=self.rows[stay])

    def with_rows(self, added: Mapping[int, int], matrix: Vectors) -> Self:
        """Return the snapshot with chunks added or given another row.

        Args:
            added: Rows by chunk.
            matrix: Holds every row; its first ones are this snapshot's.
        """
        new_keys = keys_array(added)
        new_rows = np.array([added[int(key)] for key in new_keys], dtype=np.int64)
        places = np.searchsorted(self.keys, new_keys)
        is_known = places < len(self.keys)
        is_known[is_known] = self.keys[places[is_known]] == new_keys[is_known]
        rows = self.rows.copy()
        rows[places[is_known]] = new_rows[is_known]
        places, fresh = places[~is_known], ~is_known
        return replace(
            self,
            keys=np.insert(self.keys, places, new_keys[fresh]),
            rows=np.insert(rows, places, new_rows[fresh]),
            matrix=matrix,
            coarse=self.coarse.extended(matrix) if self.coarse else None,
        )
