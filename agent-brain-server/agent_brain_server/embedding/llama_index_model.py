"""An embedding model of LlamaIndex as an `Embedder`.

Nothing of LlamaIndex is imported here: the model is given, already open.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from agent_brain_server.embedding.identity import replace_surrogates
from agent_brain_server.errors import UnavailableError
from agent_brain_server.types import Vectors

if TYPE_CHECKING:
    from llama_index.core.embeddings import BaseEmbedding

SHORTEST_NORM = 1e-12  # a vector of zeros stays one instead of becoming NaN


class LlamaIndexEmbedder:
    """Any LlamaIndex embedding model as an `Embedder`.

    Asking for the dimension embeds one word, once.

    Args:
        model: The LlamaIndex model.
        name: Identifies it; a change of name is a change of model.
    """

    def __init__(self, model: "BaseEmbedding", name: str) -> None:
        self._model = model
        self._name = name
        self._dimension: int | None = None

    @property
    def name(self) -> str:
        """The name that it was opened by."""
        return self._name

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        if self._dimension is None:
            self._dimension = self.embed(["dimension"]).shape[1]
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per document text, in order: shape (len(texts), dimension).

        Raises:
            UnavailableError: The model did not answer.
        """
        return self._embed(self._model.get_text_embedding_batch, texts)

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        """Return one unit vector per query, in order: shape (len(queries), dimension).

        Raises:
            UnavailableError: The model did not answer.
        """
        return self._embed(lambda texts: [self._model.get_query_embedding(text) for text in texts], queries)

    def _embed(self, ask: Callable[[list[str]], list[list[float]]], texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        try:
            rows = ask([replace_surrogates(text) for text in texts])
        except Exception as exc:  # each integration has errors of its own, without a common class
            raise UnavailableError(
                f"The embedding model {self._name!r} did not answer: {exc}",
                hint="Check that its service is reachable and its key is set.",
            ) from exc
        vectors = np.asarray(rows, dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Vectors = vectors / np.maximum(norms, np.float32(SHORTEST_NORM))
        return unit
