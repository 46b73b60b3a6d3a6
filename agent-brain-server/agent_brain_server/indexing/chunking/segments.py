"""Segments of source code, and their division at the nodes of the syntax tree.

A *segment* is a range of rows with the syntax nodes in it, including the comments and attributes above a definition.
Because segments are ranges of rows, each row belongs to exactly one chunk, whatever the parser produces.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tree_sitter import Node

from agent_brain_server.indexing.chunking.source_lines import Limits, SourceLines
from agent_brain_server.structure.syntax import DefiningNode, Definitions

COMMENT_TYPES = frozenset({"block_comment", "comment", "doc_comment", "haddock", "line_comment", "multiline_comment"})

LEADING_TYPES = COMMENT_TYPES | {
    "annotation",
    "attribute",
    "attribute_item",
    "attribute_list",
    "decorator",
    "inner_attribute_item",
    "pragma",
    "signature",
}
"""Types of nodes that belong to the node below them."""

WRAPPER_TYPES = frozenset(
    {
        "ambient_declaration",
        "assignment_statement",
        "declaration",
        "decorated_definition",
        "export_statement",
        "expression_statement",
        "lexical_declaration",
        "template_declaration",
        "type_declaration",
        "variable_declaration",
    }
)
"""Types of nodes around a definition, which belong to its head."""

MAX_WRAPPER_TAIL = 4  # bytes of a wrapper after the definition in it: `);`

ADJACENT_LANGUAGES = frozenset({"elixir", "haskell"})
"""Languages in which one definition consists of nodes in adjacent rows: clauses, equations, signatures."""

LIST_TYPES = frozenset({"declarations", "imports"})
"""Types of nodes that only group their children; in Haskell they include the comments in between."""

FUNCTION_KINDS = frozenset({"constructor", "def", "fn", "fun", "func", "function", "macro", "method"})
"""Kinds of definitions that are divided into parts, also if there are definitions inside."""

FIELD_KINDS = frozenset({"const", "constant", "let", "local", "static", "type", "typealias", "val", "var", "variable"})
"""Kinds of definitions that are shown with the head of a class."""

NAMESPACE_KINDS = frozenset({"mod", "module", "namespace"})
"""Kinds of definitions that are often nothing but a name around others."""

STATEMENT_TYPES = frozenset(
    {"assignment_statement", "call", "call_expression", "expression_statement", "variable_declaration"}
)
"""Types of nodes whose first row says what is inside: `describe("close", () => {`."""

MAX_COMMENT_GAP = 1  # blank rows between a comment and its definition
MAX_SCOPES = 6  # enclosing definitions in a heading; deeper nesting is generated code
BARE_HEAD_TOKENS = 40  # a shorter head, such as `namespace net {`, is joined with what follows
FILE_SHARE = 0.8  # of the rows of a file: a node with more only wraps the content of the file

SCOPE_SEPARATOR = " > "


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """A node that was divided; its segments are joined only with each other.

    Attributes:
        labels: Labels of the enclosing definitions and its own, outermost first.
        outer: The scope around it.
        definition: The definition that was divided, if any.
        has_members: Whether its segments are members, each of which can be understood alone, rather than parts.
        first_row: First row of the node, if that says what the segments belong to.
    """

    labels: tuple[str, ...] = ()
    outer: "Scope | None" = None
    definition: DefiningNode | None = None
    has_members: bool = True
    first_row: int | None = None

    @property
    def heading(self) -> str | None:
        """The labels as one string, `None` at top level."""
        return SCOPE_SEPARATOR.join(self.labels) or None


@dataclass(slots=True)
class Segment:
    """The rows of [start, end) with their nodes.

    Attributes:
        scope: The scope that it is a part of.
        last: Last row of a node.
        is_leading: Whether all nodes belong to the one below.
        head_of: The outermost scope whose head it contains.
        lacks_body: Whether it is only a head, which must be joined with the beginning of what follows.
        is_bare: Whether it is hardly more than a name, which is joined with what follows if that fits.
    """

    start: int
    end: int
    scope: Scope
    nodes: list[Node] = field(default_factory=list)
    last: int = -1
    is_leading: bool = False
    head_of: Scope | None = None
    lacks_body: bool = False
    is_bare: bool = False

    @property
    def is_comment(self) -> bool:
        """Whether it has only comments."""
        return bool(self.nodes) and all(node.type in COMMENT_TYPES for node in self.nodes)

    @property
    def heading_scope(self) -> Scope:
        """The class whose head it contains, or else the scope around its definitions."""
        if self.head_of is None or self.head_of.outer is None:
            return self.scope
        return self.head_of if self.head_of.has_members else self.head_of.outer

    @property
    def whole_scope(self) -> Scope | None:
        """The outermost definition that it is a part of, if that was split into parts."""
        scope = self.head_of or self.scope
        return None if scope.has_members else scope

    def extend(self, other: "Segment") -> None:
        """Append the segment that follows; its scope counts, as further parts belong to it."""
        self.end = other.end
        self.nodes = self.nodes + other.nodes
        self.scope = other.scope
        self.head_of = self.head_of or other.head_of
        self.lacks_body = other.lacks_body
        self.is_bare = other.is_bare


class Divider:
    """Divides the segments of one file."""

    def __init__(self, lines: SourceLines, limits: Limits, definitions: Definitions, language: str) -> None:
        self._lines = lines
        self._limits = limits
        self._definitions = definitions
        self._joins_adjacent = language in ADJACENT_LANGUAGES

    def divide(self, segment: Segment) -> list[Segment]:
        """Return the parts of a segment: one without nodes for a definition of one row, none if it has no nodes."""
        if not segment.nodes:
            return []
        parts = self._group(segment.nodes, segment, segment.scope, segment.start, joins=False)
        return parts if len(parts) > 1 else self._divide_node(segment)

    def _divide_node(self, segment: Segment) -> list[Segment]:
        """Divide a segment at the children of its largest node, or of the first descendant with several."""
        node = _find_main(segment.nodes)
        first_row = node.start_point[0] if node.type in STATEMENT_TYPES else None
        entered: list[DefiningNode] = []
        head_row = segment.start
        while True:
            node = self._unwrap(node)
            if (found := self._definitions.of_node(node)) is not None:
                entered.append(found)
                head_row = max(head_row, found.row)
                body = node.child_by_field_name("body")
                if body is not None and body.named_child_count:
                    head_row = max(head_row, _row_before(body))
                    node = body
            children = _list_children(node)
            parts = self._group(children, segment, segment.scope, head_row, joins=self._joins_adjacent)
            if len(parts) > 1:
                return self._enter(parts, entered, node, first_row)
            if not children:
                return self._enter([replace(segment, nodes=[])], entered, node, None) if entered else []
            node = _find_main(children)

    def _unwrap(self, node: Node) -> Node:
        """Return the definition that a wrapper contains, or the node itself."""
        if node.type in WRAPPER_TYPES and self._definitions.of_node(node) is None:
            inner = next(iter(self._definitions.inside(node.start_byte, node.end_byte)), None)
            if inner is not None and inner.node.end_byte + MAX_WRAPPER_TAIL >= node.end_byte:
                return inner.node
        return node

    def _enter(
        self, parts: list[Segment], entered: list[DefiningNode], node: Node, first_row: int | None
    ) -> list[Segment]:
        """Give the parts of a node their scope, and join the head of a definition with what belongs to it."""
        outer = scope = parts[0].scope
        if not entered:
            if outer.has_members and _count_rows(node) < len(self._lines.rows) * FILE_SHARE:
                scope = Scope(outer.labels, outer, first_row=first_row)
            is_short = self._lines.count_tokens(parts[0].start, parts[0].end) < BARE_HEAD_TOKENS
            parts[0].is_bare = outer.has_members and node.parent is not None and is_short
        for found in entered:
            members = self._definitions.inside(found.node.start_byte + 1, found.node.end_byte)
            has_members = found.kind not in FUNCTION_KINDS and any(each.kind not in FIELD_KINDS for each in members)
            scope = Scope((*scope.labels, found.label)[:MAX_SCOPES], scope, found, has_members)
        for part in parts:
            part.scope = scope
        if entered:
            parts = self._complete_head(parts)
            parts[0].head_of = _find_outermost(scope, outer)
            parts[0].lacks_body = not scope.has_members
            parts[0].is_bare = scope.has_members and self._is_bare(parts[0], entered[-1])
        return parts

    def _complete_head(self, parts: list[Segment]) -> list[Segment]:
        """Join the head of a definition with its docstring, and that of a class with its first fields."""
        head, following = parts[0], 1
        while following < len(parts):
            part = parts[following]
            is_documentation = following == 1 and bool(part.nodes) and _is_docstring(part.nodes[0])
            fits = self._lines.count_tokens(head.start, part.end) <= self._limits.hard
            if not (is_documentation or (head.scope.has_members and fits and self._is_field(part))):
                break
            head.end = part.end
            following += 1
        return [head, *parts[following:]]

    def _is_field(self, segment: Segment) -> bool:
        """Return whether a member of a class is short, without a body."""
        nodes = [node for node in segment.nodes if node.type not in COMMENT_TYPES]
        inside = self._definitions.inside(nodes[0].start_byte, nodes[-1].end_byte) if nodes else ()
        return bool(nodes) and all(each.kind in FIELD_KINDS for each in inside)

    def _is_bare(self, head: Segment, definition: DefiningNode) -> bool:
        """Return whether a head says nothing but a name in which other names are defined."""
        if definition.kind not in NAMESPACE_KINDS:
            return False
        members = self._definitions.inside(definition.node.start_byte + 1, definition.node.end_byte)
        has_functions = definition.kind != "namespace" and members[0].kind in FUNCTION_KINDS
        return not has_functions and self._lines.count_tokens(head.start, head.end) < BARE_HEAD_TOKENS

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
            gap = MAX_COMMENT_GAP if current.is_leading else 0
            touches = current.nodes and first <= current.last + 1 + gap and belongs
            if first > current.last and first > head_row and not touches:
                current.end = first
                groups.append(current)
                current = Segment(first, outer.end, scope)
            current.is_leading = is_leading and (current.is_leading or not current.nodes)
            current.nodes.append(node)
            current.last = max(current.last, _last_row(node))
        groups.append(current)
        return [group for group in groups if group.start < group.end]


def _find_outermost(scope: Scope, outer: Scope) -> Scope:
    """Return the scope around `scope` that is directly inside `outer`."""
    while scope.outer is not None and scope.outer is not outer:
        scope = scope.outer
    return scope


def _find_main(nodes: Iterable[Node]) -> Node:
    """Return the longest node that is no comment or attribute, or the longest of those."""
    return max(nodes, key=lambda node: (node.type not in LEADING_TYPES, node.end_point[0] - node.start_point[0]))


def _is_docstring(node: Node) -> bool:
    """Return whether a node is a bare string, which documents the assignment above it or the definition around it."""
    children = node.named_children
    return node.type == "expression_statement" and len(children) == 1 and children[0].type == "string"


def _list_children(node: Node) -> list[Node]:
    """Return the named children; nodes of `LIST_TYPES` are replaced by their children."""
    children = []
    for child in node.named_children:
        children += child.named_children if child.type in LIST_TYPES else [child]
    return children


def _row_before(body: Node) -> int:
    """Return the last row of what precedes the body of a definition."""
    sibling = body.prev_sibling
    return body.start_point[0] - 1 if sibling is None else min(_last_row(sibling), body.start_point[0])


def _last_row(node: Node) -> int:
    """Return the last row with text of the node; some nodes end at the start of the next row."""
    row, column = node.end_point
    return row - 1 if column == 0 and row > node.start_point[0] else row


def _count_rows(node: Node) -> int:
    return node.end_point[0] - node.start_point[0]
