import math

import numpy as np
import pytest
from llama_index.core.embeddings import BaseEmbedding

from agent_brain_server.embedding.embedders import LlamaIndexEmbedder
from agent_brain_server.errors import UnavailableError


class LengthEmbedding(BaseEmbedding):
    """Points in the direction (characters, words, 1): the stand-in for a remote model."""

    def _get_text_embedding(self, text: str) -> list[float]:
        text.encode("utf-8")
        if text == "unreachable":
            raise ConnectionError("refused")
        return [0.0, 0.0, 0.0] if not text else [float(len(text)), float(len(text.split())), 1.0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return [*self._get_text_embedding(query)[:2], -1.0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


@pytest.fixture
def embedder():
    return LlamaIndexEmbedder(LengthEmbedding(embed_batch_size=2), "test:length")


def test_llama_index_embed_returns_unit_vectors_in_order(embedder):
    vectors = embedder.embed(["a b", "ccc", "dd dd dd", "e", "f g h"])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(vectors[0], np.array([3, 2, 1]) / math.sqrt(14), rtol=1e-6)
    np.testing.assert_allclose(vectors[3], np.array([1, 1, 1]) / math.sqrt(3), rtol=1e-6)


def test_llama_index_embeds_query_as_query(embedder):
    (query,) = embedder.embed_queries(["a b"])
    np.testing.assert_allclose(query, np.array([3, 2, -1]) / math.sqrt(14), rtol=1e-6)
    assert embedder.embed_queries([]).shape == (0, 3)
    with pytest.raises(UnavailableError, match="refused"):
        embedder.embed_queries(["unreachable"])


def test_llama_index_name_and_dimension(embedder):
    assert embedder.name == "test:length"
    assert embedder.dimension == 3


def test_embed_no_texts_returns_empty(embedder):
    assert embedder.embed([]).shape == (0, 3)


def test_llama_index_zero_vector_is_finite(embedder):
    assert embedder.embed([""]).tolist() == [[0.0, 0.0, 0.0]]


def test_llama_index_replaces_lone_surrogate(embedder):
    np.testing.assert_array_equal(embedder.embed(["\ud800b"]), embedder.embed(["?b"]))


def test_llama_index_failure_has_model_name(embedder):
    with pytest.raises(UnavailableError, match=r"test:length.*refused") as caught:
        embedder.embed(["fine", "unreachable"])
    assert isinstance(caught.value.__cause__, ConnectionError)
