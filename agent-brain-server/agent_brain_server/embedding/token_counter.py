"""Count tokens with the tokenizer of the built-in model, for answers with a budget."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from agent_brain_server.embedding import MODEL_DIR, MODEL_FILES
from agent_brain_server.errors import StoreError
from agent_brain_server.support.text import replace_surrogates

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

UNKNOWN = "[UNK]"
BYTES_PER_UNKNOWN_TOKEN = 3
"""A word that is not in the vocabulary, such as a run of emoji or a line of base64, is one token of this tokenizer.
Models of agents split it; it counts one token for this many bytes."""

BYTES_PER_TOKEN = 8
"""Lower bound of a count, for text that this tokenizer ignores: blanks and hidden characters. Code has 3 to 4."""


class TokenCounter:
    """Count the tokens of texts, from any thread. The tokenizer is opened by the first count: 65 ms of CPU and 17 MB.

    A count is at least the number of tokens of the tokenizer, and never less than one for `BYTES_PER_TOKEN` bytes.
    The count of lines joined by newlines is at most the sum of the counts of the lines, each with its newline.

    Args:
        tokenizer: The tokenizer's file.
    """

    def __init__(self, tokenizer: Path = MODEL_DIR / MODEL_FILES[1]) -> None:
        self._path = tokenizer
        self._opening = threading.Lock()
        self._tokenizer: Tokenizer | None = None

    def count(self, text: str) -> int:
        """Return the number of tokens of a text.

        Raises:
            StoreError: The file of the tokenizer is missing.
        """
        valid = replace_surrogates(text)
        encoding = self._open().encode(valid, add_special_tokens=False)
        tokens = len(encoding.ids)
        if UNKNOWN in encoding.tokens:
            tokens += _count_unknown(valid, encoding)
        return max(tokens, -(-len(valid.encode()) // BYTES_PER_TOKEN))

    def _open(self) -> "Tokenizer":
        with self._opening:
            if self._tokenizer is None:
                self._tokenizer = _open_tokenizer(self._path)
            return self._tokenizer


def _open_tokenizer(path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer  # noqa: PLC0415 - only answers with a budget need it

    if not path.is_file():
        raise StoreError(f"The embedding model lacks {path}.", hint="Install agent-brain-server again.")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _count_unknown(text: str, encoding: "Encoding") -> int:
    """Return how many tokens the unknown words of a text count beyond one each."""
    spans = (span for span, token in zip(encoding.offsets, encoding.tokens, strict=True) if token == UNKNOWN)
    return sum(max(-(-len(text[start:end].encode()) // BYTES_PER_UNKNOWN_TOKEN) - 1, 0) for start, end in spans)
