"""What the projects of one server have in common."""

from dataclasses import dataclass
from typing import Self

from agent_brain_server.services.indexing_slots import IndexingSlots
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.services.query_embedder import QueryEmbedder
from agent_brain_server.services.side_thread import SideThread


@dataclass(frozen=True, slots=True)
class SharedParts:
    """What the bundles of one server have in common."""

    embedder: QueryEmbedder
    metrics: Metrics
    slots: IndexingSlots
    side_thread: SideThread

    @classmethod
    def make(cls, embedding_model: str, *, max_concurrent_indexing: int, metrics: Metrics | None = None) -> Self:
        """Return new parts; nothing heavy is loaded for them.

        Args:
            embedding_model: Name of the model, as in the settings.
            max_concurrent_indexing: Bundles that index at the same time.
            metrics: Of the server; new ones where None.
        """
        slots = IndexingSlots(max_concurrent_indexing)
        return cls(QueryEmbedder(embedding_model), metrics or Metrics(), slots, SideThread())
