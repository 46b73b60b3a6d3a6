"""A text as numbered lines whose weight in tokens is known, and the pieces that chunkers cut of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

TENTHS_PER_MARK = 13
TENTHS_PER_CHARACTER = 2

WHITESPACE = b" \t\n\r\f\v"
MARKS = bytes(code for code in range(33, 127) if not chr(code).isalnum())


def estimate_tenths(data: bytes) -> int:
    """Estimate the tokens of UTF-8 text, in tenths of a token, so that the parts of a text add up to its whole."""
    length = len(data.translate(None, WHITESPACE))
    words = len(data.translate(None, WHITESPACE + MARKS))
    return TENTHS_PER_MARK * (length - words) + TENTHS_PER_CHARACTER * words


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text."""
    return -(-estimate_tenths(text.encode("utf-8", "replace")) // 10)


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


MAX_CHARACTERS_PER_TOKEN = 16
"""Blanks weigh nothing, so characters are bounded as well; indented code and padded tables stay below 8."""

PIECES_PER_FULL_CHUNK = 32
FREE_PIECES = 256
"""A file may have so many pieces, and as many more for each full chunk of text; real files stay far below."""

CHARACTERS_PER_TOKEN = 4

CONTEXT_SHARE = 2
FREE_CONTEXT = 10_000
"""Characters of headings and symbols, which repeat in each piece: at most so many, and twice the length of the text."""


class TooManyPiecesError(ValueError):
    """A file falls into so many pieces that its structure is of no use."""


def bound_pieces(pieces: Iterable[Piece], limits: Limits, length: int) -> Iterator[Piece]:
    """Yield the pieces of a text, those that are too long as several, without context that exceeds the bounds.

    Args:
        pieces: In the order of the file.
        limits: No piece is longer than the hard one.
        length: Characters of the text.

    Raises:
        TooManyPiecesError: There are more pieces than the text may have.
    """
    context_left = FREE_CONTEXT + CONTEXT_SHARE * length
    pieces_left = FREE_PIECES + PIECES_PER_FULL_CHUNK * length // (CHARACTERS_PER_TOKEN * limits.hard)
    for piece in pieces:
        pieces_left -= 1
        if pieces_left < 0:
            raise TooManyPiecesError("there are too many definitions or sections")
        context_left -= len(piece.heading or "") + sum(map(len, piece.symbols))
        bounded = piece if context_left >= 0 else replace(piece, heading=None, symbols=())
        yield from split_piece(bounded, limits)


def split_piece(piece: Piece, limits: Limits) -> Iterator[Piece]:
    """Yield a piece, or parts of it that do not exceed the hard limit; blank parts are left out."""
    max_characters = limits.hard * MAX_CHARACTERS_PER_TOKEN
    pending = [piece]
    while pending:
        part = pending.pop()
        tenths = estimate_tenths(part.text.encode("utf-8", "replace"))
        if (tenths <= 10 * limits.hard and len(part.text) <= max_characters) or len(part.text) <= 1:
            yield part
            continue
        count = max(-(-tenths // (10 * limits.hard)), -(-len(part.text) // max_characters), 2)
        width = max(len(part.text) // count, 1)
        pending += reversed(list(_divide(part, width)))


def _divide(piece: Piece, width: int) -> Iterator[Piece]:
    """Cut a piece into parts of at most `width` characters, at line ends or spaces if there are any."""
    text, line, symbols = piece.text, piece.start_line, piece.symbols
    position = 0
    while position < len(text):
        end = position + width
        if end < len(text):
            space = max(text.rfind("\n", position + width // 2, end), text.rfind(" ", position + width // 2, end))
            end = space + 1 if space >= 0 else end
        part = text[position:end]
        stripped = part.strip()
        if stripped:
            first = min(line + part.count("\n", 0, part.index(stripped[0])), piece.end_line)
            last = min(first + stripped.count("\n"), piece.end_line)
            yield Piece(stripped, first, last, symbols, piece.heading)
            symbols = ()
        line += part.count("\n")
        position = end
