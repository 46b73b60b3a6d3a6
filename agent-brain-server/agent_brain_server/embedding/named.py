"""Embedders by the name that the settings give: the built-in one, or an integration of LlamaIndex."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from agent_brain_server.embedding import DEFAULT_MODEL
from agent_brain_server.embedding.identity import DIMENSION, MAX_TOKENS, MODEL_DIR, fingerprint_files
from agent_brain_server.embedding.llama_index_model import LlamaIndexEmbedder
from agent_brain_server.errors import ConfigError
from agent_brain_server.types import Embedder

if TYPE_CHECKING:
    from llama_index.core.embeddings import BaseEmbedding

__all__ = ["ALLOWED_NAMES", "DEFAULT_MODEL", "INTEGRATIONS", "ModelIdentity", "identify_model", "open_embedder"]

INTEGRATIONS: Mapping[str, str] = {
    "openai": "OpenAIEmbedding",
    "ollama": "OllamaEmbedding",
    "huggingface": "HuggingFaceEmbedding",
}
"""Prefix of a name: the class in `llama_index.embeddings.<prefix>`; each takes the model's own name as `model_name`."""

ALLOWED_NAMES = ", ".join([DEFAULT_MODEL, *(f"{prefix}:NAME" for prefix in INTEGRATIONS)])


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What a vector store must know of the model that fills it.

    Attributes:
        name: Model and fingerprint of everything that decides about a vector (`all-MiniLM-L6-v2@3f0c…`).
        dimension: Length of a vector.
    """

    name: str
    dimension: int


def identify_model(model: str) -> ModelIdentity:
    """Tell which vectors the model of a name makes; a server with an empty index needs no model in memory.

    The built-in model's files are read (20 ms); a model elsewhere has to be opened and asked.

    Raises:
        ConfigError: The name is not known, or its integration is not installed or refuses to start.
    """
    if model == DEFAULT_MODEL:
        return ModelIdentity(f"{model}@{fingerprint_files(MODEL_DIR, MAX_TOKENS)}", DIMENSION)
    embedder = open_embedder(model)
    return ModelIdentity(embedder.name, embedder.dimension)


def open_embedder(model: str, *, threads: int = 1) -> Embedder:
    """Open the embedder of a name.

    Args:
        model: "all-MiniLM-L6-v2", or the name of an integration and of a model of its ("ollama:nomic-embed-text").
        threads: Texts that the built-in model embeds at the same time.

    Raises:
        ConfigError: The name is not known, or its integration is not installed or refuses to open it.
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
    except Exception as exc:  # each integration has errors of its own, without a common class
        raise ConfigError(f'The embedding model "{prefix}:{name}" cannot be opened: {exc}') from exc
    return model
