"""Read what stands at the head of a definition: its signature, its documentation, and the lines that belong to it."""

import re
from bisect import bisect_right
from itertools import accumulate

from tree_sitter import Node

from agent_brain_server.structure.syntax import DefiningNode

MAX_SIGNATURE = 200  # characters
MAX_DOCUMENTATION = 200  # characters
MAX_HEAD_BYTES = 2_000  # read for a signature or a documentation line

BODY_TYPES = frozenset({"block", "class_body", "declaration_list", "statement_block"})
MODIFIERS = re.compile(rb"[\w \t]*\Z")
COMMENT_MARKS = re.compile(r"^[\s/*#!;<\-{|]+|[\s*/\-}]+$")
STRING_MARKS = re.compile(r"^[A-Za-z]{0,2}[\"'`]+|[\"'`]+$")
SENTENCE_END = re.compile(r"(?<=[.!?])\s")


class Heads:
    """Reads signatures and documentation from one file."""

    def __init__(self, data: bytes, captures: dict[str, list[Node]]) -> None:
        self.data = data
        self._line_starts = [0, *accumulate(len(line) + 1 for line in data.split(b"\n"))]
        self._documents = {node.end_byte: node for node in captures.get("doc", ())}
        self._leading = self._find_leading(captures.get("leading", []) + captures.get("comment", []))
        self._docs = sorted((node.start_byte, node.end_byte) for node in captures.get("doc", ()))

    def line_at(self, offset: int) -> int:
        """Return the line of a byte offset, 1-based."""
        return bisect_right(self._line_starts, offset)

    def _find_leading(self, nodes: list[Node]) -> dict[int, int]:
        """Return the last line to the first line of each node that starts its line."""
        leading: dict[int, int] = {}
        for node in nodes:
            start, end = node.start_byte, node.end_byte
            first = self.line_at(start)
            if not self.data[self._line_starts[first - 1] : start].strip():
                leading[self.line_at(max(start, end - 1))] = first
        return leading

    def find_start(self, node: Node) -> int:
        """Return the first line of a definition with the comments and decorators above it."""
        line = self.line_at(node.start_byte)
        while (above := self._leading.get(line - 1)) is not None:
            line = above
        return line

    def find_end(self, node: Node) -> int:
        """Return the last line with text of a definition."""
        return self.line_at(max(node.start_byte, node.end_byte - 1))

    def read_signature(self, found: DefiningNode) -> str:
        """Return the head of a definition on one line, shortened."""
        node = found.node
        start, end = node.start_byte, node.end_byte
        line_start = self._line_starts[self.line_at(start) - 1]
        if MODIFIERS.match(self.data, line_start, start):
            start = line_start
        body = node.child_by_field_name("body")
        if body is not None and body.start_byte > found.name_node.end_byte:
            end = body.start_byte
        else:
            newline = self.data.find(b"\n", found.name_node.end_byte, end)
            end = newline if newline >= 0 else end
        text = " ".join(self.data[start : min(end, start + MAX_HEAD_BYTES)].decode("utf-8", "replace").split())
        return shorten(text.rstrip(" :{="), MAX_SIGNATURE)

    def read_documentation(self, node: Node) -> str:
        """Return the first sentence of a definition's docstring or of the comment above it."""
        position = bisect_right(self._docs, (node.start_byte, 0))
        body = node.child_by_field_name("body")
        if (
            body is not None
            and position < len(self._docs)
            and body.start_byte <= self._docs[position][0] < body.end_byte
        ):
            start, end = self._docs[position]
            if not self.data[body.start_byte : start].strip():
                text = self.data[start : min(end, start + MAX_HEAD_BYTES)].decode("utf-8", "replace")
                return first_sentence(STRING_MARKS.sub("", text.strip()))
        return ""


def shorten(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def first_sentence(text: str) -> str:
    """Return the first sentence of the first paragraph, on one line."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    return shorten(SENTENCE_END.split(paragraph, maxsplit=1)[0], MAX_DOCUMENTATION)
