"""Cut source code along its syntax tree.

A file is cut into *segments*: rows that belong to one node of the tree, with the comments and attributes above it. One
that is too long is cut into the segments of its children, and so on down; then small neighbours inside one definition
are joined again. Segments are rows, so each row belongs to exactly one chunk whatever the parser made of the file.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tree_sitter import Node

from agent_brain_server.indexing.chunking.source_lines import Limits, Piece, SourceLines
from agent_brain_server.indexing.chunking.syntax import (
    Definition,
    Definitions,
    SlowSyntaxError,
    find_definitions,
    grammar_name,
    parse,
)
from agent_brain_server.types import SourceText

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
"""Nodes that belong to what stands in the next row."""

ADJACENT_LANGUAGES = frozenset({"elixir", "haskell"})
"""Languages in which one definition is several nodes in adjacent rows: clauses, equations, signatures."""

LIST_TYPES = frozenset({"declarations", "imports"})
"""Nodes that are only lists of what is in them; Haskell's take the comments between them in."""

MAX_SCOPES = 6
"""Enclosing definitions that a heading names; what is nested deeper is generated."""

TAIL_TOKENS = 20
"""A remainder shorter than this, such as a last `return`, stays with what is before it."""

MAX_ROW_CHARACTERS = 20_000
"""Characters; some scanners take time by the square of a line's length and cannot be stopped."""

SCOPE_SEPARATOR = " > "


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """A definition that was cut; its pieces are joined with each other and with nothing else."""

    labels: tuple[str, ...] = ()

    def enter(self, definition: Definition) -> "Scope":
        """Return the scope inside a definition."""
        return Scope((*self.labels, definition.label)[:MAX_SCOPES])

    @property
    def heading(self) -> str | None:
        """The enclosing definitions, outermost first."""
        return SCOPE_SEPARATOR.join(self.labels) or None


@dataclass(slots=True)
class Segment:
    """Rows (half open) with the nodes that stand in them; `last` is the last row that a node reaches."""

    start: int
    end: int
    scope: Scope
    nodes: list[Node] = field(default_factory=list)
    last: int = -1
    is_leading: bool = False


def chunk_source(lines: SourceLines, source: SourceText, limits: Limits) -> Iterator[Piece]:
    """Cut source code into whole definitions where they fit, and groups of small ones.

    Raises:
        SlowSyntaxError: The file defeats the parser, as some broken or generated files do.
    """
    if any(len(row) > MAX_ROW_CHARACTERS for row in lines.rows):
        raise SlowSyntaxError("a line is too long")
    grammar = grammar_name(source.language, source.path)
    tree = parse(lines.encoded, grammar)
    definitions = find_definitions(tree, lines.encoded, grammar)
    segments = _Cutter(lines, limits, definitions, tree.root_node, source.language).cut()
    for segment in _join_small(lines, segments, limits, definitions):
        symbols = definitions.find_symbols(segment.start, segment.end)
        yield from lines.take_pieces(segment.start, segment.end, limits, symbols=symbols, heading=segment.scope.heading)


class _Cutter:
    """Cuts a tree into segments that are short enough, in the order of the file."""

    def __init__(self, lines: SourceLines, limits: Limits, definitions: Definitions, root: Node, language: str) -> None:
        self._lines = lines
        self._limits = limits
        self._definitions = definitions
        self._root = root
        self._joins_adjacent = language in ADJACENT_LANGUAGES

    def cut(self) -> Iterator[Segment]:
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
        """Cut a segment into at least two, or into none where it is short enough or nothing in it can be cut."""
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
        return self._lines.weigh(segment.start, segment.end) > self._limits.hard

    def _group(
        self, nodes: Iterable[Node], outer: Segment, scope: Scope, head_row: int, *, joins: bool
    ) -> list[Segment]:
        """Make segments of sibling nodes: leading comments with what follows, and what shares a row together.

        What starts no later than `head_row`, as a definition's own signature does, stays with the rows above it.
        """
        groups: list[Segment] = []
        current = Segment(outer.start, outer.end, scope)
        for node in nodes:
            first = node.start_point[0]
            is_leading = node.type in LEADING_TYPES
            belongs = joins or current.is_leading or _is_description(node)
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


def _is_description(node: Node) -> bool:
    """Whether a node is a string by itself, which describes the assignment in the rows above it."""
    children = node.named_children
    return node.type == "expression_statement" and len(children) == 1 and children[0].type == "string"


def _list_children(node: Node) -> list[Node]:
    """List the named children, with those of mere lists in their place."""
    children = []
    for child in node.named_children:
        children += child.named_children if child.type in LIST_TYPES else [child]
    return children


def _last_row(node: Node) -> int:
    """The last row that holds something of the node: some end at the start of the next row."""
    row, column = node.end_point
    return row - 1 if column == 0 and row > node.start_point[0] else row


def _count_rows(node: Node) -> int:
    return node.end_point[0] - node.start_point[0]


def _join_small(
    lines: SourceLines, segments: Iterable[Segment], limits: Limits, definitions: Definitions
) -> Iterator[Segment]:
    """Join neighbours of one scope up to the soft limit, and short remainders up to the hard one."""
    current: Segment | None = None
    for segment in segments:
        if current is not None and current.scope is segment.scope:
            weight = lines.weigh(current.start, segment.end)
            is_short = lines.weigh(segment.start, segment.end) < TAIL_TOKENS and weight <= limits.hard
            if weight <= limits.soft or (is_short and not definitions.find_symbols(segment.start, segment.end)):
                current.end = segment.end
                continue
        if current is not None:
            yield current
        current = segment
    if current is not None:
        yield current
