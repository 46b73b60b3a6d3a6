"""Split source code along its syntax tree.

A file is split into *segments*: the rows of one syntax node with the comments and attributes above it. Segments that
are too long are split recursively into segments of their child nodes; then small adjacent segments of one definition
are joined. Because segments are ranges of rows, each row belongs to exactly one chunk, whatever the parser produces.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tree_sitter import Node, Tree

from agent_brain_server.indexing.chunking.source_lines import Limits, Piece, SourceLines
from agent_brain_server.structure.facts import extract_facts
from agent_brain_server.structure.syntax import (
    DefiningNode,
    Definitions,
    SlowSyntaxError,
    find_definitions,
    grammar_name,
    parse,
)
from agent_brain_server.types import SourceText, SyntaxFacts

LEADING_TYPES = frozenset(
    {
        "annotation",
        "attribute",
        "attribute_item",
        "attribute_list",
        "block_comment",
        "comment",
        "decorator",
        "doc_comment",
        "haddock",
        "inner_attribute_item",
        "line_comment",
        "multiline_comment",
        "pragma",
        "signature",
    }
)
"""Types of nodes that belong to the node in the next row."""

ADJACENT_LANGUAGES = frozenset({"elixir", "haskell"})
"""Languages in which one definition consists of nodes in adjacent rows: clauses, equations, signatures."""

LIST_TYPES = frozenset({"declarations", "imports"})
"""Types of nodes that only group their children; in Haskell they include the comments in between."""

MAX_SCOPES = 6  # enclosing definitions in a heading; deeper nesting is generated code
TAIL_TOKENS = 20  # a shorter remainder, such as a final `return`, stays with the preceding segment
MAX_ROW_CHARACTERS = 20_000  # some scanners take quadratic time in the length of a line and cannot be cancelled

SCOPE_SEPARATOR = " > "


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """A definition that was split; its segments are joined only with each other."""

    labels: tuple[str, ...] = ()

    def enter(self, definition: DefiningNode) -> "Scope":
        """Return the scope of a nested definition."""
        return Scope((*self.labels, definition.label)[:MAX_SCOPES])

    @property
    def heading(self) -> str | None:
        """Labels of the enclosing definitions, outermost first."""
        return SCOPE_SEPARATOR.join(self.labels) or None


@dataclass(slots=True)
class Segment:
    """The rows of [start, end) with their nodes; `last` is the last row of a node."""

    start: int
    end: int
    scope: Scope
    nodes: list[Node] = field(default_factory=list)
    last: int = -1
    is_leading: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ParsedSource:
    """Source code with its syntax tree and the definitions in it."""

    lines: SourceLines
    language: str
    grammar: str
    tree: Tree
    definitions: Definitions

    def extract_facts(self) -> SyntaxFacts:
        """Return the definitions and references of the file."""
        return extract_facts(self.tree, self.lines.encoded, self.grammar, self.definitions)


def parse_source(lines: SourceLines, source: SourceText) -> ParsedSource:
    """Parse source code.

    Raises:
        SlowSyntaxError: The file takes too long to parse, as some broken or generated files do.
    """
    if any(len(row) > MAX_ROW_CHARACTERS for row in lines.rows):
        raise SlowSyntaxError("a line is too long")
    grammar = grammar_name(source.language, source.path)
    tree = parse(lines.encoded, grammar)
    return ParsedSource(lines, source.language, grammar, tree, find_definitions(tree, lines.encoded, grammar))


def chunk_source(parsed: ParsedSource, limits: Limits) -> Iterator[Piece]:
    """Split source code into definitions that fit into a chunk, and groups of small ones."""
    lines, definitions = parsed.lines, parsed.definitions
    segments = _Splitter(lines, limits, definitions, parsed.tree.root_node, parsed.language).split()
    for segment in _join_small(lines, segments, limits, definitions):
        symbols = definitions.find_symbols(segment.start, segment.end)
        yield from lines.make_pieces(segment.start, segment.end, limits, symbols=symbols, heading=segment.scope.heading)


class _Splitter:
    """Splits a tree into segments within the hard limit, in the order of the file."""

    def __init__(self, lines: SourceLines, limits: Limits, definitions: Definitions, root: Node, language: str) -> None:
        self._lines = lines
        self._limits = limits
        self._definitions = definitions
        self._root = root
        self._joins_adjacent = language in ADJACENT_LANGUAGES

    def split(self) -> Iterator[Segment]:
        """Yield segments that partition the rows of the file."""
        pending = [Segment(0, len(self._lines.rows), Scope(), [self._root])]
        while pending:
            segment = pending.pop()
            parts = self._divide(segment)
            if parts:
                pending.extend(reversed(parts))
            else:
                yield segment

    def _divide(self, segment: Segment) -> list[Segment]:
        """Return at least two parts of a segment, or none if it is short enough or cannot be split."""
        nodes = segment.nodes
        scope = segment.scope
        head_row = segment.start
        is_root = nodes[0].id == self._root.id if nodes else False
        while nodes and segment.end - segment.start > 1 and (is_root or self._is_too_long(segment)):
            parts = self._group(nodes, segment, scope, head_row, joins=False)
            if len(parts) > 1:
                return parts
            node = max(nodes, key=_count_rows)
            if definition := self._definitions.of_node(node):
                scope = scope.enter(definition)
                head_row = node.start_point[0]
            nodes = _list_children(node)
            parts = self._group(nodes, segment, scope, head_row, joins=self._joins_adjacent)
            if len(parts) > 1:
                return parts
            is_root = False
        return []

    def _is_too_long(self, segment: Segment) -> bool:
        return self._lines.count_tokens(segment.start, segment.end) > self._limits.hard

    def _group(
        self, nodes: Iterable[Node], outer: Segment, scope: Scope, head_row: int, *, joins: bool
    ) -> list[Segment]:
        """Group sibling nodes into segments: leading comments with the next node, and nodes that share a row.

        Nodes that start at or before `head_row`, such as the signature of a definition, stay with the rows above.
        """
        groups: list[Segment] = []
        current = Segment(outer.start, outer.end, scope)
        for node in nodes:
            first = node.start_point[0]
            is_leading = node.type in LEADING_TYPES
            belongs = joins or current.is_leading or _is_docstring(node)
            touches = current.nodes and first <= current.last + 1 and belongs
            if first > current.last and first > head_row and not touches:
                current.end = first
                groups.append(current)
                current = Segment(first, outer.end, scope)
            current.is_leading = is_leading and (current.is_leading or not current.nodes)
            current.nodes.append(node)
            current.last = max(current.last, _last_row(node))
        groups.append(current)
        return [group for group in groups if group.start < group.end]


def _is_docstring(node: Node) -> bool:
    """Return whether a node is a bare string, which documents the assignment above it."""
    children = node.named_children
    return node.type == "expression_statement" and len(children) == 1 and children[0].type == "string"


def _list_children(node: Node) -> list[Node]:
    """Return the named children; nodes of `LIST_TYPES` are replaced by their children."""
    children = []
    for child in node.named_children:
        children += child.named_children if child.type in LIST_TYPES else [child]
    return children


def _last_row(node: Node) -> int:
    """Return the last row with text of the node; some nodes end at the start of the next row."""
    row, column = node.end_point
    return row - 1 if column == 0 and row > node.start_point[0] else row


def _count_rows(node: Node) -> int:
    return node.end_point[0] - node.start_point[0]


def _join_small(
    lines: SourceLines, segments: Iterable[Segment], limits: Limits, definitions: Definitions
) -> Iterator[Segment]:
    """Join adjacent segments of one scope up to the soft limit, and short remainders up to the hard limit."""
    current: Segment | None = None
    for segment in segments:
        if current is not None and current.scope is segment.scope:
            weight = lines.count_tokens(current.start, segment.end)
            is_short = lines.count_tokens(segment.start, segment.end) < TAIL_TOKENS and weight <= limits.hard
            if weight <= limits.soft or (is_short and not definitions.find_symbols(segment.start, segment.end)):
                current.end = segment.end
                continue
        if current is not None:
            yield current
        current = segment
    if current is not None:
        yield current
