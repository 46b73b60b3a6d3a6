"""Read the head of a definition: its signature, its documentation, and the lines that belong to it."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from tree_sitter import Node

MAX_SIGNATURE = 200  # characters
MAX_DOCUMENTATION = 200  # characters
MAX_HEAD_BYTES = 1_000  # read for a signature or a line of documentation
MAX_LEADING_LINES = 100  # of a comment that is searched for a line of documentation

MODIFIERS = re.compile(rb"[\w \t]*\Z")
BRACKET = re.compile(rb"[()\[\]{}\n;]")
COMMENT_LINE = re.compile(r"\s*(///?|//!|/\*+!?|\*+/?|#+|--+\s*\||--+|;+|\{-+\s*\|?|<!--)?\s?(.*?)\s*(\*/|-\})?\s*$")
DOCUMENT_WORD = re.compile(r"^\s*@\w*doc\b\s*")
STRING_START = re.compile(r"\s*(?:~[sS])?[A-Za-z]{0,2}[\"'`]+")
QUOTES = "\"'`"
TAGS = re.compile(r"</?[A-Za-z][^<>]{0,80}>")
SENTENCE_END = re.compile(r"[.!?]\s")  # begins with a set, for which the search is fast


class Head(NamedTuple):
    """The head of a definition; lines are 1-based and inclusive."""

    signature: str
    name_line: int
    start_line: int
    end_line: int
    documentation: str


class _Extent(NamedTuple):
    """Lines of a definition, the start of its body or -1, and the first sentence of the comment above it."""

    line: int
    start_line: int
    end_line: int
    body_start: int
    comment: str


class Heads:
    """Reads the heads of definitions in one file.

    Args:
        data: The file in UTF-8.
        captures: Captures of the grammar's query in `reference_queries.py`.
    """

    def __init__(self, data: bytes, captures: Mapping[str, Sequence[Node]]) -> None:
        self._data = data
        self.line_starts = [0, *accumulate(len(line) + 1 for line in data.split(b"\n"))]
        self._comments = self._find_leading(captures.get("comment", ()))
        self._leading = self._comments | self._find_leading(captures.get("leading", ()))
        self._extents: dict[int, _Extent] = {}
        self._above: dict[int, tuple[int, str]] = {}
        self._docs = sorted((node.start_byte, node.end_byte) for node in captures.get("doc", ()))

    def read(self, node: Node, name_start: int, name_end: int) -> Head:
        """Return the head of a definition.

        Args:
            node: The whole definition.
            name_start: Offset of its name.
            name_end: End of its name.
        """
        extent = self._extents.get(node.id)
        if extent is None:  # the definitions of one declaration have one node, which may be long
            extent = self._extents[node.id] = self._read_extent(node)
        start, end = node.start_byte, node.end_byte
        body_start = extent.body_start if extent.body_start >= name_end else end
        return Head(
            self._read_signature(extent.line, start, name_end, body_start, end),
            self._line_at(name_start),
            extent.start_line,
            extent.end_line,
            self._read_docstring(body_start, end) or extent.comment,
        )

    def _read_extent(self, node: Node) -> "_Extent":
        start, end = node.start_byte, node.end_byte
        line = self._line_at(start)
        body = node.child_by_field_name("body")
        if line not in self._above:  # thousands of definitions may be in one line, below thousands of comments
            first = self._find_start(line)
            self._above[line] = (first, self._read_comment(first, line) if first < line else "")
        first, comment = self._above[line]
        end_line = self._line_at(max(start, end - 1))
        return _Extent(line, first, end_line, -1 if body is None else body.start_byte, comment)

    def _line_at(self, offset: int) -> int:
        return bisect_right(self.line_starts, offset)

    def _find_leading(self, nodes: Iterable[Node]) -> dict[int, int]:
        """Return the last line to the first line of each node that begins its line."""
        leading: dict[int, int] = {}
        for node in nodes:
            start, end = node.start_byte, node.end_byte
            first = self._line_at(start)
            if not self._data[self.line_starts[first - 1] : start].strip():
                leading[self._line_at(max(start, end - 1))] = first
        return leading

    def _find_start(self, line: int) -> int:
        """Return the first line of a definition with the comments and decorators above it."""
        while (above := self._leading.get(line - 1)) is not None:
            line = above
        return line

    def _read_signature(self, line: int, start: int, name_end: int, body_start: int, end: int) -> str:
        line_start = self.line_starts[line - 1]
        if MODIFIERS.match(self._data, line_start, start):
            start = line_start
        if body_start == end:
            body_start = self._find_head_end(name_end, min(end, start + MAX_HEAD_BYTES))
        text = self._read_text(start, body_start)
        return shorten(" ".join(text.split()).removesuffix(" do").rstrip(" :{=;"), MAX_SIGNATURE)

    def _find_head_end(self, position: int, end: int) -> int:
        """Return the end of the line, or the first brace, outside of brackets."""
        depth = 0
        for found in BRACKET.finditer(self._data, position, end):
            mark = found[0]
            if depth == 0 and mark in b"{;\n":
                return found.start()
            depth += 1 if mark in b"([{" else -1 if mark in b")]}" else 0
        return end

    def _read_docstring(self, start: int, end: int) -> str:
        """Return the first sentence of the string with which a body begins."""
        index = bisect_left(self._docs, (start, 0))
        if index == len(self._docs) or self._docs[index][0] >= end:
            return ""
        doc_start, doc_end = self._docs[index]
        between = self._data[start:doc_start]
        if len(between) > MAX_HEAD_BYTES or between.strip().removeprefix(b"do").strip().partition(b"@")[0]:
            return ""
        return first_sentence(strip_marks(self._read_text(doc_start, doc_end)))

    def _read_comment(self, first: int, line: int) -> str:
        """Return the first sentence of the comment in the lines above a definition."""
        rows: list[str] = []
        for last in range(first, min(line, first + MAX_LEADING_LINES)):
            if (start := self._leading.get(last)) is not None and self._is_documentation(start, last):
                rows += self._read_text(self.line_starts[start - 1], self.line_starts[last]).split("\n")
        text: list[str] = []
        for row in rows:
            found = COMMENT_LINE.match(DOCUMENT_WORD.sub("", row))
            words = strip_marks(TAGS.sub("", found[2] if found else "")).strip(" -=*#/~_")
            if words:
                text.append(words)
            elif text:
                break
        return first_sentence("\n".join(text))

    def _is_documentation(self, first: int, last: int) -> bool:
        """Return whether a node that ends at a line is a comment, or an attribute such as `@doc`."""
        if last in self._comments:
            return True
        start = self.line_starts[first - 1]
        return DOCUMENT_WORD.match(self._read_text(start, start + MAX_HEAD_BYTES)) is not None

    def _read_text(self, start: int, end: int) -> str:
        return self._data[start : min(end, start + MAX_HEAD_BYTES)].decode("utf-8", "replace")


def shorten(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def first_sentence(text: str) -> str:
    """Return the first sentence of the first paragraph, on one line."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    found = SENTENCE_END.search(paragraph)
    return shorten(paragraph if found is None else paragraph[: found.start() + 1], MAX_DOCUMENTATION)


def strip_marks(text: str) -> str:
    """Return the text of a string literal without its quotation marks."""
    found = STRING_START.match(text)
    text = text if found is None else text[found.end() :]
    stripped = text.rstrip()
    return stripped.rstrip(QUOTES) if stripped.endswith(tuple(QUOTES)) else text
