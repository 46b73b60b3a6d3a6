"""Find what a source file defines, and where."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tree_sitter import Node, Query, QueryCursor, Tree

from agent_brain_server.indexing.chunking.definition_queries import CONTAINER_KINDS, DEFINITION_QUERIES, NAMELESS_KINDS
from agent_brain_server.indexing.chunking.grammars import load_grammar
from agent_brain_server.indexing.reading.limits import uncounted_cpu

MAX_SYMBOLS = 64
"""Symbols of one chunk; more are a table of constants, and each costs space in every answer."""

MAX_NAME_CHARACTERS = 100
"""Characters; a longer "name" is what error recovery made of broken code."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition in a file.

    Attributes:
        name: As written, qualified where the file qualifies it (`Client::send`).
        kind: `class`, `def`, ...: the name of the capture in `definition_queries.py`.
        row: Where the name stands, 0-based.
        depth: How many definitions are around it.
    """

    name: str
    kind: str
    row: int
    depth: int

    @property
    def symbol(self) -> str:
        """The name without qualification."""
        return unqualify(self.name)

    @property
    def label(self) -> str:
        """How a heading calls it."""
        return f"{self.kind} {self.name}"

    @property
    def is_container(self) -> bool:
        """True where it has members that are definitions."""
        return self.kind in CONTAINER_KINDS


class Definitions:
    """The definitions of one file, by the node that makes them and by row."""

    def __init__(self, by_node: dict[int, Definition]) -> None:
        self._by_node = by_node
        self._ordered = sorted(by_node.values(), key=lambda definition: definition.row)
        self._rows = [definition.row for definition in self._ordered]

    def of_node(self, node: Node) -> Definition | None:
        """Return what the node defines."""
        return self._by_node.get(node.id)

    def find_symbols(self, start: int, end: int) -> tuple[str, ...]:
        """Return the names that are defined in the rows from `start` up to, not including, `end`, outermost first."""
        inside = self._ordered[bisect_left(self._rows, start) : bisect_left(self._rows, end)]
        named = [definition for definition in inside if definition.kind not in NAMELESS_KINDS]
        named.sort(key=lambda definition: definition.depth)
        return tuple(dict.fromkeys(definition.symbol for definition in named))[:MAX_SYMBOLS]


def find_definitions(tree: Tree, data: bytes, grammar: str) -> Definitions:
    """Run the grammar's query over the tree that `data` was parsed into."""
    by_node: dict[int, Definition] = {}
    names: set[int] = set()
    open_ends: list[int] = []
    for node, name, kind in sorted(_find_captures(tree, data, grammar), key=lambda found: _nesting(found[0])):
        if node.id in by_node or name.id in names:
            continue
        names.add(name.id)
        while open_ends and open_ends[-1] <= node.start_byte:
            open_ends.pop()
        text = _read_name(name, data)
        by_node[node.id] = Definition(text, kind, name.start_point[0], len(open_ends))
        open_ends.append(node.end_byte)
    return Definitions(by_node)


def _find_captures(tree: Tree, data: bytes, grammar: str) -> Iterator[tuple[Node, Node, str]]:
    """Yield each definition's node, its name's node and its kind, in the order of the patterns."""
    query = _load_query(grammar)
    for pattern, captures in sorted(QueryCursor(query).matches(tree.root_node), key=lambda match: match[0]):
        if _is_wanted(query.pattern_settings(pattern), captures, data):
            kind = next(capture for capture in captures if capture != "name" and not capture.startswith("_"))
            yield captures[kind][0], captures["name"][0], kind


def _is_wanted(settings: Mapping[str, str | None], captures: Mapping[str, Sequence[Node]], data: bytes) -> bool:
    """Tell whether what the pattern's condition is about reads as it says."""
    if not settings:
        return True
    texts = [_read(node, data) for capture, nodes in captures.items() if capture.startswith("_") for node in nodes]
    has, lacks = settings.get("has"), settings.get("lacks")
    if has is not None and not all(re.search(has, text) for text in texts):
        return False
    return lacks is None or not any(re.search(lacks, text) for text in texts)


def _nesting(node: Node) -> tuple[int, int]:
    """Sort key that puts outer nodes before inner ones."""
    return node.start_byte, -node.end_byte


@cache
def _load_query(grammar: str) -> Query:
    with uncounted_cpu():
        return Query(load_grammar(grammar), DEFINITION_QUERIES[grammar])


def _read_name(node: Node, data: bytes) -> str:
    return " ".join(_read(node, data).split())[:MAX_NAME_CHARACTERS]


def _read(node: Node, data: bytes) -> str:
    return data[node.start_byte : node.end_byte].decode("utf-8", "replace")


def unqualify(name: str) -> str:
    """Take the last part of a qualified name, without type parameters: `net::Client<T>` is `Client`."""
    bare = name.partition("<")[0].rstrip() or name
    return bare.rpartition("::")[2].rpartition(".")[2].rpartition("\\")[2] or bare
