"""Parse source files with tree-sitter and find the definitions in them.

Each grammar comes in its own wheel and is loaded by the first file that needs it. Parsing is bounded, because some
broken or generated files take a parser minutes: see `SlowSyntaxError`.
"""

import importlib
import re
import threading
import time
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tree_sitter import Language, Node, Parser, Query, QueryCursor, Tree

from agent_brain_server.structure.definition_queries import DEFINITION_QUERIES
from agent_brain_server.support.limits import uncounted_cpu
from agent_brain_server.types import NAMELESS_KINDS

MAX_PARSE_SECONDS = 1.0  # CPU of the thread; the slowest grammar takes 0.5 s for a valid file of 1 MB
PROBE_BYTES = 8_192  # distance of two checks of the tree's shape; a shorter degenerate part is harmless
MAX_DEPTH = 3_000  # nested nodes; hand-written code has under 100, long chains of operators some hundreds
MAX_ERROR_CHILDREN = 8_000  # children of an error node; queries take 30 ms for 8,000 and 4 s for 100,000
READ_BYTES = 65_536  # bytes passed to the parser at once
MAX_SYMBOLS = 64  # symbols of one chunk; more are a table of constants, and would bloat every answer
MAX_NAME_CHARACTERS = 100  # longer names are an artifact of error recovery in broken code

MACRO_GRAMMARS = frozenset({"c", "cpp"})
"""Grammars that do not know macros that stand for a part of a declaration."""

MACRO_LINE = re.compile(rb"""
    (?<=[^\\,=(|&+?:<]\n) [A-Z][A-Z0-9_]{5,} (?:\([^()\n;{}]{0,200}\))? (?=[ \t\r]*\n(?![ \t\r]*[\n{]*[{=,]))
    """, re.VERBOSE)  # fmt: skip
"""A macro that is alone in its line, such as `LIB_NAMESPACE_BEGIN`: without it, the code around it can be parsed."""

