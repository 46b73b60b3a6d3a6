"""The lines that explain a chunk from outside of it: the signature above a part, and the members below a head."""

from functools import cached_property

from agent_brain_server.indexing.chunking.segments import Scope
from agent_brain_server.indexing.chunking.source_lines import Limits, SourceLines, estimate_tokens
from agent_brain_server.structure.heads import Heads, shorten
from agent_brain_server.structure.syntax import DefiningNode, Definitions
from agent_brain_server.types import ContextLine

MAX_MEMBER_CHARACTERS = 120  # of a signature in an outline


class Outlines:
    """Makes the context of the segments of one file."""

    def __init__(self, lines: SourceLines, limits: Limits, definitions: Definitions) -> None:
        self._lines = lines
        self._limits = limits
        self._definitions = definitions

    def describe(self, scope: Scope, start: int, end: int) -> tuple[ContextLine, ...]:
        """Return the context of the rows in [start, end).

        Args:
            scope: The innermost scope of the rows.
            start: First row.
            end: Row after the last one.
        """
        found = scope.definition
        row = scope.first_row if found is None else found.row
        if row is None:
            return ()
        if start <= row < end:
            return self._list_members(found, start, end) if found and scope.has_members else ()
        if scope.has_members and self._definitions.find_symbols(start, end):
            return ()
        text = " ".join(self._lines.rows[row].split()) if found is None else self._read_signature(found)
        return (ContextLine(row + 1, shorten(text, MAX_MEMBER_CHARACTERS)),)

    def _list_members(self, found: DefiningNode, start: int, end: int) -> tuple[ContextLine, ...]:
        """Return the signatures of the members below the head of a class, shortened to fit into a chunk."""
        inside = self._definitions.inside(found.node.start_byte + 1, found.node.end_byte)
        direct = [each for each in inside if each.depth == found.depth + 1]
        below = [each for each in direct if each.row >= end]
        if found.kind == "namespace" and len(below) < len(direct):
            return ()
        room = max(self._limits.hard - self._lines.count_tokens(start, end), self._limits.soft)
        signatures = [shorten(self._read_signature(each), MAX_MEMBER_CHARACTERS) for each in below]
        if sum(map(estimate_tokens, signatures)) > room:
            signatures = [each.label for each in below]
        lines = []
        for each, signature in zip(below, signatures, strict=True):
            room -= estimate_tokens(signature)
            if room < 0:
                break
            lines.append(ContextLine(each.row + 1, signature))
        return tuple(lines)

    def _read_signature(self, found: DefiningNode) -> str:
        return self._heads.read(found.node, found.name_node.start_byte, found.name_node.end_byte).signature

    @cached_property
    def _heads(self) -> Heads:
        return Heads(self._lines.encoded, {})
