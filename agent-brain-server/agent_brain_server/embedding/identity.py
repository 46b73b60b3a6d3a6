"""Which model makes the vectors, told without loading it: a server with an empty index needs no model in memory."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.embedding import DEFAULT_MODEL

MODEL_DIR = Path(__file__).parent / "minilm"
MODEL_FILES = ("model.onnx", "tokenizer.json")
DIMENSION = 384
MAX_TOKENS = 128
"""The length that the model was trained with: nearly twice as fast as 256, and finds as much on the whole."""

FINGERPRINT_DIGITS = 12
"""Of SHA-256: enough to tell builds of one model apart."""


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
    """Tell which vectors the model of a name makes.

    The built-in model's files are read (20 ms); a model elsewhere has to be opened and asked.

    Raises:
        ConfigError: The name is not known, or its integration is not installed or refuses to start.
    """
    if model == DEFAULT_MODEL:
        return ModelIdentity(f"{model}@{fingerprint_files(MODEL_DIR, MAX_TOKENS)}", DIMENSION)
    from agent_brain_server.embedding.named import open_embedder  # noqa: PLC0415 - loads the runtime of a model

    embedder = open_embedder(model)
    return ModelIdentity(embedder.name, embedder.dimension)


def fingerprint_files(model_dir: Path, max_tokens: int) -> str:
    """Return a short hash of a model's files and of how many tokens it reads."""
    digest = hashlib.sha256(str(max_tokens).encode())
    for name in MODEL_FILES:
        digest.update(hashlib.sha256((model_dir / name).read_bytes()).digest())
    return digest.hexdigest()[:FINGERPRINT_DIGITS]
