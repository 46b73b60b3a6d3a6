"""Tree-sitter grammars, each from its own wheel, loaded by the first file that needs it."""

import importlib
import threading
import time
from functools import cache

from tree_sitter import Language, Parser, Tree

from agent_brain_server.indexing.reading.limits import uncounted_cpu

MAX_PARSE_SECONDS = 1.0
"""Of the thread's CPU; the slowest grammar takes 0.5 for a sound file of 1 MB, broken ones may take minutes."""

PROBE_BYTES = 8_192
"""Bytes between two places at which the tree's shape is looked at: a degenerate part of this length does no harm."""

MAX_DEPTH = 3_000
"""Nodes inside each other; hand-written code stays under 100, long chains of operators reach some hundreds."""

MAX_ERROR_CHILDREN = 8_000
"""Nodes that the parser found no place for, in one run: 8,000 cost a query 30 ms, 100,000 four seconds."""

READ_BYTES = 65_536
"""Bytes that the parser is given at once."""

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
"""Grammar to the module that carries it and the function that returns it."""


def has_grammar(language: str) -> bool:
    """Tell whether files of the language are cut by syntax."""
    return language in GRAMMARS


def grammar_name(language: str, path: str) -> str:
    """Name the grammar of a file: that of its language, but TypeScript with markup in it has one of its own."""
    return "tsx" if language == "typescript" and path.lower().endswith(".tsx") else language


@cache
def load_grammar(name: str) -> Language:
    """Load a grammar of `GRAMMARS`, once per process."""
    module, function = GRAMMARS[name]
    with uncounted_cpu():
        return Language(getattr(importlib.import_module(module), function)())


class SlowSyntaxError(ValueError):
    """The syntax of a file would take too long to find out."""


class _Parsed(threading.local):
    """What this thread parses, until when, and what the parser reads it out of, a part at a time.

    The parts are of one buffer, as tree-sitter's binding (0.26.1) never lets go of what it was given to read: each file
    would stay in memory. Nor may it be asked for a node's `text`, which it would read in the same way.
    """

    def __init__(self) -> None:
        self.data = b""
        self.deadline = 0.0
        self.part = memoryview(bytearray(READ_BYTES))


_parsed = _Parsed()


def _read_parsed(offset: int, _: object) -> memoryview:
    found = _parsed.data[offset : offset + READ_BYTES]
    _parsed.part[: len(found)] = found
    return _parsed.part if len(found) == READ_BYTES else _parsed.part[: len(found)]


def _is_late(*_: object) -> bool:
    return time.thread_time() > _parsed.deadline


def parse(data: bytes, grammar: str) -> Tree:
    """Parse UTF-8 text into a tree that queries can be run over in short time.

    Raises:
        SlowSyntaxError: The parser does not get through, or what it makes of the file is a degenerate tree.
    """
    _parsed.data, _parsed.deadline = data, time.thread_time() + MAX_PARSE_SECONDS
    try:
        tree = Parser(load_grammar(grammar)).parse(_read_parsed, progress_callback=_is_late)
    except ValueError as error:  # what a cancelled parse ends in
        raise SlowSyntaxError("the parser does not get through") from error
    finally:
        _parsed.data = b""
    for position in range(0, len(data) + PROBE_BYTES, PROBE_BYTES):
        _probe_shape(tree, min(position, len(data)))
    return tree


def _probe_shape(tree: Tree, position: int) -> None:
    """Go down to one place of the tree; queries take time by the square of depth, and of the length of errors."""
    cursor = tree.walk()
    for _ in range(MAX_DEPTH):
        node = cursor.node
        if node is None or (node.is_error and node.child_count > MAX_ERROR_CHILDREN):
            raise SlowSyntaxError("the file is hardly in its language")
        if cursor.goto_first_child_for_byte(position) is None:
            return
    raise SlowSyntaxError("the file is nested too deeply")
