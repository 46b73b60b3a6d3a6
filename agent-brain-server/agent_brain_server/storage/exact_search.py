"""Exact cosine similarity over the rows of the vector matrix, and which of them are unit vectors."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agent_brain_server.types import AllowedChunks, Hit, Keys, Vectors

Rows = npt.NDArray[np.int64]
"""Shape (n,), row numbers of the matrix."""

PICKED_ROW_COST = 6
"""Rows that are compared in file order in the time that one takes which is picked out."""

UNIT_TOLERANCE = 1e-3
"""How far a row's squared length may be from 1: float32 rounds to 1e-6, and a change that matters is far larger."""

SCORE_TOLERANCE = 0.01
"""How far another index's score may be off: rounding moves it by 1e-6, and a changed vector by more than this."""

MAX_COSINE = 1.01
"""Of two unit vectors the cosine is 1 at most, and a little for rounding; more comes from damage."""


def find_unsound_rows(matrix: Vectors) -> Rows:
    """Return the rows that are no unit vectors: damaged, or never written.

    A changed sign or last digit is not seen, and moves a score by less than the ranking notices.
    """
    with np.errstate(all="ignore"):  # what is damaged may be anything
        lengths = np.einsum("ij,ij->i", matrix, matrix)
    return np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))


def search_exactly(
    matrix: Vectors, keys: Keys, rows: Rows, vector: Vectors, limit: int, allowed: AllowedChunks | None
) -> list[Hit]:
    """Return the chunks nearest to a unit vector by comparing it with every allowed one.

    Args:
        matrix: Unit vectors by row.
        keys: Chunks, ascending.
        rows: For each chunk the row of its vector.
        vector: Shape (dimension,).
        limit: Most hits to return.
        allowed: What the answer may hold; None for everything.

    Returns:
        The hits, the best first; a row that was damaged since it was checked is none.
    """
    keys, rows = choose_allowed(keys, rows, allowed)
    if not len(keys):
        return []
    scores = matrix[rows] @ vector if len(rows) * PICKED_ROW_COST < len(matrix) else (matrix @ vector)[rows]
    best = np.argpartition(-scores, limit - 1)[:limit] if limit < len(scores) else np.arange(len(scores))
    best = best[np.abs(scores[best]) <= MAX_COSINE]  # no number at all is left out as well
    best = best[np.lexsort((keys[best], -scores[best]))]
    return list(map(Hit, keys[best].tolist(), scores[best].tolist()))


def choose_allowed(keys: Keys, rows: Rows, allowed: AllowedChunks | None) -> tuple[Keys, Rows]:
    """Return the chunks that an answer may hold, and their rows; None allows all."""
    if allowed is None:
        return keys, rows
    chosen = np.flatnonzero(np.isin(keys, allowed.keys, assume_unique=True))
    return keys[chosen], rows[chosen]


def is_true_to(matrix: Vectors, keys: Keys, rows: Rows, vector: Vectors, hits: Sequence[Hit]) -> bool:
    """Whether another index gives chunks the scores that they have; chunks that are not there any more don't count.

    Args:
        matrix: Unit vectors by row.
        keys: Chunks, ascending.
        rows: For each chunk the row of its vector.
        vector: What was searched for, shape (dimension,).
        hits: What the other index answered.
    """
    told = {hit.key: hit.score for hit in hits}
    known, places, _ = np.intersect1d(keys, np.fromiter(told, np.int64), assume_unique=True, return_indices=True)
    expected = np.array([told[key] for key in known.tolist()], dtype=np.float32)
    return bool(np.all(np.abs(matrix[rows[places]] @ vector - expected) <= SCORE_TOLERANCE))
