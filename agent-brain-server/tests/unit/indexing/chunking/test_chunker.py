import hashlib
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent_brain_server.indexing.chunking.chunker import chunk_file
from agent_brain_server.structure.syntax import GRAMMARS
from agent_brain_server.types import SourceText

LANGUAGES = sorted({*GRAMMARS} - {"tsx"}) + ["markdown", "rst", "text", "html", "pdf", "notebook", "yaml", "latex"]

CODE_LIKE = st.lists(
    st.sampled_from(
        ["def f(", "class A", "{", "}", "(", ")", ":", "\n", "\n    ", "end", "do", "fn x", "func", "=", '"', "'", "#"]
        + [
            "# T\n",
            "```\n",
            "---\n",
            "====\n",
            "//",
            "/*",
            "*/",
            "module M",
            "where",
            "<a>",
            "| a |",
            "@x",
            " ",
            "é",
            "☃",
        ]
    ),
    max_size=60,
).map("".join)


def chunk(text: str, language: str = "python", path: str = "a.py", chunk_size: int = 512, chunk_overlap: int = 50):
    source = SourceText(path, text, language, "code", "hash", 7, 9)
    return chunk_file(source, chunk_size=chunk_size, chunk_overlap=chunk_overlap)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    text=st.one_of(st.text(max_size=300), CODE_LIKE, st.text(alphabet=string.printable, max_size=500)),
    language=st.sampled_from(LANGUAGES),
    chunk_size=st.sampled_from([1, 8, 32, 512]),
)
@example(text="\ud800 = 1\n\x0c\x1c\u2028x\r\ry", language="python", chunk_size=8)
@example(text="", language="python", chunk_size=512)
@example(text="0/) \n)", language="markdown", chunk_size=1)
@example(text="0:::\n:", language="markdown", chunk_size=1)
def test_chunk_file_any_text_is_complete(text, language, chunk_size):
    chunks = chunk(text, language, chunk_size=chunk_size, chunk_overlap=chunk_size // 8).chunks
    rows = text.encode("utf-8", "replace").decode().split("\n")
    covered = set()
    for found in chunks:
        assert found.text.strip()
        found.text.encode("utf-8")
        assert 1 <= found.start_line <= found.end_line <= len(rows)
        assert found.text in "\n".join(rows[found.start_line - 1 : found.end_line])
        covered.update(range(found.start_line, found.end_line + 1))
    assert {number for number, row in enumerate(rows, 1) if row.strip()} <= covered
    assert len({found.id for found in chunks}) == len(chunks)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(text=CODE_LIKE, language=st.sampled_from(sorted({*GRAMMARS} - {"tsx"})))
def test_chunk_file_code_does_not_overlap(text, language):
    chunks = chunk(text, language, chunk_size=40).chunks
    for earlier, later in zip(chunks, chunks[1:], strict=False):
        assert earlier.end_line < later.start_line or (
            earlier.start_line == earlier.end_line == later.start_line == later.end_line  # one long line, cut inside
        )


def test_chunk_ids_from_path_heading_text_and_repetition():
    text = "x = 1\n"
    (only,) = chunk(text).chunks
    assert only.id == hashlib.sha256(b"a.py\x000\x00\x00x = 1").hexdigest()[:24]
    assert chunk(text).chunks[0].id == only.id
    assert chunk(text, path="b.py").chunks[0].id != only.id
    repeated = chunk("word " * 1000, "yaml", chunk_size=40).chunks
    assert len({found.id for found in repeated}) == len(repeated) > len({found.text for found in repeated})


def test_chunk_file_record_is_pending():
    result = chunk("x = 1\n")
    assert (result.record.path, result.record.size, result.record.mtime_ns) == ("a.py", 7, 9)
    assert (result.record.content_hash, result.record.state) == ("hash", "pending")
    assert (result.language, result.source_type) == ("python", "code")


@pytest.mark.parametrize("text", ["(\n" * 60_000, "x = '" + "a" * 30_000 + "'\n"])
def test_chunk_file_unparsable_code_is_split_by_lines(text):
    chunks = chunk(text, "c").chunks
    assert "".join("".join(found.text for found in chunks).split()) == "".join(text.split())


def test_chunk_file_accepts_any_settings():
    assert chunk("x = 1\n" * 50, chunk_size=0, chunk_overlap=-5).chunks
    assert chunk("A sentence. " * 500, "markdown", chunk_size=32, chunk_overlap=1000).chunks


def test_chunk_id_changes_with_path_heading_or_text():
    words = "It waits until the door opens, takes what lies behind it, and goes away again. " * 3

    def ids(title="Whales", body=words, path="a.md"):
        text = f"# {title}\n\n{words}\n\n## Feeding\n\n{body}\n\n## Sleeping\n\n{words}\n"
        return [found.id for found in chunk(text, "markdown", path=path).chunks]

    assert len(ids()) == len(set(ids())) == 3
    assert ids() == ids()
    assert set(ids(title="Cranes")).isdisjoint(ids())
    assert [a == b for a, b in zip(ids(), ids(body=f"All day. {words}"), strict=True)] == [True, False, True]
    assert set(ids(path="b.md")).isdisjoint(ids())
