"""Count tokens with the tokenizer of the built-in model, for answers with a budget."""

import re
import threading
from functools import lru_cache
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

KNOWN_WORDS = 20_000
"""Words whose counts are cached, some 3 MB: code repeats few words, and a look-up is 20 times as fast as a count."""

WORD = re.compile(r"[A-Za-z0-9]+")
BLANKS = re.compile(r"[ \t\r\n]+")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
NO_MARKS = bytes(code for code in range(128) if chr(code).isspace() or chr(code).isalnum())
MAX_WORD = 100
"""Characters: longer words are unknown to the tokenizer."""


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
        self._count_known = lru_cache(KNOWN_WORDS)(self._encode)

    def count(self, text: str) -> int:
        """Return the number of tokens of a text.

        Raises:
            StoreError: The file of the tokenizer is missing.
        """
        valid = text if text.isascii() else replace_surrogates(text)
        data = valid.encode()
        return max(self._count_words(valid), -(-len(data) // BYTES_PER_TOKEN))

    def _count_words(self, text: str) -> int:
        if _is_plain(text):
            return self._count_plain(text)
        words = BLANKS.split(text)
        plain = " ".join(word for word in words if _is_plain(word))
        return self._count_plain(plain) + sum(self._count_word(word) for word in words if not _is_plain(word))

    def _count_plain(self, text: str) -> int:
        """Return the tokens of ASCII text: the tokenizer splits it at blanks and marks, and each mark is a token."""
        marks = len(text.encode().translate(None, NO_MARKS))
        return marks + sum(map(self._count_word, WORD.findall(text)))

    def _count_word(self, word: str) -> int:
        if len(word) <= MAX_WORD:
            return self._count_known(word)
        return -(-len(word) // BYTES_PER_UNKNOWN_TOKEN) if word.isalnum() and word.isascii() else self._encode(word)

    def _encode(self, text: str) -> int:
        encoding = self._open().encode(text, add_special_tokens=False)
        tokens = len(encoding.ids)
        return tokens + _count_unknown(text, encoding) if UNKNOWN in encoding.tokens else tokens

    def _open(self) -> "Tokenizer":
        with self._opening:
            if self._tokenizer is None:
                self._tokenizer = _open_tokenizer(self._path)
            return self._tokenizer


def _is_plain(text: str) -> bool:
    """Return whether a text is ASCII without control characters, which the tokenizer removes."""
    return text.isascii() and (text.isprintable() or not CONTROL.search(text))


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
