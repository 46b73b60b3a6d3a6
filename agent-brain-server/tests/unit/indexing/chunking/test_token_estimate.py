from pathlib import Path

import pytest

import agent_brain_server
from agent_brain_server.indexing.chunking.source_lines import estimate_tenths, estimate_tokens

PACKAGE = Path(agent_brain_server.__file__).parent
TOKENIZER = PACKAGE / "embedding" / "minilm" / "tokenizer.json"


def test_estimate_tenths_is_additive():
    first, second = "def f(self):\n", "    return self.value + 1\n"
    assert estimate_tenths((first + second).encode()) == estimate_tenths(first.encode()) + estimate_tenths(
        second.encode()
    )


def test_estimate_tenths_blank_text_is_zero():
    assert estimate_tokens(" \t\r\n") == 0
    assert estimate_tokens("x") == 1


def test_estimate_tokens_is_close_to_tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(TOKENIZER))
    tokenizer.no_truncation()
    texts = [path.read_text() for path in (PACKAGE / "indexing").glob("*.py")]
    real = sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)
    assert 0.85 < sum(map(estimate_tokens, texts)) / real < 1.15