GRAMMARS: dict[str, tuple[str, str]] = {
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "elixir": ("tree_sitter_elixir", "language"),
    "go": ("tree_sitter_go", "language"),
    "haskell": ("tree_sitter_haskell", "language"),
    "java": ("tree_sitter_java", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "kotlin": ("tree_sitter_kotlin", "language"),
    "lua": ("tree_sitter_lua", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "python": ("tree_sitter_python", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "scala": ("tree_sitter_scala", "language"),
    "shell": ("tree_sitter_bash", "language"),
    "swift": ("tree_sitter_swift", "language"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "zig": ("tree_sitter_zig", "language"),
}
"""Name of a grammar to its module and the function that returns it."""


def has_grammar(language: str) -> bool:
    """Return whether there is a grammar for a language."""
    return language in GRAMMARS


def grammar_name(language: str, path: str) -> str:
    """Return the grammar of a file: the language's, or `tsx` for TypeScript with JSX."""
    return "tsx" if language == "typescript" and path.lower().endswith(".tsx") else language


@cache
def load_grammar(name: str) -> Language:
    """Load a grammar of `GRAMMARS`, once per process."""
    module, function = GRAMMARS[name]
    with uncounted_cpu():
        return Language(getattr(importlib.import_module(module), function)())


class SlowSyntaxError(ValueError):
    """A file takes too long to parse or query."""


class _ParserInput(threading.local):
    """The text that this thread is parsing, the deadline, and the buffer from which the parser reads.

    There is one buffer, because the tree-sitter binding (0.26.1) never releases the objects that it reads from, and
    each file would stay in memory. For the same reason `Node.text` must not be used.
    """

    def __init__(self) -> None:
        self.data = b""
        self.deadline = 0.0
        self.buffer = memoryview(bytearray(READ_BYTES))


_input = _ParserInput()


def _read_input(offset: int, _: object) -> memoryview:
    block = _input.data[offset : offset + READ_BYTES]
    _input.buffer[: len(block)] = block
    return _input.buffer if len(block) == READ_BYTES else _input.buffer[: len(block)]


def _is_late(*_: object) -> bool:
    return time.thread_time() > _input.deadline


def parse(data: bytes, grammar: str) -> Tree:
    """Parse UTF-8 text into a syntax tree that can be queried in bounded time.

    Raises:
        SlowSyntaxError: Parsing takes too long, or the tree is degenerate.
    """
    if grammar in MACRO_GRAMMARS:
        data = MACRO_LINE.sub(_blank, data)
    _input.data, _input.deadline = data, time.thread_time() + MAX_PARSE_SECONDS
    try:
        tree = Parser(load_grammar(grammar)).parse(_read_input, progress_callback=_is_late)
    except ValueError as error:  # raised if the callback cancels
        raise SlowSyntaxError("parsing takes too long") from error
    finally:
        _input.data = b""
    for position in range(0, len(data) + PROBE_BYTES, PROBE_BYTES):
        _check_shape(tree, min(position, len(data)))
    return tree


def _blank(found: re.Match[bytes]) -> bytes:
    return b" " * len(found[0])


def _check_shape(tree: Tree, position: int) -> None:
    """Descend to a byte position and reject deep nesting and long errors, in which queries take quadratic time."""
    cursor = tree.walk()
    for _ in range(MAX_DEPTH):
        node = cursor.node
        if node is None or (node.is_error and node.child_count > MAX_ERROR_CHILDREN):
            raise SlowSyntaxError("most of the file is not valid in its language")
        if cursor.goto_first_child_for_byte(position) is None:
            return
    raise SlowSyntaxError("the file is nested too deeply")


@dataclass(frozen=True, slots=True, eq=False)
class DefiningNode:
    """A syntax node that defines a name; `facts.extract_facts` makes a `Definition` of it.

    Attributes:
        name: Name as spelled, possibly qualified (`Client::send`).
        kind: `class`, `def`, ...: the capture's name in `definition_queries.py`.
        row: Row of the name, 0-based.
        depth: Number of enclosing definitions.
        node: The whole definition.
        name_node: The name in it.
    """

    name: str
    kind: str
    row: int
    depth: int
    node: Node
    name_node: Node

    @property
    def symbol(self) -> str:
        """The unqualified name."""
        return unqualify(self.name)

    @property
    def label(self) -> str:
        """Kind and name, as shown in headings (`class Client`)."""
        return f"{self.kind} {self.name}"


class Definitions:
    """The definitions of one file, by syntax node and by row."""

    def __init__(self, by_node: dict[int, DefiningNode]) -> None:
        self._by_node = by_node
        self._ordered = sorted(by_node.values(), key=lambda definition: definition.row)
        self._rows = [definition.row for definition in self._ordered]
        self._nested = list(by_node.values())  # `find_definitions` adds outer ones first
        self._starts = [definition.node.start_byte for definition in self._nested]

    @property
    def nodes(self) -> Collection[DefiningNode]:
        """The definitions in the order of the file, outer ones before inner ones."""
        return self._by_node.values()

    def of_node(self, node: Node) -> DefiningNode | None:
        """Return the definition that a node makes, or `None`."""
        return self._by_node.get(node.id)

    def inside(self, start: int, end: int) -> Sequence[DefiningNode]:
        """Return the definitions in the bytes of [start, end), in the order of the file, outer ones first."""
        return self._nested[bisect_left(self._starts, start) : bisect_left(self._starts, end)]

    def find_symbols(self, start: int, end: int) -> tuple[str, ...]:
        """Return the symbols defined in the rows of [start, end), outermost first."""
        inside = self._ordered[bisect_left(self._rows, start) : bisect_left(self._rows, end)]
        named = [definition for definition in inside if definition.kind not in NAMELESS_KINDS]
        named.sort(key=lambda definition: definition.depth)
        return tuple(dict.fromkeys(definition.symbol for definition in named))[:MAX_SYMBOLS]


def find_definitions(tree: Tree, data: bytes, grammar: str) -> Definitions:
    """Return the definitions in a file.

    Args:
        tree: The syntax tree of `data`.
        data: The file in UTF-8.
        grammar: A name of `GRAMMARS`.
    """
    by_node: dict[int, DefiningNode] = {}
    names: set[int] = set()
    open_ends: list[int] = []
    for node, name, kind in sorted(_find_captures(tree, data, grammar), key=lambda found: _nesting(found[0])):
        if node.id in by_node or name.id in names:
            continue
        names.add(name.id)
        while open_ends and open_ends[-1] <= node.start_byte:
            open_ends.pop()
        text = _read_name(name, data)
        by_node[node.id] = DefiningNode(text, kind, name.start_point[0], len(open_ends), node, name)
        open_ends.append(node.end_byte)
    return Definitions(by_node)


def _find_captures(tree: Tree, data: bytes, grammar: str) -> Iterator[tuple[Node, Node, str]]:
    """Yield node, name node and kind of each definition, in the order of the patterns."""
    query = _load_query(grammar)
    for pattern, captures in sorted(QueryCursor(query).matches(tree.root_node), key=lambda match: match[0]):
        if _meets_condition(query.pattern_settings(pattern), captures, data):
            kind = next(capture for capture in captures if capture != "name" and not capture.startswith("_"))
            yield captures[kind][0], captures["name"][0], kind


def _meets_condition(settings: Mapping[str, str | None], captures: Mapping[str, Sequence[Node]], data: bytes) -> bool:
    """Return whether the texts of the `@_…` captures meet a pattern's `has` and `lacks` settings."""
    if not settings:
        return True
    texts = [_read(node, data) for capture, nodes in captures.items() if capture.startswith("_") for node in nodes]
    has, lacks = settings.get("has"), settings.get("lacks")
    if has is not None and not all(re.search(has, text) for text in texts):
        return False
    return lacks is None or not any(re.search(lacks, text) for text in texts)


def _nesting(node: Node) -> tuple[int, int]:
    """Return a sort key that orders outer nodes before inner ones."""
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
    """Return the last part of a qualified name, without type parameters: `net::Client<T>` is `Client`."""
    bare = name.partition("<")[0].rstrip() or name
    return bare.rpartition("::")[2].rpartition(".")[2].rpartition("\\")[2] or bare
