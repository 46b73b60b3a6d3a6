"""What the projects of one server have in common."""

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from agent_brain_server.services.indexing_slots import IndexingSlots
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.services.query_embedder import QueryEmbedder

SIDE_THREADS = 4
"""Vector sides of questions that run at once; made when they are first needed, and more than that only take turns."""


@dataclass(frozen=True, slots=True)
class SharedParts:
    """What the bundles of one server have in common."""

    embedder: QueryEmbedder
    metrics: Metrics
    slots: IndexingSlots
    side_runner: Executor

    @classmethod
    def make(cls, embedding_model: str, *, max_concurrent_indexing: int, metrics: Metrics | None = None) -> Self:
        """Return new parts; nothing heavy is loaded for them.

        Args:
            embedding_model: Name of the model, as in the settings.
            max_concurrent_indexing: Bundles that index at the same time.
            metrics: Of the server; new ones where None.
        """
        side_runner = ThreadPoolExecutor(SIDE_THREADS, "vector-side")
        slots = IndexingSlots(max_concurrent_indexing)
        return cls(QueryEmbedder(embedding_model), metrics or Metrics(), slots, side_runner)
