"""The built-in embedder: all-MiniLM-L6-v2 (Reimers & Gurevych 2019), quantized to int8, on ONNX Runtime.

Each run takes one text. This avoids padding, and it makes a text's vector independent of the other texts of a batch:
dynamic int8 quantization scales a whole run by its largest value. Texts are distributed over threads; ONNX Runtime
releases the interpreter lock while it computes.
"""

import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, SessionOptions
from tokenizers import Tokenizer

from agent_brain_server.embedding import DIMENSION, MAX_TOKENS, MODEL_DIR, MODEL_FILES, fingerprint_files
from agent_brain_server.errors import StoreError
from agent_brain_server.models import DEFAULT_MODEL
from agent_brain_server.support.text import replace_surrogates
from agent_brain_server.types import Vectors

CHARACTERS_PER_TOKEN = 32  # upper bound for truncating before tokenizing; code has 3 to 4, spaces included
SLOW_FUSION = "SkipLayerNormFusion"  # its kernel is slower than the separate addition and normalization
CPU_INFO = Path("/proc/cpuinfo")


def lacks_int8_dot_product(machine: str, cpu_info: str) -> bool:
    """Return whether int8 products can saturate: x86 without VNNI adds pairs of products in 16 bits.

    Args:
        machine: Processor family as returned by `platform.machine()`.
        cpu_info: Content of `/proc/cpuinfo`; returns `False` if empty.
    """
    return machine == "x86_64" and "flags" in cpu_info and "vnni" not in cpu_info


def _read_cpu_info() -> str:
    return CPU_INFO.read_text(encoding="utf-8", errors="replace") if CPU_INFO.exists() else ""


def _open_session(path: Path) -> InferenceSession:
    options = SessionOptions()
    options.intra_op_num_threads = 1  # threads process whole texts, without a barrier in each operator
    options.inter_op_num_threads = 1
    if lacks_int8_dot_product(platform.machine(), _read_cpu_info()):
        options.add_session_config_entry("session.x64quantprecision", "1")  # exact, at half the speed
    return InferenceSession(str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=[SLOW_FUSION])


def _open_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


class OnnxEmbedder:
    """Embed texts with a model directory made by `scripts/build_embedding_model.py`. Thread-safe.

    Args:
        threads: Number of texts that one call embeds in parallel.
        max_tokens: Tokens of a text that are read, at most 512; the rest is ignored.
        model_dir: Contains `model.onnx` and `tokenizer.json`.

    Raises:
        StoreError: A file of the model is missing.
    """

    def __init__(self, *, threads: int = 1, max_tokens: int = MAX_TOKENS, model_dir: Path = MODEL_DIR) -> None:
        model, tokenizer = files = [model_dir / name for name in MODEL_FILES]
        for file in files:
            if not file.is_file():
                raise StoreError(f"The embedding model lacks {file}.", hint="Install agent-brain-server again.")
        self._model_dir = model_dir
        self._threads = threads
        self._max_tokens = max_tokens
        self._session = _open_session(model)
        self._tokenizer = _open_tokenizer(tokenizer, max_tokens)

    @cached_property
    def name(self) -> str:
        """Model name with a fingerprint of its files and sequence length (`all-MiniLM-L6-v2@3f0c…`)."""
        return f"{DEFAULT_MODEL}@{fingerprint_files(self._model_dir, self._max_tokens)}"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return DIMENSION

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text, in order: shape (len(texts), 384).

        Lone surrogates in a text are replaced by question marks.
        """
        vectors = np.empty((len(texts), DIMENSION), dtype=np.float32)
        workers = min(self._threads, len(texts))
        if workers <= 1:
            for row, vector in enumerate(map(self._embed_text, texts)):
                vectors[row] = vector
            return vectors
        with ThreadPoolExecutor(workers, thread_name_prefix="embed") as pool:
            for row, vector in enumerate(pool.map(self._embed_text, texts)):
                vectors[row] = vector
        return vectors

    def embed_queries(self, queries: Sequence[str]) -> Vectors:
        """Return one unit vector per query, in order; the model embeds queries and documents alike."""
        return self.embed(queries)

    def _embed_text(self, text: str) -> Vectors:
        head = replace_surrogates(text[: self._max_tokens * CHARACTERS_PER_TOKEN])
        ids = np.array([self._tokenizer.encode(head).ids], dtype=np.int64)
        outputs: list[Vectors] = self._session.run(["vector"], {"input_ids": ids})
        return outputs[0]
