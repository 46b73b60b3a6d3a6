"""Count tokens with the shipped tokenizer."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from agent_brain_server.embedding import MODEL_DIR
from agent_brain_server.embedding.token_counter import TokenCounter
from agent_brain_server.errors import StoreError

COUNTER = TokenCounter()
REFERENCE = Tokenizer.from_file(str(MODEL_DIR / "tokenizer.json"))
REFERENCE.no_padding()
REFERENCE.no_truncation()


def count_reference(text: str) -> int:
    return len(REFERENCE.encode(text, add_special_tokens=False).ids)


def test_count_of_code_equals_tokenizer() -> None:
    text = "def release(self) -> None:\n    self.holder = None\n"
    assert COUNTER.count(text) == count_reference(text)
    assert COUNTER.count("") == 0


def test_count_is_not_fooled_by_unknown_words() -> None:
    assert count_reference("😀" * 1000) == count_reference("QUJD" * 5000) == 1
    assert COUNTER.count("😀" * 1000) > 1000
    assert COUNTER.count("QUJD" * 5000) > 5000


def test_count_bounds_ignored_characters() -> None:
    assert count_reference(" " * 8000) == count_reference("\u200b" * 8000) == 0
    assert COUNTER.count(" " * 8000) == 1000
    assert COUNTER.count("\u200b" * 8000) == 3000


def test_count_accepts_lone_surrogates() -> None:
    assert COUNTER.count("a\ud800b") > 0


def test_count_without_tokenizer_raises(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"tokenizer\.json"):
        TokenCounter(tmp_path / "tokenizer.json").count("a")


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=40) | st.text("aé日😀 _\u200b\u0301\x0b…", max_size=40), max_size=8))
def test_count_is_subadditive_over_lines(lines: list[str]) -> None:
    joined = "".join(f"{line}\n" for line in lines)
    assert count_reference(joined) <= COUNTER.count(joined) <= sum(COUNTER.count(f"{line}\n") for line in lines)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="ascii"), max_size=200))
def test_count_of_ascii_equals_tokenizer(text: str) -> None:
    assert COUNTER.count(text) == max(count_reference(text), -(-len(text) // 8))


def test_count_of_source_equals_tokenizer() -> None:
    text = Path(__file__).with_name("test_embedders.py").read_text(encoding="utf-8")
    ascii_lines = [line for line in text.splitlines() if line.isascii()]
    assert sum(map(COUNTER.count, ascii_lines)) == sum(map(count_reference, ascii_lines))
    assert COUNTER.count("[CLS] [UNK]") > count_reference("[CLS] [UNK]") == 2
