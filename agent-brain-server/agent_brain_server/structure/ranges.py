"""Nested ranges of bytes, searched from the beginning of a file to its end."""

import sys
from collections.abc import Iterable


class Ranges:
    """Ranges that are nested or disjoint.

    Args:
        ranges: Start and end of each, ordered by start, and outer ones before inner ones.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._ranges = list(ranges)
        self._following = 0
        self._enclosing: list[int] = []

    def find_innermost(self, position: int) -> int | None:
        """Return the index of the innermost range around a position, which is not before the previous one."""
        ranges, enclosing = self._ranges, self._enclosing
        while self._following < len(ranges) and ranges[self._following][0] <= position:
            enclosing.append(self._following)
            self._following += 1
        while enclosing and ranges[enclosing[-1]][1] <= position:
            enclosing.pop()
        return enclosing[-1] if enclosing else None

    def next_boundary(self) -> int:
        """Return the next position at which another range is the innermost one."""
        following = self._ranges[self._following][0] if self._following < len(self._ranges) else sys.maxsize
        return min(following, self._ranges[self._enclosing[-1]][1]) if self._enclosing else following
