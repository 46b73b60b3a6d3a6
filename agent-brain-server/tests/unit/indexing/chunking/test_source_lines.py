"""The token estimate, and limits on the size, number and repeated context of pieces."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agent_brain_server
from agent_brain_server.indexing.chunking.chunker import chunk_file
from agent_brain_server.indexing.chunking.source_lines import (
    MAX_CHARACTERS_PER_TOKEN,
    Limits,
    Piece,
    estimate_tenths,
    estimate_tokens,
    split_piece,
)
from agent_brain_server.indexing.chunking.text import HEADING_FINDERS
from agent_brain_server.indexing.worker.protocol import decode_file, encode_file
from agent_brain_server.structure.facts import MAX_DEFINITIONS
from agent_brain_server.structure.syntax import GRAMMARS
from agent_brain_server.types import FileChunks, SourceText

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


LANGUAGES = sorted({*GRAMMARS, *HEADING_FINDERS, "notebook", "text", "json"})
CHUNK_SIZE = 512
BYTES_OF_DEFINITION = 1_000  # at most: names, and the shortened signature and documentation


def chunk(language: str, text: str, chunk_size: int = CHUNK_SIZE) -> FileChunks:
    source = SourceText(f"a.{language}", text, language, "code", "0" * 64, len(text), 1)
    return chunk_file(source, chunk_size=chunk_size, chunk_overlap=chunk_size // 10)


def assert_bounded(file: FileChunks, text: str, chunk_size: int) -> None:
    for piece in file.chunks:
        assert estimate_tenths(piece.text.encode()) <= 10 * chunk_size
        assert len(piece.text) <= chunk_size * MAX_CHARACTERS_PER_TOKEN
    definitions = len(file.facts.definitions)
    assert definitions <= MAX_DEFINITIONS
    assert len(orjson.dumps(encode_file(file))) <= 8 * len(text.encode()) + BYTES_OF_DEFINITION * definitions + 100_000


RUNS = st.lists(
    st.tuples(
        st.sampled_from([" ", "\n", "\t", "a", "-", "a b ", "a.\n", "# a\n", "def f():\n", "{", "é", "\f", "|a|"]),
        st.integers(1, 1_500),
    ),
    max_size=6,
)


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=8, deadline=None)
@given(runs=RUNS, chunk_size=st.sampled_from([32, 64, CHUNK_SIZE]))
def test_no_chunker_exceeds_chunk_limit(language: str, runs: list[tuple[str, int]], chunk_size: int) -> None:
    text = "".join(unit * count for unit, count in runs)
    assert_bounded(chunk(language, text, chunk_size), text, chunk_size)


@pytest.mark.parametrize("language", ["text", "markdown", "python", "sql"])
def test_bound_pieces_drops_blank_parts(language: str) -> None:
    text = f"first\n{' ' * 900_000}\nlast"
    chunks = chunk(language, text).chunks
    assert [(piece.text, piece.start_line, piece.end_line) for piece in chunks] == [("first", 1, 1), ("last", 3, 3)]


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="ab \n-{é", max_size=3_000), hard=st.integers(1, 60), first=st.integers(1, 9))
def test_split_piece_keeps_words_and_lines(text: str, hard: int, first: int) -> None:
    rows = text.split("\n")
    piece = Piece(text, first, first + len(rows) - 1, ("name",), "heading")
    parts = list(split_piece(piece, Limits.of_chunk_size(hard, 0)))
    assert "".join("".join(part.text.split()) for part in parts) == "".join(text.split())
    for part in parts:
        assert first <= part.start_line <= part.end_line <= first + len(rows) - 1
        assert part.text.strip().split("\n")[0] in rows[part.start_line - first] or len(parts) == 1
    assert sum(bool(part.symbols) for part in parts) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("markdown", "".join(f"{'#' * (n % 6 + 1)} {'t' * 190}{n}\n{'word ' * 30}\n" for n in range(2_500))),
        ("markdown", "".join(f"# {n}\n{'-' * 20}\n" for n in range(40_000))),
        ("org", "".join(f"{'*' * n} {'t' * 190}\n{'word ' * 30}\n" for n in range(1, 1_000))),
        ("java", "class A {" * 200 + "".join(f"int {'f' * 90}{n}() {{}}\n" for n in range(8_000))),
        ("python", "".join(f"class C{n}:\n  def f(self): return {'x+' * 60}x\n" for n in range(6_000))),
        ("text", "\x01a" * 3_000 + "a\n" * 200_000),
    ],
)
def test_reply_for_one_file_is_bounded(language: str, text: str) -> None:
    file = chunk(language, text)
    assert_bounded(file, text, CHUNK_SIZE)
    assert len(file.chunks) <= 256 + len(text) // 60
    sent = decode_file(orjson.loads(orjson.dumps(encode_file(file))))
    assert (sent.record, sent.chunks) == (file.record, file.chunks)
