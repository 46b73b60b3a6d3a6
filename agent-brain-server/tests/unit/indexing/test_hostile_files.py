"""Hostile files and trees: each yields text or a skip with a reason, in bounded time."""

import json
import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_brain_server.indexing.chunking.chunker import chunk_file
from agent_brain_server.indexing.chunking.source_lines import (
    MAX_CHARACTERS_PER_TOKEN,
    Limits,
    SourceLines,
    estimate_tenths,
)
from agent_brain_server.indexing.files.secret_files import holds_secret
from agent_brain_server.indexing.files.walker import WalkOptions, walk_files
from agent_brain_server.indexing.reading.loader import load_file
from agent_brain_server.indexing.reading.markup import render_html, render_notebook, render_pdf
from agent_brain_server.search.parsed_query import parse_query
from agent_brain_server.structure.syntax import GRAMMARS
from agent_brain_server.types import FileStat, SourceText

pytestmark = pytest.mark.slow  # some 10 s of CPU together

LIMIT_S = 10.0
"""Seconds of CPU, generous; superlinear code would exceed any limit on larger files."""

LANGUAGES = sorted({*GRAMMARS} - {"tsx"}) + ["markdown", "rst", "html", "notebook", "text", "json", "css", "pdf"]
REPOSITORY = Path(__file__).resolve().parents[4]

SAMPLES = {
    "python": (Path(__file__).parents[2] / "data/code/sample.py").read_text(),
    "shell": (Path(__file__).parents[2] / "data/code/sample.sh").read_text(),
    "markdown": (REPOSITORY / "README.md").read_text(),
    "javascript": (
        "class A extends B {\n  constructor(a) { super(a) }\n"
        "  async *go() { yield `x` }\n}\nlet f = (x) => x\n"
    ),
    "typescript": "interface A<T> { b: T }\nclass C implements A<string> { b = 'x'; f<T>(x: T): T { return x } }\n",
    "go": "package main\n\ntype A struct { b int }\n\nfunc (a *A) Go(c chan<- int) int {\n\treturn a.b\n}\n",
    "rust": (
        "struct A<'a> { b: &'a str }\nimpl<'a> A<'a> { fn go(&self) -> &'a str { self.b } }\n"
        "macro_rules! m { () => {} }\n"
    ),
    "java": "package a;\n/** Doc. */\nclass A<T> {\n  @Override public T go(T b) { return b; }\n  enum E { X, Y }\n}\n",
    "c": "#include <a.h>\nstruct a { int b; };\nstatic int go(struct a *x) {\n  return x->b;\n}\n",
    "cpp": "namespace a {\ntemplate <class T> class B { public: T go() const { return T{}; } };\n}\n",
    "csharp": "namespace A { public class B { public int C { get; set; } void Go() => C++; } }\n",
    "ruby": "module A\n  class B < C\n    def go(x = {}) = x\n  end\nend\n",
    "php": "<?php\nnamespace A;\nfinal class B { public function go(int $x): int { return $x; } }\n",
    "kotlin": "data class A(val b: Int) {\n    fun go(): Int = b\n    companion object { const val C = 1 }\n}\n",
    "swift": "struct A<T> {\n    var b: T\n    func go() -> T { b }\n}\nextension A { init?() { nil } }\n",
    "scala": "object A {\n  case class B(c: Int)\n  def go(x: B): Int = x match { case B(c) => c }\n}\n",
    "lua": "local M = {}\nfunction M.go(x)\n  return x or {}\nend\nreturn M\n",
    "haskell": "module A where\n\ndata B = B { c :: Int }\n\ngo :: B -> Int\ngo (B c) = c\n",
    "elixir": "defmodule A do\n  @doc \"x\"\n  def go(x), do: x |> to_string()\nend\n",
    "zig": "const A = struct {\n    b: u8,\n    fn go(self: A) u8 {\n        return self.b;\n    }\n};\n",
    "html": "<title>A</title>\n<h1>B &amp; C</h1>\n<script>x</script><p>words\n",
    "rst": "Title\n=====\n\nWords.\n\n.. note:: x\n\nUnder\n-----\n\nMore.\n",
    "notebook": json.dumps({"cells": [{"cell_type": "code", "source": ["x = 1\n", "y"]}]}, indent=1),
}  # fmt: skip


def source(language: str, text: str) -> SourceText:
    kind = "doc" if language in ("markdown", "rst", "html", "notebook", "text", "pdf") else "code"
    return SourceText(f"a.{language}", text, language, kind, "0" * 64, len(text), 1)


