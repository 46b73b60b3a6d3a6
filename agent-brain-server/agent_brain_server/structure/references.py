"""Find the references in a file among the names that its query captured."""

import re
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from tree_sitter import Node

from agent_brain_server.structure.ranges import Ranges
from agent_brain_server.structure.reference_queries import DIRECTIVES
from agent_brain_server.types import Reference, ReferenceKind

MAX_REFERENCES = 100_000  # of a file, of different name, line, kind and scope; the rest of the file has none
MAX_CHAIN = 8  # enclosing definitions that are searched for a local variable
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
}
"""Names that are words of the language, and are used in nearly every line."""

Captures = Mapping[str, Sequence[Node]]


@dataclass(frozen=True, slots=True)
class Scopes:
    """The definitions of a file, between which references are found.

    Attributes:
        spans: Start and end of each, ordered by start.
        parents: Index of the enclosing definition of each.
        names: Ends of their names, which are no references.
        variables: Start and end of the names of local variables that are not among the definitions.
    """

    spans: Sequence[tuple[int, int]]
    parents: Sequence[int | None]
    names: Set[int]
    variables: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Uses:
    """Names that are used.

    Attributes:
        kinds: Start to end and kind.
        bare: Starts of those that may be local variables.
    """

    kinds: Mapping[int, tuple[int, ReferenceKind]]
    bare: Set[int]


def find_references(
    captures: Captures, data: bytes, grammar: str, scopes: Scopes, line_starts: Sequence[int]
) -> tuple[Reference, ...]:
    """Return the references in the order of the file, each once for its name, line, kind and scope.

    Local variables are left out, because they do not use a name that is defined elsewhere.

    Args:
        captures: Captures of the grammar's query.
        data: The file in UTF-8.
        grammar: A name of `syntax.GRAMMARS`.
        scopes: The definitions.
        line_starts: Offset of the first byte of each line.
    """
    uses = _collect_uses(captures, data, scopes.names)
    chains = _find_locals(captures, data, scopes)
    area_kinds, areas = _find_areas(captures, data, grammar)
    spans = Ranges(scopes.spans)
    names = _NameTexts(grammar)
    found: dict[Reference, None] = {}
    line = line_end = boundary = 0
    scope: int | None = None
    hidden: Sequence[Set[bytes]] = ()
    area: ReferenceKind = "use"
    for start, (end, kind) in sorted(uses.kinds.items()):
        if start >= boundary:
            scope = spans.find_innermost(start)
            index = areas.find_innermost(start)
            area = "use" if index is None else area_kinds[index]
            hidden = () if scope is None or area == "import" else chains[scope]
            boundary = min(spans.next_boundary(), areas.next_boundary())
        spelled = data[start:end]
        if hidden and start in uses.bare and any(spelled in variables for variables in hidden):
            continue
        if start >= line_end:
            line = bisect_right(line_starts, start)
            line_end = line_starts[line] if line < len(line_starts) else sys.maxsize
        if area == "import" or (kind == "use" and area != "use"):
            kind = area
        if name := names[spelled]:
            found[Reference(name, line, kind, scope)] = None
            if len(found) == MAX_REFERENCES:
                break
    return tuple(found)


class _NameTexts(dict[bytes, str]):
    """Names as spelled to their texts; "" for those that are ignored."""

    def __init__(self, grammar: str) -> None:
        super().__init__()
        self._ignored = IGNORED.get(grammar, frozenset())

    def __missing__(self, spelled: bytes) -> str:
        text = spelled.decode("utf-8", "replace").lstrip(":@$")
        self[spelled] = "" if text in self._ignored else text
        return self[spelled]


def _collect_uses(captures: Captures, data: bytes, names: Set[int]) -> _Uses:
    """Return the names that are used."""
    uses: dict[int, tuple[int, ReferenceKind]] = {}
    kinds: tuple[tuple[str, ReferenceKind], ...] = (
        ("bare", "use"), ("dollar", "use"), ("use", "use"), ("call", "call"), ("inherit", "inherit")
    )  # fmt: skip  # a later kind replaces an earlier one
    for capture, kind in kinds:
        for node in captures.get(capture, ()):
            start, end = node.start_byte, node.end_byte
            if end not in names and end - start <= MAX_NAME_BYTES:
                uses[start] = (end, kind)
    for node in captures.get("text", ()):
        for word in WORD.finditer(data, node.start_byte, node.end_byte):
            start, end = word.span("name")
            if start >= 0 and end not in names and end - start <= MAX_NAME_BYTES and word["name"] not in KEYWORDS:
                uses.setdefault(start, (end, "use"))
    bare = {node.start_byte for capture in ("bare", "dollar") for node in captures.get(capture, ())}
    bare.difference_update(node.start_byte for node in captures.get("use", ()))
    return _Uses(uses, bare)


def _find_locals(captures: Captures, data: bytes, scopes: Scopes) -> list[list[set[bytes]]]:
    """Return the local variables of each definition and of those around it, innermost first."""
    own: list[set[bytes]] = [set() for _ in scopes.spans]
    variables = [(node.start_byte, node.end_byte) for node in captures.get("local", ())]
    variables += ((node.start_byte, node.end_byte) for node in captures.get("dollar", ()))
    variables += scopes.variables
    for scope, name, end in _locate(variables, data, scopes):
        if end not in scopes.names:
            own[scope].add(name)
    declared = [(node.start_byte, node.end_byte) for node in captures.get("global", ())]
    for scope, name, _ in _locate(declared, data, scopes):
        own[scope].discard(name)
    chains: list[list[set[bytes]]] = []
    for names, parent in zip(own, scopes.parents, strict=True):
        above = [] if parent is None else chains[parent]
        chains.append([names, *above][:MAX_CHAIN] if names else above)
    return chains


def _locate(found: Sequence[tuple[int, int]], data: bytes, scopes: Scopes) -> Iterator[tuple[int, bytes, int]]:
    """Yield the innermost definition, the name and its end of each name that is in a definition."""
    spans = Ranges(scopes.spans)
    for start, end in sorted(found):
        scope = spans.find_innermost(start)
        if scope is not None:
            yield scope, data[start:end], end


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
