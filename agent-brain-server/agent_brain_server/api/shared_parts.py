"""What the projects of one server have in common."""

from dataclasses import dataclass
from typing import Self

from agent_brain_server.services.indexing_slots import IndexingSlots
from agent_brain_server.services.metrics import Metrics
from agent_brain_server.services.query_embedder import QueryEmbedder
from agent_brain_server.storage.vector_store import EXACT_LIMIT


@dataclass(frozen=True, slots=True)
class SharedParts:
    """What the bundles of one server have in common."""

    embedder: QueryEmbedder
    metrics: Metrics
    slots: IndexingSlots
    chroma_from: int

    @classmethod
    def make(
        cls,
        embedding_model: str,
        *,
        max_concurrent_indexing: int,
        chroma_from: int = EXACT_LIMIT,
        metrics: Metrics | None = None,
    ) -> Self:
        """Return new parts; nothing heavy is loaded for them.

        Args:
            embedding_model: Name of the model, as in the settings.
            max_concurrent_indexing: Bundles that index at the same time.
            chroma_from: Vectors of a bundle from which on Chroma takes part: with fewer it never answers, and costs
                100 MB and half a second, and each of its writes would hold up everything else.
            metrics: Of the server; new ones where None.
        """
        slots = IndexingSlots(max_concurrent_indexing)
        return cls(QueryEmbedder(embedding_model), metrics or Metrics(), slots, chroma_from)
