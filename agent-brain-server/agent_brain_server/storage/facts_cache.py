"""What ranking needs of chunks, remembered between questions: reading it costs more than ranking does."""

from agent_brain_server.types import ChunkMetadata

MAX_CACHED_FACTS = 50_000
"""Some 15 MB; a question looks at 300 chunks, and the next ones about the same part of a project at many of these."""


class FactsCache:
    """Facts by key, of one state of the store at a time. Any thread reads and fills."""

    def __init__(self) -> None:
        self._kept: tuple[int, dict[int, ChunkMetadata]] = (0, {})

    def at(self, generation: int) -> dict[int, ChunkMetadata]:
        """Return what is remembered of a state of the store, to be read and added to.

        Args:
            generation: Taken before what is added was read: what a later change left then is never kept beyond it.
        """
        kept = self._kept
        if kept[0] != generation or len(kept[1]) > MAX_CACHED_FACTS:
            kept = self._kept = (generation, {})
        return kept[1]
