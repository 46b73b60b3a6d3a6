"""Split a syntax tree into segments that fit into a chunk, and join small ones."""

from collections.abc import Iterator
from dataclasses import replace

from tree_sitter import Node

from agent_brain_server.indexing.chunking.segments import Divider, Scope, Segment
from agent_brain_server.indexing.chunking.source_lines import Limits, SourceLines
from agent_brain_server.structure.syntax import Definitions

TAIL_TOKENS = 20  # a shorter remainder, such as a final `return`, stays with the preceding segment
FILL_SHARE = 0.5  # of the limit, up to which a part of a definition takes the beginning of a longer statement


class Splitter:
    """Splits the tree of one file into segments within the hard limit, in the order of the file.

    A definition that fits is one segment. A longer one is divided: a class into its head and its members, a function
    into parts, the first of which has the head and as much of the body as fits. Only single rows exceed the limit.
    """

    def __init__(self, lines: SourceLines, limits: Limits, definitions: Definitions, root: Node, language: str) -> None:
        self._lines = lines
        self._limits = limits
        self._definitions = definitions
        self._root = root
        self._divider = Divider(lines, limits, definitions, language)

    def split(self) -> Iterator[Segment]:
        """Yield segments that partition the rows of the file."""
        previous: Segment | None = None
        for segment in self._join():
            if previous is not None and segment.is_comment and self._fits(previous, segment, self._limits.hard):
                previous.end = segment.end
                continue
            if previous is not None:
                yield previous
            previous = segment
        if previous is not None:
            yield previous

    def _join(self) -> Iterator[Segment]:
        """Yield segments as long as possible."""
        pending = [Segment(0, len(self._lines.rows), Scope(), [self._root])]
        is_root = True
        current: Segment | None = None
        while pending:
            item = pending.pop()
            if current is not None and self._belongs(current, item):
                current.extend(item)
                continue
            if is_root or self._should_divide(current, item):
                is_root = False
                parts = self._divider.divide(item) or self._cut(current, item)
                if parts:
                    pending.extend(reversed(parts))
                    continue
                if current is not None and current.lacks_body and (shed := self._shed(current)):
                    yield shed
                    pending.append(item)
                    continue
            if current is not None:
                yield current
            current = item
        if current is not None:
            yield current

    def _belongs(self, current: Segment, item: Segment) -> bool:
        """Return whether a segment is joined with the preceding one."""
        is_same = current.scope is item.scope
        if current.lacks_body or current.is_bare or current.is_comment or self._is_trivial(current):
            is_inside = item.head_of is not None and item.head_of.outer is current.scope
            return (is_same or is_inside) and self._fits(current, item, self._limits.hard)
        if not is_same:
            return False
        return self._fits(current, item, self._limit_of(current)) or self._is_tail(current, item)

    def _limit_of(self, segment: Segment) -> int:
        """Return the length up to which a segment is joined: the hard limit for the first part of a definition."""
        is_first_part = segment.head_of is not None and not segment.scope.has_members
        return self._limits.hard if is_first_part else self._limits.soft

    def _is_tail(self, current: Segment, item: Segment) -> bool:
        """Return whether a segment is a short remainder, which defines nothing."""
        return self._is_trivial(item) and self._fits(current, item, self._limits.hard)

    def _is_trivial(self, segment: Segment) -> bool:
        """Return whether a segment is short and defines nothing, such as a single import."""
        weight = self._lines.count_tokens(segment.start, segment.end)
        return weight < TAIL_TOKENS and not self._definitions.find_symbols(segment.start, segment.end)

    def _fits(self, current: Segment, item: Segment, limit: int) -> bool:
        return self._lines.count_tokens(current.start, item.end) <= limit

    def _should_divide(self, current: Segment | None, item: Segment) -> bool:
        """Return whether a segment is too long, or its beginning completes the part before it."""
        if self._lines.count_tokens(item.start, item.end) > self._limits.hard:
            return True
        if current is None or current.scope is not item.scope or item.scope.has_members:
            return False
        if current.lacks_body:
            return True
        is_definition = bool(self._definitions.find_symbols(item.start, item.end))
        weight = self._lines.count_tokens(current.start, current.end)
        return not is_definition and weight < self._limit_of(current) * FILL_SHARE

    def _shed(self, head: Segment) -> Segment | None:
        """Cut off the comments and attributes above a head, which leave no room for the body, and return them."""
        found = head.scope.definition
        if found is None or not head.start < found.row < head.end:
            return None
        if self._lines.count_tokens(found.row, head.end) > self._limits.hard * FILL_SHARE:
            return None
        shed = Segment(head.start, found.row, head.scope)
        head.start = found.row
        return shed

    def _cut(self, current: Segment | None, item: Segment) -> list[Segment]:
        """Cut a segment without inner nodes between two rows, or return nothing if it is a single row."""
        start, end = item.start, item.end
        limit = float(self._limits.hard)
        room = 0.0
        if current is not None and (current.scope is item.scope or current.lacks_body) and not item.scope.has_members:
            room = self._limit_of(current) - self._lines.count_tokens(current.start, start)
        elif self._lines.count_tokens(start, end) <= limit:
            return []
        for size in (room, limit):
            _, row = next(self._lines.split_rows(start, end, size), (start, end))
            if start < row < end and self._lines.count_tokens(start, row) <= size:
                return _cut_at(item, row)
        return []


def _cut_at(segment: Segment, row: int) -> list[Segment]:
    """Cut a segment at a row; the part with the name of the definition remains its head."""
    found = segment.scope.definition
    bare = replace(segment, nodes=[], head_of=None, lacks_body=False, is_bare=False)
    head = replace(segment, nodes=[])
    if found is not None and found.row >= row:
        return [replace(bare, end=row), replace(head, start=row)]
    return [replace(head, end=row), replace(bare, start=row)]
