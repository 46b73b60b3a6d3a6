"""Open an embedding model by the name in the settings: the built-in model or a LlamaIndex integration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from agent_brain_server.embedding import DIMENSION, MAX_TOKENS, MODEL_DIR, fingerprint_files
from agent_brain_server.errors import ConfigError, UnavailableError
from agent_brain_server.models import DEFAULT_MODEL
from agent_brain_server.support.text import replace_surrogates
from agent_brain_server.types import Embedder, Vectors

if TYPE_CHECKING:
    from llama_index.core.embeddings import BaseEmbedding

INTEGRATIONS: Mapping[str, str] = {
    "openai": "OpenAIEmbedding",
    "ollama": "OllamaEmbedding",
    "huggingface": "HuggingFaceEmbedding",
}
"""Prefix of a model name to the class in `llama_index.embeddings.<prefix>`; each accepts `model_name`."""

ALLOWED_NAMES = ", ".join([DEFAULT_MODEL, *(f"{prefix}:NAME" for prefix in INTEGRATIONS)])

MIN_NORM = 1e-12  # keeps a zero vector zero instead of NaN


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Identity of an embedding model, stored with its vectors.

    Attributes:
        name: Model name; for the built-in model with a fingerprint of its files (`all-MiniLM-L6-v2@3f0c…`).
        dimension: Length of a vector.
    """

    name: str
    dimension: int


def identify_model(model: str) -> ModelIdentity:
    """Return the identity of a model, without loading the built-in one.

    Hashing the built-in model's files takes 20 ms. Other models are opened and embed one word.

    Args:
        model: Model name as in the settings, see `open_embedder`.

    Raises:
        ConfigError: The name is unknown, or the integration is not installed or cannot be opened.
        UnavailableError: The model does not answer.
    """
    if model == DEFAULT_MODEL:
        return ModelIdentity(f"{model}@{fingerprint_files(MODEL_DIR, MAX_TOKENS)}", DIMENSION)
    embedder = open_embedder(model)
    return ModelIdentity(embedder.name, embedder.dimension)


def open_embedder(model: str, *, threads: int = 1) -> Embedder:
    """Open an embedding model.

    Args:
        model: `all-MiniLM-L6-v2`, or an integration and its model name (`ollama:nomic-embed-text`).
        threads: Number of texts that the built-in model embeds in parallel.

    Raises:
        ConfigError: The name is unknown, or the integration is not installed or cannot be opened.
    """
    if model == DEFAULT_MODEL:
        from agent_brain_server.embedding.onnx_model import OnnxEmbedder  # noqa: PLC0415 - loads ONNX Runtime

        return OnnxEmbedder(threads=threads)
    prefix, _, name = model.partition(":")
    if prefix not in INTEGRATIONS or not name:
        raise ConfigError(f"The embedding model {model!r} is not known.", hint=f"Allowed are: {ALLOWED_NAMES}.")
    return LlamaIndexEmbedder(_open_integration(prefix, name), model)


def _open_integration(prefix: str, name: str) -> "BaseEmbedding":
    try:
        module = import_module(f"llama_index.embeddings.{prefix}")
    except ImportError as exc:
        raise ConfigError(
            f'The embedding model "{prefix}:{name}" needs a package that is not installed ({exc}).',
            hint=f"Install it with: pip install llama-index-embeddings-{prefix}",
        ) from exc
    try:
        model: BaseEmbedding = getattr(module, INTEGRATIONS[prefix])(model_name=name)
    except Exception as exc:  # boundary: integrations have no common error class
        raise ConfigError(f'The embedding model "{prefix}:{name}" cannot be opened: {exc}') from exc
    return model


class LlamaIndexEmbedder:
    """Adapt a LlamaIndex embedding model to the `Embedder` protocol.

    Args:
        model: An open LlamaIndex model.
        name: Model name as in the settings; vectors of another name are embedded again.
    """

    def __init__(self, model: "BaseEmbedding", name: str) -> None:
        self._model = model
        self._name = name
        self._dimension: int | None = None

    @property
    def name(self) -> str:
        """Model name as in the settings."""
        return self._name

    @property
    def dimension(self) -> int:
        """Length of a vector; the first access embeds one word."""
        if self._dimension is None:
            self._dimension = self.embed(["dimension"]).shape[1]
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per document text, in order: shape (len(texts), dimension).

        Raises:
            UnavailableError: The model does not answer.
        """
        return self._embed(self._model.get_text_embedding_batch, texts)

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        """Return one unit vector per query, in order: shape (len(queries), dimension).

        Raises:
            UnavailableError: The model does not answer.
        """
        return self._embed(lambda texts: [self._model.get_query_embedding(text) for text in texts], queries)

    def _embed(self, call: Callable[[list[str]], list[list[float]]], texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        try:
            rows = call([replace_surrogates(text) for text in texts])
        except Exception as exc:  # boundary: integrations have no common error class
            raise UnavailableError(
                f"The embedding model {self._name!r} did not answer: {exc}",
                hint="Check that its service is reachable and its key is set.",
            ) from exc
        vectors = np.asarray(rows, dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Vectors = vectors / np.maximum(norms, np.float32(MIN_NORM))
        return unit