def assert_chunked(language: str, text: str) -> None:
    """Assert that the chunks contain every non-blank line in order, and no other text."""
    began = time.process_time()
    chunks = chunk_file(source(language, text), chunk_size=64, chunk_overlap=8).chunks
    assert time.process_time() - began < LIMIT_S
    rows = text.encode("utf-8", "replace").decode().split("\n")
    covered = set()
    for chunk in chunks:
        chunk.text.encode()
        assert estimate_tenths(chunk.text.encode()) <= 640 and len(chunk.text) <= 64 * MAX_CHARACTERS_PER_TOKEN
        assert 1 <= chunk.start_line <= chunk.end_line <= len(rows)
        covered.update(range(chunk.start_line, chunk.end_line + 1))
    assert [row for number, row in enumerate(rows, 1) if row.strip().isalnum() and number not in covered] == []
    assert len({chunk.id for chunk in chunks}) == len(chunks)


@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=15, deadline=None)
@given(data=st.binary(max_size=2000) | st.text(max_size=1000).map(lambda text: text.encode("utf-8", "replace")))
def test_chunk_file_any_bytes(language: str, data: bytes) -> None:
    assert_chunked(language, data.decode("latin-1"))
    assert_chunked(language, data.decode("utf-8", "replace"))


EDITS = st.lists(
    st.tuples(
        st.integers(0, 2000),
        st.integers(0, 60),
        st.sampled_from(
            ["", "{", "}", "(", ")" * 50, '"', "'", "\\", "\n", "/*", "#", "\0", "\ufffd", "é" * 9, "{" * 200]
        ),
    ),
    max_size=6,
)


@pytest.mark.parametrize("language", sorted(SAMPLES))
@settings(max_examples=20, deadline=None)
@given(edits=EDITS, times=st.integers(1, 5))
def test_chunk_file_corrupt_source(language: str, edits: list[tuple[int, int, str]], times: int) -> None:
    text = SAMPLES[language] * times
    for place, length, replacement in edits:
        place %= len(text) + 1
        text = text[:place] + replacement + text[place + length :]
    assert_chunked(language, text)


def test_hostile_samples_cover_every_grammar() -> None:
    assert {*GRAMMARS} - {"tsx"} <= {*SAMPLES}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("unit", ["{", "((", "/*"])
