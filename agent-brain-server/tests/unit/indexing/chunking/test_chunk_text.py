import subprocess
import sys

import pytest

from agent_brain_server.indexing.chunking.source_lines import Limits, SourceLines, estimate_tokens
from agent_brain_server.indexing.chunking.text import chunk_document, chunk_plain
from agent_brain_server.types import SourceText

SENTENCE = "The lock is released last, after the stores are closed. "


def cut(text: str, language: str = "markdown", chunk_size: int = 100, chunk_overlap: int = 10, chunker=chunk_document):
    source = SourceText("a", text, language, "doc", "", 0, 0)
    return list(chunker(SourceLines(text), source, Limits.of_chunk_size(chunk_size, chunk_overlap)))


def test_chunk_document_sections_have_heading_path():
    text = f"# Guide\n\n{SENTENCE * 3}\n\n## Start\n\n{SENTENCE * 3}\n\n## Stop\n\n{SENTENCE * 3}\n"
    assert [(piece.heading, piece.start_line, piece.end_line) for piece in cut(text)] == [
        ("Guide", 1, 3),
        ("Guide > Start", 5, 7),
        ("Guide > Stop", 9, 11),
    ]


def test_chunk_document_joins_bare_title_with_next():
    pieces = cut(f"# Guide\n\n## Start\n\n{SENTENCE * 2}\n")
    assert [(piece.heading, piece.start_line, piece.end_line) for piece in pieces] == [("Guide > Start", 1, 5)]


def test_chunk_document_splits_long_section_at_paragraphs():
    text = "# Guide\n\n" + "\n\n".join([SENTENCE * 2] * 8) + "\n"
    pieces = cut(text)
    assert len(pieces) > 3
    assert {piece.heading for piece in pieces} == {"Guide"}
    assert all(piece.text.rstrip().endswith(("closed.", "Guide")) for piece in pieces)


def test_chunk_document_splits_paragraph_at_sentences():
    rows = [SENTENCE.strip().replace("lock", f"lock {number}") for number in range(40)]
    text = "# Guide\n\n" + "\n".join(rows) + "\n"
    pieces = [piece for piece in cut(text, chunk_overlap=20) if not piece.text.startswith("#")]
    assert len(pieces) > 5
    all_rows = text.split("\n")
    for piece in pieces:
        assert piece.text in "\n".join(all_rows[piece.start_line - 1 : piece.end_line])
        assert piece.text.rstrip().endswith("closed.")
        assert estimate_tokens(piece.text) <= 100
    starts = [piece.start_line for piece in pieces]
    assert starts == sorted(starts)
    assert any(later.start_line <= earlier.end_line for earlier, later in zip(pieces, pieces[1:], strict=False))
    assert {line for piece in pieces for line in range(piece.start_line, piece.end_line + 1)} == set(range(3, 43))


def test_chunk_document_splits_tables_between_lines():
    text = "| name | value |\n" * 100
    for piece in cut(text):
        assert set(piece.text.split("\n")) == {"| name | value |"}


def test_chunk_plain_prefers_blank_lines():
    block = "name = value\n" * 7
    pieces = cut(f"{block}\n" * 5, "toml", chunker=chunk_plain)
    assert [piece.text.count("\n") for piece in pieces] == [6] * 5


def test_chunk_plain_splits_long_line():
    pieces = cut("word " * 1000, "json", chunker=chunk_plain)
    assert len(pieces) > 10
    assert {(piece.start_line, piece.end_line) for piece in pieces} == {(1, 1)}
    assert "".join(piece.text for piece in pieces).split() == ["word"] * 1000


@pytest.mark.process
def test_chunk_document_loads_splitter_lazily():
    program = (
        "import sys\nfrom agent_brain_server.indexing.chunking.chunker import chunk_file\n"
        "from agent_brain_server.types import SourceText\n"
        "chunk_file(SourceText('a.md', '# A\\n\\nwords\\n' * 900, 'markdown', 'doc', '', 0, 0),"
        " chunk_size=512, chunk_overlap=50)\n"
        "sys.exit('llama_index' in sys.modules or 'tree_sitter_python' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
