"""Find the references in a file among the names that its query captured."""

import re
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from tree_sitter import Node

from agent_brain_server.storage.fact_values import KIND_NUMBERS, ReferenceTable
from agent_brain_server.structure.ranges import Ranges
from agent_brain_server.structure.reference_queries import DIRECTIVES
from agent_brain_server.types import ReferenceKind

MAX_REFERENCES = 100_000  # of a file, of different name, line, kind and scope; the rest of the file has none
MAX_INHERITED = 500  # local variables around a definition that has its own; more are not copied
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

KIND_BITS = 2
SCOPE_BITS = 16
LINE_BITS = 28
"""A reference is a number of its name, line, scope and kind, from the highest bits to the lowest."""

USE = KIND_NUMBERS["use"]

BYTE_RANGE = attrgetter("byte_range")
START_BYTE = attrgetter("start_byte")

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
    """Names that are used, by the offset at which they start.

    Attributes:
        ends: Start to end.
        kinds: Start to the number of the kind, except for the kind `use`.
        bound: Starts of those that cannot be local variables.
    """

    ends: Mapping[int, int]
    kinds: Mapping[int, int]
    bound: Set[int]


def read_name(spelled: bytes, grammar: str) -> str:
    """Return the text of a name, in Ruby without the marks of symbols and variables."""
    text = spelled.decode("utf-8", "replace")
    return text.lstrip(":@$") if grammar == "ruby" else text


def find_references(
    captures: Captures, data: bytes, grammar: str, scopes: Scopes, line_starts: Sequence[int]
) -> ReferenceTable:
    """Return the references in the order of the file, each once for its name, line, kind and scope.

    Local variables are left out, because they do not use a name that is defined elsewhere.

    Args:
        captures: Captures of the grammar's query.
        data: The file in UTF-8.
        grammar: A name of `syntax.GRAMMARS`.
        scopes: The definitions.
        line_starts: Offset of the first byte of each line.
    """
    uses = _collect_uses(captures, data)
    kinds, bound, defined = uses.kinds, uses.bound, scopes.names
    chains = _find_locals(captures, data, scopes)
    area_kinds, areas = _find_areas(captures, data, grammar)
    spans = Ranges(scopes.spans)
    names = _NameIndexes(grammar)
    found: dict[int, None] = {}
    line = line_end = boundary = place = 0
    scope: int | None = None
    hidden: Set[bytes] = frozenset()
    area, imported = USE, KIND_NUMBERS["import"]
    for start, end in sorted(uses.ends.items()):
        if start >= boundary:
            scope = spans.find_innermost(start)
            index = areas.find_innermost(start)
            area = USE if index is None else KIND_NUMBERS[area_kinds[index]]
            hidden = frozenset() if scope is None or area == imported else chains[scope]
            boundary = min(spans.next_boundary(), areas.next_boundary())
            line_end = 0
        spelled = data[start:end]
        if end in defined or (spelled in hidden and start not in bound):
            continue
        name = names[spelled]
        if name < 0:
            continue
        if start >= line_end:
            line = bisect_right(line_starts, start)
            line_end = line_starts[line] if line < len(line_starts) else sys.maxsize
            place = (line << SCOPE_BITS | (0 if scope is None else scope + 1)) << KIND_BITS
        kind = kinds.get(start, USE)
        if area == imported or (kind == USE and area != USE):
            kind = area
        found[name << LINE_BITS + SCOPE_BITS + KIND_BITS | place | kind] = None
        if len(found) == MAX_REFERENCES:
            break
    return _make_table(names, found)


def _make_table(names: "_NameIndexes", found: Mapping[int, None]) -> ReferenceTable:
    numbers = np.fromiter(found, np.int64, len(found))
    kinds = numbers & (1 << KIND_BITS) - 1
    scopes = (numbers >> KIND_BITS & (1 << SCOPE_BITS) - 1) - 1
    lines = numbers >> KIND_BITS + SCOPE_BITS & (1 << LINE_BITS) - 1
    owners = numbers >> KIND_BITS + SCOPE_BITS + LINE_BITS
    return ReferenceTable(tuple(names.texts), np.stack((owners, lines, kinds, scopes), axis=1))


class _NameIndexes(dict[bytes, int]):
    """Names as spelled to the indexes of their texts; -1 for those that are ignored or too long.

    Attributes:
        texts: Texts to their indexes, in order.
    """

    def __init__(self, grammar: str) -> None:
        super().__init__()
        self.texts: dict[str, int] = {}
        self._grammar = grammar
        self._ignored = IGNORED.get(grammar, frozenset())

    def __missing__(self, spelled: bytes) -> int:
        text = read_name(spelled, self._grammar)
        is_name = text and text not in self._ignored and len(spelled) <= MAX_NAME_BYTES
        self[spelled] = self.texts.setdefault(text, len(self.texts)) if is_name else -1
        return self[spelled]


def _collect_uses(captures: Captures, data: bytes) -> _Uses:
    """Return the names that are used."""
    ends: dict[int, int] = {}
    for node in captures.get("text", ()):
        for word in WORD.finditer(data, node.start_byte, node.end_byte):
            start, end = word.span("name")
            if start >= 0 and word["name"] not in KEYWORDS:
                ends[start] = end
    for capture in ("bare", "dollar", "use", "call", "inherit"):
        ends.update(map(BYTE_RANGE, captures.get(capture, ())))
    kinds = dict.fromkeys(_starts(captures, "call"), KIND_NUMBERS["call"])
    kinds.update(dict.fromkeys(_starts(captures, "inherit"), KIND_NUMBERS["inherit"]))
    bound = _starts(captures, "use") - _starts(captures, "dollar") | _starts(captures, "static")
    return _Uses(ends, kinds, bound)


def _starts(captures: Captures, capture: str) -> set[int]:
    return set(map(START_BYTE, captures.get(capture, ())))


def _find_locals(captures: Captures, data: bytes, scopes: Scopes) -> list[Set[bytes]]:
    """Return the local variables of each definition, with those of the definitions around it."""
    own: list[set[bytes]] = [set() for _ in scopes.spans]
    variables = list(map(BYTE_RANGE, captures.get("local", ())))
    static = _starts(captures, "static")
    dollars = map(BYTE_RANGE, captures.get("dollar", ()))
    variables += (span for span in dollars if span[0] not in static)
    variables += scopes.variables
    for scope, name, end in _locate(variables, data, scopes):
        if end not in scopes.names:
            own[scope].add(name)
    declared = list(map(BYTE_RANGE, captures.get("global", ())))
    for scope, name, _ in _locate(declared, data, scopes):
        own[scope].discard(name)
    visible: list[Set[bytes]] = []
    for names, parent in zip(own, scopes.parents, strict=True):
        above = frozenset() if parent is None else visible[parent]
        is_joined = names and above and len(above) <= MAX_INHERITED
        visible.append(names | above if is_joined else names or above)
    return visible


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