def test_chunk_file_long_runs_take_bounded_time(language: str, unit: str) -> None:
    text = unit * (4_000 // len(unit))
    began = time.process_time()
    chunk_file(source(language, text), chunk_size=512, chunk_overlap=50)
    assert time.process_time() - began < LIMIT_S


MARKUP = st.lists(
    st.sampled_from(
        ["<", ">", "</", "<!", "--", "<!--", "-->", "<![CDATA[", "]]>", "<?", "&#", "&amp", ";", "a", '"', "=", "\n"]
        + ["<script>", "</p", "<svg", "/>", "\0", "\x1b", "{", "}", "[", "]", ":", ",", '"cells"', '"source"', "\\u"]
    ),
    max_size=60,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(markup=MARKUP)
def test_render_any_markup_keeps_lines(markup: str) -> None:
    assert render_html(markup).count("\n") == markup.count("\n")
    assert render_notebook(markup).count("\n") == markup.count("\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    ["<", "<a ", "<!--", "<![", "&#", "<a b='", '{"cells": [', '"', "[", '"\\', "<script>", "</", "<svg>", "</svg>"],
)
def test_render_long_markup_takes_bounded_time(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    began = time.process_time()
    render_html(text)
    render_html("<svg>" * 10_000 + "<template></script>" * 3_000 + text)
    render_notebook(text)
    assert time.process_time() - began < LIMIT_S


def test_render_notebook_joins_many_sources() -> None:
    sources = [f"line {number}\n" for number in range(60_000)]
    began = time.process_time()
    text = render_notebook(json.dumps({"cells": [{"source": sources}]}))
    assert time.process_time() - began < LIMIT_S
    assert text.split() == " ".join(sources).split()


@pytest.mark.parametrize("name", ["a.pem", "a.asc", ".npmrc", "kubeconfig.yaml"])
@pytest.mark.parametrize(
    "unit",
    [
        " ",
        "\n",
        "\t>|",
        " \n",
        "-----BEGIN PRIVATE KEY-----\n",
        '"private_key" :   ',
        "a-b:",
        "_auth ",
        "_password = ${",
    ],
)
def test_holds_secret_long_text_takes_linear_time(name: str, unit: str) -> None:
    text = unit * (300_000 // len(unit)) + "PRIVATE KEY"
    began = time.process_time()
    holds_secret(name, text)
    parse_query(text[:20_000])
    assert time.process_time() - began < LIMIT_S


PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"


@settings(max_examples=60, deadline=None)
@given(tail=st.binary(max_size=300), cut=st.integers(0, len(PDF)))
def test_render_pdf_any_bytes(tail: bytes, cut: int) -> None:
    for data in (PDF + tail, PDF[:cut] + tail, PDF[cut:] + tail + b"\nstartxref\n0\n%%EOF"):
        text = render_pdf(data)
        assert text is None or isinstance(text, str)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=500), chunk_size=st.integers(-5, 300), overlap=st.integers(-5, 400))
def test_chunk_file_any_limits_keep_every_line(text: str, chunk_size: int, overlap: int) -> None:
    lines = SourceLines(text.encode("utf-8", "replace").decode())
    limits = Limits.of_chunk_size(chunk_size, overlap)
    pieces = list(lines.make_pieces(0, len(lines.rows), limits))
    covered = {row for piece in pieces for row in range(piece.start_line - 1, piece.end_line)}
    assert {row for row in range(len(lines.rows)) if not lines.is_blank(row)} <= covered


NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
KINDS = st.sampled_from(["file", "directory", "link", "loop", "up", "fifo", "socket", "closed"])


@settings(max_examples=60, deadline=None)
@given(entries=st.lists(st.tuples(NAMES, KINDS), max_size=8), data=st.binary(max_size=40))
def test_walk_and_load_any_tree(tmp_path_factory: pytest.TempPathFactory, entries: list, data: bytes) -> None:
    root = tmp_path_factory.mktemp("tree")
    for name, kind in entries:
        make_entry(os.fsencode(root), name, kind, data)
    found = walk_files(root, root, WalkOptions())
    for file in found.files:
        assert not Path(file.path).is_absolute()
        loaded = load_file(root, FileStat(file.path, file.size, file.mtime_ns), 1000)
        assert loaded.path == file.path
    for skip in found.skipped:
        skip.path.encode()
        assert skip.reason.isidentifier()


def make_entry(directory: bytes, name: bytes, kind: str, data: bytes) -> None:
    path = os.path.join(directory, name)
    if os.path.lexists(path):
        return
    match kind:
        case "file" | "closed":
            with open(path, "wb") as file:
                file.write(data)
            os.chmod(path, 0o600 if kind == "file" else 0)
        case "directory":
            os.mkdir(path)
            make_entry(path, name, "loop", data)
            make_entry(path, name + b"x", "file", data) if len(name) < 200 else None
        case "link" | "loop" | "up":
            os.symlink({"link": b"nowhere", "loop": name, "up": b".."}[kind], path)
        case "fifo":
            os.mkfifo(path)
        case "socket":
            bind_socket(directory, name)


def bind_socket(directory: bytes, name: bytes) -> None:
    held = os.open(directory, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(b"/proc/self/fd/%d/%s" % (held, name))
    finally:
        os.close(held)


def test_walk_files_deep_and_wide_trees(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(300):
        deep /= "d"
        deep.mkdir()
    (deep / "a.py").write_text("x = 1\n")
    (tmp_path / "wide").mkdir()
    for number in range(3000):
        (tmp_path / "wide" / f"{number}.py").touch()
    began = time.process_time()
    found = walk_files(tmp_path, tmp_path, WalkOptions())
    assert time.process_time() - began < LIMIT_S
    assert [file.path for file in found.files] == ["d/" * 300 + "a.py"]
    assert found.skip_counts == {"empty": 3000}


@pytest.mark.parametrize(
    "line", ["*a" * 60, "**/" * 60 + "a", "a/**/" * 20 + "b", "[", "\\", "!" * 100, "*" * 5000, "?" * 5000]
)
def test_ignore_rules_take_bounded_time(tmp_path: Path, line: str) -> None:
    (tmp_path / ".gitignore").write_text(f"{line}\n*.log\n")
    (tmp_path / ("a" * 200)).write_text("words\n")
    (tmp_path / "b.log").write_text("words\n")
    began = time.process_time()
    found = walk_files(tmp_path, tmp_path, WalkOptions())
    assert time.process_time() - began < LIMIT_S
    assert "b.log" not in {file.path for file in found.files}
