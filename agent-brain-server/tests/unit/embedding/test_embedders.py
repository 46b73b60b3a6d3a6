"""Resolving model names, model identity, and LlamaIndex models."""

import math
import subprocess
import sys

import numpy as np
import pytest
from llama_index.core.embeddings import BaseEmbedding

from agent_brain_server.embedding.embedders import (
    INTEGRATIONS,
    LlamaIndexEmbedder,
    identify_model,
    open_embedder,
)
from agent_brain_server.embedding.onnx_model import OnnxEmbedder
from agent_brain_server.errors import ConfigError, UnavailableError
from agent_brain_server.models import DEFAULT_MODEL

HEAVY = {"onnxruntime", "tokenizers", "llama_index", "chromadb", "torch"}


def test_open_embedder_default_is_built_in():
    embedder = open_embedder(DEFAULT_MODEL, threads=2)
    assert embedder.name.startswith(DEFAULT_MODEL)
    assert embedder.embed(["lock", "key"]).shape == (2, embedder.dimension)


@pytest.mark.parametrize("prefix", INTEGRATIONS)
def test_open_embedder_missing_integration_names_package(prefix):
    with pytest.raises(ConfigError, match=f"{prefix}:some-model") as caught:
        open_embedder(f"{prefix}:some-model")
    assert f"pip install llama-index-embeddings-{prefix}" in caught.value.hint


@pytest.mark.parametrize("name", ["", "word2vec", "openai", "openai:", "cohere:x", ":x", "all-minilm-l6-v2"])
def test_open_embedder_unknown_name_lists_allowed(name):
    with pytest.raises(ConfigError, match="not known") as caught:
        open_embedder(name)
    assert DEFAULT_MODEL in caught.value.hint
    assert "ollama:NAME" in caught.value.hint


def test_open_embedder_integration_failure_raises(tmp_path, monkeypatch):
    package = tmp_path / "refusing_integration.py"
    package.write_text(
        "class OllamaEmbedding:\n    def __init__(self, model_name): raise RuntimeError('no ' + model_name)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import refusing_integration

    monkeypatch.setitem(sys.modules, "llama_index.embeddings.ollama", refusing_integration)
    with pytest.raises(ConfigError, match="no nomic"):
        open_embedder("ollama:nomic")


@pytest.mark.process
@pytest.mark.parametrize("module", ["agent_brain_server.embedding", "agent_brain_server.embedding.embedders"])
def test_import_embedders_loads_no_runtime(module):
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_identify_model_equals_open_model():
    embedder = OnnxEmbedder()
    identity = identify_model(DEFAULT_MODEL)
    assert (identity.name, identity.dimension) == (embedder.name, embedder.dimension)


def test_identify_model_unknown_name_raises():
    with pytest.raises(ConfigError, match="word2vec"):
        identify_model("word2vec")


@pytest.mark.process
def test_identify_model_loads_no_runtime():
    code = (
        "import sys; from agent_brain_server.embedding.embedders import identify_model;"
        f"identify_model({DEFAULT_MODEL!r}); print('onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


class LengthEmbedding(BaseEmbedding):
    """Fake remote model: the vector of a text is (characters, words, 1)."""

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
