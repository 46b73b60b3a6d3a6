"""Find the references in a file among the names that its query captured."""

import re
import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence, Set

from tree_sitter import Node

from agent_brain_server.structure.ranges import Ranges
from agent_brain_server.structure.reference_queries import DIRECTIVES
from agent_brain_server.types import Reference, ReferenceKind

MAX_REFERENCES = 100_000  # of a file, of different name, line, kind and scope; the rest of the file has none
MAX_NAME_BYTES = 100  # longer names are an artifact of error recovery in broken code

WORD = re.compile(rb"""
    "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | //[^\n]* | /\*.*?\*/
    | (?<![\w\x80-\xff]) (?P<name>[A-Za-z_\x80-\xff][\w\x80-\xff]*)
    """, re.VERBOSE | re.DOTALL)  # fmt: skip
"""A word, or a string or comment in which words are no names."""

KEYWORDS = frozenset(
    b"break case char const continue default defined do double else enum extern float for goto if inline int long "
    b"register return short signed sizeof static struct switch typedef union unsigned void volatile while".split()
)
"""Words that are no names in the body of a macro."""

IGNORED: dict[str, frozenset[str]] = {
    "elixir": frozenset(
        {"def", "defguard", "defguardp", "defimpl", "defmacro", "defmacrop", "defmodule", "defp", "defprotocol"}
        | {
            "callback",
            "defdelegate",
            "defstruct",
            "doc",
            "impl",
            "moduledoc",
            "opaque",
            "spec",
            "type",
            "typedoc",
            "typep",
        }
    ),
    "python": frozenset({"cls", "self"}),
}
"""Names that are words of the language, and are used in nearly every line."""

Captures = Mapping[str, Sequence[Node]]


def find_references(
    captures: Captures,
    data: bytes,
    grammar: str,
    definitions: Sequence[tuple[int, int]],
    names: Set[int],
    line_starts: Sequence[int],
) -> tuple[Reference, ...]:
    """Return the references in the order of the file, each once for its name, line, kind and scope.

    Args:
        captures: Captures of the grammar's query.
        data: The file in UTF-8.
        grammar: A name of `syntax.GRAMMARS`.
        definitions: Start and end of each definition, ordered by start.
        names: End of the names of definitions, which are no references.
        line_starts: Offset of the first byte of each line.
    """
    uses = _collect_uses(captures, data, names)
    kinds, areas = _find_areas(captures, data, grammar)
    scopes = Ranges(definitions)
    ignored = IGNORED.get(grammar, frozenset())
    texts: dict[bytes, str] = {}
    found: dict[Reference, None] = {}
    line = line_end = boundary = 0
    scope: int | None = None
    area: ReferenceKind = "use"
    for start, (end, kind) in sorted(uses.items()):
        if start >= line_end:
            line = bisect_right(line_starts, start)
            line_end = line_starts[line] if line < len(line_starts) else sys.maxsize
        if start >= boundary:
            scope = scopes.find_innermost(start)
            index = areas.find_innermost(start)
            area = "use" if index is None else kinds[index]
            boundary = min(scopes.next_boundary(), areas.next_boundary())
        if area == "import" or (kind == "use" and area != "use"):
            kind = area
        spelled = data[start:end]
        text = texts.get(spelled)
        if text is None:
            text = texts[spelled] = spelled.decode("utf-8", "replace").lstrip(":@$")
        if text and text not in ignored:
            found[Reference(text, line, kind, scope)] = None
            if len(found) == MAX_REFERENCES:
                break
    return tuple(found)


def _collect_uses(captures: Captures, data: bytes, names: Set[int]) -> dict[int, tuple[int, ReferenceKind]]:
    """Return start, end and kind of the names that are used."""
    uses: dict[int, tuple[int, ReferenceKind]] = {}
    kinds: tuple[ReferenceKind, ...] = ("use", "call", "inherit")  # a later kind replaces an earlier one
    for kind in kinds:
        for node in captures.get(kind, ()):
            start, end = node.start_byte, node.end_byte
            if end not in names and end - start <= MAX_NAME_BYTES:
                uses[start] = (end, kind)
    for node in captures.get("text", ()):
        for word in WORD.finditer(data, node.start_byte, node.end_byte):
            start, end = word.span("name")
            if start >= 0 and end not in names and end - start <= MAX_NAME_BYTES and word["name"] not in KEYWORDS:
                uses.setdefault(start, (end, "use"))
    for node in captures.get("skip", ()):
        uses.pop(node.start_byte, None)
    return uses


def _find_areas(captures: Captures, data: bytes, grammar: str) -> tuple[list[ReferenceKind], Ranges]:
    """Return the ranges in which names have the kind `import`, `inherit`, or again `use`."""
    found: list[tuple[int, int, ReferenceKind]] = []
    kinds: tuple[tuple[str, ReferenceKind], ...] = (("imports", "import"), ("inherits", "inherit"), ("plain", "use"))
    for capture, kind in kinds:
        found += ((node.start_byte, -node.end_byte, kind) for node in captures.get(capture, ()))
    directives = DIRECTIVES.get(grammar, {})
    for node in captures.get("directive", ()):
        start = node.start_byte
        for kind, words in directives.items():
            if re.compile(words.encode()).match(data, start):
                found.append((start, -node.end_byte, kind))
    found.sort()
    return [kind for _, _, kind in found], Ranges((start, -reversed_end) for start, reversed_end, _ in found)
