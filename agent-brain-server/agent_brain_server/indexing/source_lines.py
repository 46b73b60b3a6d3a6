"""A text as numbered lines whose weight in tokens is known, and the pieces that chunkers cut of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from agent_brain_server.indexing.token_estimate import estimate_tenths

SOFT_SHARE = 0.4
"""Small neighbours are grouped up to this share of `chunk_size`: 205 of 512 tokens, of which the embedding sees 200."""

LINE_END_SHARE = 0.5
"""A run of lines ends at a blank line where one lies in this last share of it."""

MIN_LONG_LINE_CHARACTERS = 100
"""Characters of a cut long line, at least: a line of marks alone must not fall into thousands of pieces."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long chunks may become, in tokens.

    Attributes:
        hard: No chunk is longer, but by the error of the estimate.
        soft: What is short is grouped up to here.
        overlap: Repeated between two pieces of one paragraph.
    """

    hard: int
    soft: int
    overlap: int

    @classmethod
    def of_chunk_size(cls, chunk_size: int, chunk_overlap: int) -> "Limits":
        """Derive the limits from the two settings, whatever they hold."""
        hard = max(chunk_size, 1)
        return cls(hard=hard, soft=max(round(hard * SOFT_SHARE), 1), overlap=max(0, min(chunk_overlap, hard // 2)))


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk before it has an id; lines are 1-based and inclusive."""

    text: str
    start_line: int
    end_line: int
    symbols: tuple[str, ...] = ()
    heading: str | None = None


class SourceLines:
    """The lines of a text; rows are 0-based, ranges half open, weights in tokens.

    Attributes:
        rows: The lines without their newlines.
        encoded: The whole text in UTF-8, as parsers want it.
    """

    __slots__ = ("_sums", "encoded", "rows")

    def __init__(self, text: str) -> None:
        self.encoded = text.encode("utf-8")
        self.rows = text.split("\n")
        self._sums = [0, *accumulate(map(estimate_tenths, self.encoded.split(b"\n")))]

    def weigh(self, start: int, end: int) -> float:
        """Estimate the tokens of the rows from `start` up to, not including, `end`."""
        return (self._sums[end] - self._sums[start]) / 10

    def is_blank(self, row: int) -> bool:
        """Tell whether a row holds nothing to read."""
        return self._sums[row] == self._sums[row + 1]

    def trim(self, start: int, end: int) -> tuple[int, int]:
        """Shrink a range until it starts and ends with rows that hold something; an empty one has start == end."""
        while start < end and self.is_blank(start):
            start += 1
        while start < end and self.is_blank(end - 1):
            end -= 1
        return start, end

    def take_pieces(
        self, start: int, end: int, limits: Limits, *, symbols: tuple[str, ...] = (), heading: str | None = None
    ) -> Iterator[Piece]:
        """Yield the rows as one piece; as several where they are too long, cut between lines and inside long ones."""
        start, end = self.trim(start, end)
        if start == end:
            return
        if self.weigh(start, end) <= limits.hard:
            yield Piece("\n".join(self.rows[start:end]), start + 1, end, symbols, heading)
            return
        for first, last in self.cut(start, end, limits.soft):
            first, last = self.trim(first, last)
            text = "\n".join(self.rows[first:last])
            weight = self.weigh(first, last)
            for part in [text] if weight <= limits.hard else cut_line(text, weight, limits.soft):
                yield Piece(part, first + 1, last, symbols, heading)
                symbols = ()

    def cut(self, start: int, end: int, limit: float) -> Iterator[tuple[int, int]]:
        """Cut a range into runs of rows of at most `limit` tokens, at blank lines where they are near enough.

        A row that is longer by itself is a run of its own. Runs of blank rows alone are left out.
        """
        first = start
        while first < end:
            last = first + 1
            blank = None
            while last < end and self.weigh(first, last + 1) <= limit:
                if self.is_blank(last):
                    blank = last
                last += 1
            near = blank is not None and self.weigh(first, blank) >= limit * (1 - LINE_END_SHARE)
            if last < end and blank is not None and near:
                last = blank
            if self.weigh(first, last):
                yield first, last
            first = last


def cut_line(line: str, weight: float, limit: float) -> Iterator[str]:
    """Cut a line that is too long into parts of about `limit` tokens, at spaces where there are any."""
    width = max(int(len(line) * limit / weight), MIN_LONG_LINE_CHARACTERS)
    position = 0
    while position < len(line):
        end = position + width
        if end < len(line):
            space = line.rfind(" ", position + width // 2, end)
            end = space if space > 0 else end
        part = line[position:end]
        if part.strip():
            yield part
        position = end


def group_ranges(lines: SourceLines, ranges: Iterable[tuple[int, int]], limit: float) -> Iterator[tuple[int, int]]:
    """Join neighbouring ranges as long as they stay within `limit` tokens together."""
    start = end = -1
    for first, last in ranges:
        if start >= 0 and lines.weigh(start, last) <= limit:
            end = last
            continue
        if start >= 0:
            yield start, end
        start, end = first, last
    if start >= 0:
        yield start, end
