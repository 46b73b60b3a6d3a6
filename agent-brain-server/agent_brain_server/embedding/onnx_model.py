"""The default embedder: all-MiniLM-L6-v2, int8, on ONNX Runtime, out of the package's own files.

One run takes one text. It is the fastest way here, as nothing is padded, and the only one that gives a text the same
vector in any company: the int8 operators scale a whole run by its largest value. Several texts are spread over
threads; ONNX Runtime computes outside of Python's interpreter lock.
"""

import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, SessionOptions
from tokenizers import Tokenizer

from agent_brain_server.embedding import DEFAULT_MODEL
from agent_brain_server.embedding.identity import (
    DIMENSION,
    MAX_TOKENS,
    MODEL_DIR,
    MODEL_FILES,
    fingerprint_files,
    replace_surrogates,
)
from agent_brain_server.errors import StoreError
from agent_brain_server.types import Vectors

CHARACTERS_PER_TOKEN = 32  # code has 3 to 4 with its spaces: what lies beyond could hardly reach the model
SLOWER_FUSION = "SkipLayerNormFusion"  # its kernel takes longer than an addition and a normalisation
CPU_INFO = Path("/proc/cpuinfo")


def lacks_int8_dot_product(machine: str, cpu_info: str) -> bool:
    """Tell whether int8 products may overflow: x86 before VNNI sums pairs of them in 16 bits.

    Args:
        machine: Processor family, as `platform.machine()` gives it.
        cpu_info: Text of `/proc/cpuinfo`; nothing is concluded from an empty one.
    """
    return machine == "x86_64" and "flags" in cpu_info and "vnni" not in cpu_info


def _read_cpu_info() -> str:
    return CPU_INFO.read_text(encoding="utf-8", errors="replace") if CPU_INFO.exists() else ""


def _open_session(path: Path) -> InferenceSession:
    options = SessionOptions()
    options.intra_op_num_threads = 1  # threads take whole texts instead, without a barrier in each operator
    options.inter_op_num_threads = 1
    if lacks_int8_dot_product(platform.machine(), _read_cpu_info()):
        options.add_session_config_entry("session.x64quantprecision", "1")  # half as fast, and exact
    return InferenceSession(str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=[SLOWER_FUSION])


def _open_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


class OnnxEmbedder:
    """Embeds texts with a model directory made by `scripts/build_embedding_model.py`.

    Safe to use from several threads at once.

    Args:
        threads: Texts that are embedded at the same time by one call.
        max_tokens: Tokens of a text that count, 512 at most; the rest is ignored.
        model_dir: Holds `model.onnx` and `tokenizer.json`.

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
        """Model and fingerprint of everything that decides about a vector (`all-MiniLM-L6-v2@3f0c…`)."""
        return f"{DEFAULT_MODEL}@{fingerprint_files(self._model_dir, self._max_tokens)}"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return DIMENSION

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text, in order: shape (len(texts), 384).

        Any string is accepted; what is not valid Unicode counts as a question mark.
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
        """Return what `embed` does: the model makes no difference between queries and documents."""
        return self.embed(queries)

    def _embed_text(self, text: str) -> Vectors:
        beginning = replace_surrogates(text[: self._max_tokens * CHARACTERS_PER_TOKEN])
        ids = np.array([self._tokenizer.encode(beginning).ids], dtype=np.int64)
        outputs: list[Vectors] = self._session.run(["vector"], {"input_ids": ids})
        return outputs[0]
