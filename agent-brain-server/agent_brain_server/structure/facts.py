"""Extract the definitions and references of a file from its syntax tree."""

from collections.abc import Iterable
from functools import cache
from itertools import islice

from tree_sitter import Node, Query, QueryCursor, Tree

from agent_brain_server.structure.heads import Heads
from agent_brain_server.structure.reference_queries import REFERENCE_QUERIES
from agent_brain_server.structure.syntax import DefiningNode, Definitions, load_grammar, unqualify
from agent_brain_server.support.limits import uncounted_cpu
from agent_brain_server.types import Definition, Reference, ReferenceKind, SyntaxFacts

MAX_DEFINITIONS = 20_000  # of a file; a table of constants may have more, which nobody looks up
MAX_REFERENCES = 100_000  # of a file, of different name, line, kind and scope
MAX_NAME_BYTES = 100  # longer names are an artifact of error recovery in broken code
MAX_QUALIFIED_NAME = 300  # characters; deeper nesting is generated or hostile

KINDS: tuple[ReferenceKind, ...] = ("use", "call", "inherit")  # a later kind replaces an earlier one


def extract_facts(tree: Tree, data: bytes, grammar: str, definitions: Definitions) -> SyntaxFacts:
    """Return the definitions and references of a file.

    Args:
        tree: The syntax tree of `data`.
        data: The file in UTF-8.
        grammar: A name of `syntax.GRAMMARS`.
        definitions: Result of `syntax.find_definitions`.
    """
    if grammar not in REFERENCE_QUERIES:
        return SyntaxFacts()
    captures = QueryCursor(_load_query(grammar)).captures(tree.root_node)
    nodes = sorted(definitions.nodes, key=lambda found: found.node.start_byte)[:MAX_DEFINITIONS]
    heads = Heads(data, captures)
    return SyntaxFacts(
        definitions=tuple(_list_definitions(nodes, heads)),
        references=tuple(islice(_list_references(nodes, captures, heads), MAX_REFERENCES)),
        is_partial=tree.root_node.has_error,
    )


@cache
def _load_query(grammar: str) -> Query:
    with uncounted_cpu():
        return Query(load_grammar(grammar), REFERENCE_QUERIES[grammar])


def _list_definitions(nodes: list[DefiningNode], heads: Heads) -> list[Definition]:
    """Return the definitions of nodes, outer ones before inner ones."""
    found: list[Definition] = []
    enclosing: list[tuple[int, int]] = []  # end and index of the definitions around the current one
    for index, node in enumerate(nodes):
        while enclosing and enclosing[-1][0] <= node.node.start_byte:
            enclosing.pop()
        parent = enclosing[-1][1] if enclosing else None
        path = _dot(node.name)
        if parent is not None:
            path = f"{found[parent].qualified_name}.{path}"[-MAX_QUALIFIED_NAME:]
        found.append(
            Definition(
                name=unqualify(node.name),
                qualified_name=path,
                kind=node.kind,
                signature=heads.read_signature(node),
                name_line=node.row + 1,
                start_line=heads.find_start(node.node),
                end_line=heads.find_end(node.node),
                parent=parent,
                documentation=heads.read_documentation(node.node),
            )
        )
        enclosing.append((node.node.end_byte, index))
    return found


def _dot(name: str) -> str:
    """Return a name as spelled with dots between its parts and without type parameters."""
    bare = name.partition("<")[0].rstrip() or name
    return bare.replace("::", ".").replace("\\", ".").replace("#", ".").strip(".")


def _list_references(nodes: list[DefiningNode], captures: dict[str, list[Node]], heads: Heads) -> dict[Reference, None]:
    """Return the references in the order of the file, as the keys of a dictionary."""
    references: dict[Reference, None] = {}
    scopes = _Ranges((found.node.start_byte, found.node.end_byte) for found in nodes)
    imports = _Ranges((node.start_byte, node.end_byte) for node in captures.get("imports", ()))
    for start, (end, kind) in sorted(_find_names(nodes, captures).items()):
        scope = scopes.find_innermost(start)
        if imports.find_innermost(start) is not None:
            kind = "import"
        if end - start <= MAX_NAME_BYTES:
            name = heads.data[start:end].decode("utf-8", "replace")
            references[Reference(name, heads.line_at(start), kind, scope)] = None
    return references


def _find_names(nodes: list[DefiningNode], captures: dict[str, list[Node]]) -> dict[int, tuple[int, ReferenceKind]]:
    """Return start, end and kind of the names that are used."""
    names: dict[int, tuple[int, ReferenceKind]] = {}
    for kind in KINDS:
        for node in captures.get(kind, ()):
            names[node.start_byte] = (node.end_byte, kind)
    for node in captures.get("skip", ()):
        names.pop(node.start_byte, None)
    for found in nodes:
        names.pop(found.name_node.start_byte, None)
    return names


class _Ranges:
    """Nested ranges of bytes, ordered by start, that are searched from the beginning of the file to its end."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._ranges = list(ranges)
        self._following = 0
        self._enclosing: list[tuple[int, int]] = []  # end and index

    def find_innermost(self, position: int) -> int | None:
        """Return the index of the innermost range around a position, which is not before the previous one."""
        while self._following < len(self._ranges) and self._ranges[self._following][0] <= position:
            self._enclosing.append((self._ranges[self._following][1], self._following))
            self._following += 1
        while self._enclosing and self._enclosing[-1][0] <= position:
            self._enclosing.pop()
        return self._enclosing[-1][1] if self._enclosing else None
