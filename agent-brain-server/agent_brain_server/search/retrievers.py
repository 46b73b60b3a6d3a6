"""What the query path needs of the two indexes, so that it imports neither."""

from typing import Protocol

from agent_brain_server.types import AllowedChunks, Hit, Vectors


class KeywordIndex(Protocol):
    """Finds chunks by the words of a query."""

    def search(self, query: str, limit: int, allowed: AllowedChunks | None = None) -> list[Hit]:
        """Return the best chunks by BM25, the best first."""


class VectorIndex(Protocol):
    """Finds chunks by the vector of a query."""

    def search(self, vector: Vectors, limit: int, allowed: AllowedChunks | None = None) -> list[Hit]:
        """Return the nearest chunks by cosine, the best first."""

    def count(self) -> int:
        """Return how many chunks have a vector."""
