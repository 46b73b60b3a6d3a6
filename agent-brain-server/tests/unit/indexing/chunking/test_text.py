"""Splitting documents and plain text, and the headings of documents."""

import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_brain_server.indexing.chunking.source_lines import Limits, SourceLines, estimate_tokens
from agent_brain_server.indexing.chunking.text import (
    HEADING_FINDERS,
    chunk_document,
    chunk_plain,
    find_sections,
    parse_marked_heading,
)
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


@pytest.mark.slow
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


REFERENCE_HEADING = re.compile(r" {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$")
"""Reference expression for ATX headings, which backtracks quadratically."""


def headings_of(text: str, language: str) -> list[tuple[int, str | None]]:
    rows = text.split("\n")
    sections = find_sections(rows, language)
    assert [row for section in sections for row in range(section.start, section.end)] == list(range(len(rows)))
    return [(section.start + 1, section.heading) for section in sections]


def test_find_headings_markdown():
    text = (
        "---\ntitle: x\n---\nintro\n\n# Top #\ntext\n```sh\n# a comment\n```\n## Inner\n\n~~~\n# no\n```\n# no\n~~~\n"
        "\nUnder\n=====\n\nlower\n-----\n- item\n---\nlong text\nthat goes on\n---\n#no heading\n### Deep"
    )
    assert headings_of(text, "markdown") == [
        (1, None),
        (6, "Top"),
        (11, "Top > Inner"),
        (19, "Under"),
        (22, "Under > lower"),
        (30, "Under > lower > Deep"),
    ]


def test_find_headings_rst():
    text = (
        "=====\nTitle\n=====\n\nPart\n----\n\ntext\n\n::\n\n    code\n    ====\n\n"
        "Sub part\n~~~~~~~~\n\nNext\n----\n\n====  ====\n1     2\n"
    )
    assert headings_of(text, "rst") == [
        (1, "Title"),
        (5, "Title > Part"),
        (15, "Title > Part > Sub part"),
        (18, "Title > Next"),
    ]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("asciidoc", "= A\n== B\ntext", [(1, "A"), (2, "A > B")]),
        ("org", "* A\n** B\ntext", [(1, "A"), (2, "A > B")]),
        ("latex", "\\section{A}\n\\subsection*{B}\ntext", [(1, "A"), (2, "A > B")]),
        ("pdf", "one\ntwo\fthree\nfour", [(1, "Page 1"), (2, "Page 2")]),
        ("text", "# A\ntext", [(1, None)]),
    ],
)
def test_find_headings_other_notations(language, text, expected):
    assert headings_of(text, language) == expected


@given(line=st.text(alphabet="## \t\r\xa0a\\", max_size=16))
def test_parse_marked_heading_matches_reference(line: str) -> None:
    match = REFERENCE_HEADING.match(line)
    assert parse_marked_heading(line) == ((len(match[1]), match[2] or "") if match else None)


BLANKS = " " * 200_000
MARKS = "".join(f"{mark}{BLANKS}x\n{mark * 3}{BLANKS}\n" for mark in "#=-~`*+>|1.)\\_^")


@pytest.mark.parametrize("language", sorted(HEADING_FINDERS))
def test_parse_marked_heading_takes_linear_time(language: str) -> None:
    # a backtracking expression takes over four minutes for one of these lines
    rows = [*MARKS.split("\n"), f"\\section{BLANKS}{{x", f"#{BLANKS}#{BLANKS}x", f"1.{BLANKS}```", "#" * 200_000]
    began = time.process_time()
    sections = find_sections(rows, language)
    assert time.process_time() - began < 20
    assert sections[-1].end == len(rows)
