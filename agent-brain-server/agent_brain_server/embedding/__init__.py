"""Embedding models: the built-in ONNX model and LlamaIndex integrations.

This module has the location, dimension and fingerprint of the built-in model, which are known without loading it.
"""

import hashlib
from pathlib import Path

from agent_brain_server.support.telemetry import disable_telemetry

disable_telemetry()  # here, because this module is imported before any embedding library

MODEL_DIR = Path(__file__).parent / "minilm"
MODEL_FILES = ("model.onnx", "tokenizer.json")
DIMENSION = 384
MAX_TOKENS = 128  # sequence length of the model's training; nearly twice as fast as 256 at equal quality
FINGERPRINT_DIGITS = 12  # hex digits of SHA-256, enough to distinguish builds of one model


def fingerprint_files(model_dir: Path, max_tokens: int) -> str:
    """Return a short hash over the model's files and its maximum sequence length.

    Args:
        model_dir: Contains the files of `MODEL_FILES`.
        max_tokens: Tokens of a text that the model reads.
    """
    digest = hashlib.sha256(str(max_tokens).encode())
    for name in MODEL_FILES:
        digest.update(hashlib.sha256((model_dir / name).read_bytes()).digest())
    return digest.hexdigest()[:FINGERPRINT_DIGITS]
