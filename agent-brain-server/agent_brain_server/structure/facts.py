"""Extract the definitions and references of a file from its syntax tree.

One query finds references, members and documentation together; its captures are then read in the order of the file.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from tree_sitter import Node, Query, QueryCursor, Tree

from agent_brain_server.structure.heads import Heads
from agent_brain_server.structure.ranges import Ranges
from agent_brain_server.structure.reference_queries import MEMBER_CONDITIONS, REFERENCE_QUERIES
from agent_brain_server.structure.references import Scopes, find_references, read_name
from agent_brain_server.structure.syntax import Definitions, load_grammar, unqualify
from agent_brain_server.support.limits import uncounted_cpu
from agent_brain_server.types import NAMELESS_KINDS, Definition, SyntaxFacts

MAX_DEFINITIONS = 20_000  # of a file; more are a generated table of constants
MAX_NAME_CHARACTERS = 100  # longer names are an artifact of error recovery in broken code
MAX_QUALIFIED_NAME = 300  # characters; deeper nesting is generated or hostile

FUNCTION_KINDS = frozenset({"constructor", "def", "fn", "fun", "func", "function", "init", "macro", "method", "test"})
"""Kinds of definitions in which variables are local."""

VARIABLE_KINDS = frozenset({"const", "property", "val", "var", "variable"})
"""Kinds of members that are local variables in a function."""

PROMOTED_KIND = "promoted"
"""Kind of a parameter of a constructor that is also a field of the class."""

QUALIFYING_GRAMMARS = frozenset({"javascript", "lua", "tsx", "typescript"})
"""Grammars in which the names before a defined name are not part of the name's node."""

RECEIVER = re.compile(rb"([\w\x80-\xff]+)\s*(?:\[[^\]]*\])?\s*\)?\Z")
QUALIFIER = re.compile(rb"(?:[\w\x80-\xff]+[.:])+\Z")
UNNAMED_PARTS = frozenset({"", "exports", "module", "prototype", "self", "this"})

Captures = Mapping[str, list[Node]]


class _Found(NamedTuple):
    """A definition in order of its position: byte ranges of its node and its name."""

    start: int
    reversed_end: int
    name_start: int
    name_end: int
    kind: str
    name: str
    node: Node
    is_member: bool


def extract_facts(tree: Tree, data: bytes, grammar: str, definitions: Definitions) -> SyntaxFacts:
    """Return the definitions and references of a file.

    Args:
        tree: The syntax tree of `data`.
        data: The file in UTF-8.
        grammar: A name of `syntax.GRAMMARS`.
        definitions: Result of `syntax.find_definitions`.
    """
    captures = QueryCursor(_load_query(grammar)).captures(tree.root_node)
    heads = Heads(data, captures)
    found = sorted([*_list_defining(definitions, data, grammar), *_find_members(captures, data, grammar, definitions)])
    kept, omitted = _omit_locals(found)
    scopes = Scopes(
        spans=[(item.start, -item.reversed_end) for item, _ in kept],
        parents=[parent for _, parent in kept],
        names={item.name_end for item, _ in kept if item.kind not in NAMELESS_KINDS},
        variables=omitted,
    )
    return SyntaxFacts(
        definitions=tuple(_make_definitions(kept, heads)),
        references=find_references(captures, data, grammar, scopes, heads.line_starts),
        is_partial=tree.root_node.has_error,
    )


@cache
def _load_query(grammar: str) -> Query:
    with uncounted_cpu():
        return Query(load_grammar(grammar), REFERENCE_QUERIES[grammar])


def _list_defining(definitions: Definitions, data: bytes, grammar: str) -> Iterator[_Found]:
    for item in definitions.nodes:
        node, name = item.node, item.name_node
        if not unqualify(item.name):  # a name that the parser supplied in broken code
            continue
        spelled = _find_qualifier(node, name, data, grammar) + item.name
        yield _Found(
            node.start_byte, -node.end_byte, name.start_byte, name.end_byte, item.kind, spelled, node, is_member=False
        )


