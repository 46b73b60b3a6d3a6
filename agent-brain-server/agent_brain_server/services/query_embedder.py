"""The query's own vector: the model opened at the first question, the vectors of recent questions kept."""

import threading
from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from agent_brain_server.support.tokens import find_subject
from agent_brain_server.types import Embedder

CACHED_QUERIES = 256
"""Agents repeat and page their questions; 256 vectors of 384 floats are 400 KB."""


class QueryEmbedder:
    """Embeds questions, from any thread.

    Args:
        model: Name of the embedding model, as in the settings.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._opening = threading.Lock()
        self._embedder: Embedder | None = None
        self._recent: OrderedDict[str, npt.NDArray[np.float32]] = OrderedDict()
        self._recent_lock = threading.Lock()

    def embed(self, query: str) -> npt.NDArray[np.float32]:
        """Return the query's unit vector; of several lines, between that of all of them and that of the first.

        Raises:
            ConfigError: The model cannot be opened.
        """
        with self._recent_lock:
            known = self._recent.get(query)
            if known is not None:
                self._recent.move_to_end(query)
                return known
        vector = self._embed_lines(query)
        with self._recent_lock:
            self._recent[query] = vector
            while len(self._recent) > CACHED_QUERIES:
                self._recent.popitem(last=False)
        return vector

    def _embed_lines(self, query: str) -> npt.NDArray[np.float32]:
        subject = find_subject(query)
        vectors = self.open().embed_queries([query] if subject is None else [query, subject])
        vector: npt.NDArray[np.float32] = vectors.sum(axis=0)
        return vector if subject is None else vector / np.linalg.norm(vector)

    def open(self) -> Embedder:
        """Load the model if it is not; takes a third of a second and some 80 MB the first time."""
        with self._opening:
            if self._embedder is None:
                from agent_brain_server.embedding.named import open_embedder  # noqa: PLC0415 - only with vectors

                self._embedder = open_embedder(self._model)
            return self._embedder