def _find_qualifier(node: Node, name: Node, data: bytes, grammar: str) -> str:
    """Return the type that a definition outside of the type belongs to, with a dot, or ""."""
    if grammar == "go" and (receiver := node.child_by_field_name("receiver")) is not None:
        found = RECEIVER.search(data[receiver.start_byte : receiver.end_byte][:MAX_NAME_CHARACTERS])
        return f"{found[1].decode('utf-8', 'replace')}." if found else ""
    if grammar not in QUALIFYING_GRAMMARS or data[name.start_byte - 1 : name.start_byte] not in (b".", b":"):
        return ""
    start = max(node.start_byte, name.start_byte - MAX_NAME_CHARACTERS)
    found = QUALIFIER.search(data[start : name.start_byte])
    parts = re.split(r"[.:]", found[0].decode("utf-8", "replace")) if found else []
    return "".join(f"{part}." for part in parts if part not in UNNAMED_PARTS)


def _find_members(captures: Captures, data: bytes, grammar: str, definitions: Definitions) -> Iterator[_Found]:
    """Yield the members; a member whose name makes another definition, too, is omitted."""
    known = {item.name_node.start_byte for item in definitions.nodes}
    conditions = MEMBER_CONDITIONS.get(grammar, {})
    for capture, names in captures.items():
        kind, _, is_name = capture.partition(".")
        if not is_name:
            continue
        condition = re.compile(conditions.get(kind, "").encode())
        nodes = sorted(captures.get(kind, ()), key=_outer_first)
        ranges = Ranges((node.start_byte, node.end_byte) for node in nodes)
        for name in sorted(names, key=_outer_first):
            start, end = name.start_byte, name.end_byte
            index = ranges.find_innermost(start)
            node = name if index is None else nodes[index]
            if start not in known and end - start <= MAX_NAME_CHARACTERS and condition.match(data, node.start_byte):
                known.add(start)
                text = read_name(data[start:end], grammar).partition("=")[0]
                if unqualify(text):
                    yield _Found(node.start_byte, -node.end_byte, start, end, kind, text, node, is_member=True)


def _outer_first(node: Node) -> tuple[int, int]:
    return node.start_byte, -node.end_byte


def _omit_locals(found: Iterable[_Found]) -> tuple[list[tuple[_Found, int | None]], list[tuple[int, int]]]:
    """Split the definitions from the local variables.

    Returns:
        The definitions, each with the index of the enclosing one; start and end of the variables' names.
    """
    kept: list[tuple[_Found, int | None]] = []
    omitted: list[tuple[int, int]] = []
    enclosing: list[int] = []
    for item in found:
        while enclosing and -kept[enclosing[-1]][0].reversed_end <= item.start:
            enclosing.pop()
        parent = enclosing[-1] if enclosing else None
        if item.kind == PROMOTED_KIND and parent is not None:
            kept.append((item._replace(kind="field"), kept[parent][1]))
        elif item.is_member and parent is not None and _is_local(item, kept[parent][0]):
            if item.kind in VARIABLE_KINDS:
                omitted.append((item.name_start, item.name_end))
        elif len(kept) < MAX_DEFINITIONS:
            enclosing.append(len(kept))
            kept.append((item, parent))
    return kept, omitted


def _is_local(item: _Found, parent: _Found) -> bool:
    return parent.kind in FUNCTION_KINDS and item.kind not in FUNCTION_KINDS


def _make_definitions(kept: Iterable[tuple[_Found, int | None]], heads: Heads) -> list[Definition]:
    """Return the definitions in the order of the file, so that outer ones precede inner ones."""
    made: list[Definition] = []
    for item, parent in kept:
        path = _dot(item.name)
        if parent is not None:
            path = f"{made[parent].qualified_name}.{path}"[-MAX_QUALIFIED_NAME:]
        head = heads.read(item.node, item.name_start, item.name_end)
        made.append(
            Definition(
                name=unqualify(item.name),
                qualified_name=path,
                kind=item.kind,
                signature=head.signature,
                name_line=head.name_line,
                start_line=head.start_line,
                end_line=head.end_line,
                parent=parent,
                documentation=head.documentation,
            )
        )
    return made


def _dot(name: str) -> str:
    """Return a name as spelled with dots between its parts and without type parameters."""
    bare = name.partition("<")[0].rstrip() or name
    return bare.replace("::", ".").replace("\\", ".").strip(".")
