"""Lines of a text with estimated token counts, and the pieces into which chunkers split them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from agent_brain_server.types import ContextLine

TENTHS_PER_MARK = 13  # tenths of a token per ASCII punctuation mark
TENTHS_PER_CHARACTER = 2  # tenths of a token per byte of a word

WHITESPACE = b" \t\n\r\f\v"
MARKS = bytes(code for code in range(33, 127) if not chr(code).isalnum())


def estimate_tenths(data: bytes) -> int:
    """Return the estimated tokens of UTF-8 text in tenths, an integer that is additive over the parts of a text."""
    length = len(data.translate(None, WHITESPACE))
    words = len(data.translate(None, WHITESPACE + MARKS))
    return TENTHS_PER_MARK * (length - words) + TENTHS_PER_CHARACTER * words


def estimate_tokens(text: str) -> int:
    """Return the estimated number of tokens of a text."""
    return -(-estimate_tenths(text.encode("utf-8", "replace")) // 10)


SOFT_SHARE = 0.4  # of `chunk_size`, up to which small parts are grouped: 205 of 512 tokens
LINE_END_SHARE = 0.5  # a run of lines ends at a blank line in this last share of it, if there is one
MIN_LONG_LINE_CHARACTERS = 100  # of a part of a long line, so that a line of marks is not split into thousands


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on the length of chunks, in estimated tokens.

    Attributes:
        hard: Maximum length of a chunk.
        soft: Length up to which short parts are grouped.
        overlap: Tokens shared by consecutive pieces of a paragraph.
    """

    hard: int
    soft: int
    overlap: int

    @classmethod
    def of_chunk_size(cls, chunk_size: int, chunk_overlap: int) -> "Limits":
        """Return the limits for the two settings; any integers are valid."""
        hard = max(chunk_size, 1)
        return cls(hard=hard, soft=max(round(hard * SOFT_SHARE), 1), overlap=max(0, min(chunk_overlap, hard // 2)))


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk without id; lines are 1-based and inclusive."""

    text: str
    start_line: int
    end_line: int
    symbols: tuple[str, ...] = ()
    heading: str | None = None
    context: tuple[ContextLine, ...] = ()
    part: int = 1
    parts: int = 1


class SourceLines:
    """The lines of a text with their token counts; rows are 0-based, and ranges of rows are half open.

    Attributes:
        rows: The lines without newlines.
        encoded: The text in UTF-8, the input of parsers.
    """

    __slots__ = ("_sums", "encoded", "rows")

    def __init__(self, text: str) -> None:
        self.encoded = text.encode("utf-8")
        self.rows = text.split("\n")
        self._sums = [0, *accumulate(map(estimate_tenths, self.encoded.split(b"\n")))]

    def count_tokens(self, start: int, end: int) -> float:
        """Return the estimated tokens of the rows in [start, end)."""
        return (self._sums[end] - self._sums[start]) / 10

    def is_blank(self, row: int) -> bool:
        """Return whether a row has only whitespace."""
        return self._sums[row] == self._sums[row + 1]

    def trim(self, start: int, end: int) -> tuple[int, int]:
        """Remove blank rows at both ends of a range; start equals end if all are blank."""
        while start < end and self.is_blank(start):
            start += 1
        while start < end and self.is_blank(end - 1):
            end -= 1
        return start, end

    def make_pieces(
        self, start: int, end: int, limits: Limits, *, symbols: tuple[str, ...] = (), heading: str | None = None
    ) -> Iterator[Piece]:
        """Yield the rows as one piece, or as several if they exceed the hard limit, split between and within lines."""
        start, end = self.trim(start, end)
        if start == end:
            return
        if self.count_tokens(start, end) <= limits.hard:
            yield Piece("\n".join(self.rows[start:end]), start + 1, end, symbols, heading)
            return
        for first, last in self.split_rows(start, end, limits.soft):
            first, last = self.trim(first, last)
            text = "\n".join(self.rows[first:last])
            weight = self.count_tokens(first, last)
            for part in [text] if weight <= limits.hard else split_line(text, weight, limits.soft):
                yield Piece(part, first + 1, last, symbols, heading)
                symbols = ()

    def split_rows(self, start: int, end: int, limit: float) -> Iterator[tuple[int, int]]:
        """Split a range into runs of rows of at most `limit` tokens, preferably at blank lines.

        A row that exceeds the limit is a separate run. Runs of blank rows are omitted.
        """
        first = start
        while first < end:
            last = first + 1
            blank = None
            while last < end and self.count_tokens(first, last + 1) <= limit:
                if self.is_blank(last):
                    blank = last
                last += 1
            near = blank is not None and self.count_tokens(first, blank) >= limit * (1 - LINE_END_SHARE)
            if last < end and blank is not None and near:
                last = blank
            if self.count_tokens(first, last):
                yield first, last
            first = last


def split_line(line: str, weight: float, limit: float) -> Iterator[str]:
    """Split a long line into parts of about `limit` tokens, preferably at spaces."""
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
    """Join adjacent ranges up to `limit` tokens."""
    start = end = -1
    for first, last in ranges:
        if start >= 0 and lines.count_tokens(start, last) <= limit:
            end = last
            continue
        if start >= 0:
            yield start, end
        start, end = first, last
    if start >= 0:
        yield start, end


MAX_CHARACTERS_PER_TOKEN = 16  # bounds whitespace, which counts no tokens; indented code and tables stay below 8
CHARACTERS_PER_TOKEN = 4

FREE_PIECES = 256
PIECES_PER_FULL_CHUNK = 32
"""Maximum pieces of a file: `FREE_PIECES`, plus these for each full chunk of text. Real files have far fewer."""

FREE_CONTEXT = 10_000
CONTEXT_SHARE = 2
"""Maximum characters of headings, symbols and context, which pieces repeat: `FREE_CONTEXT`, plus twice the text."""


class TooManyPiecesError(ValueError):
    """The structure of a file would split it into too many pieces."""


def bound_pieces(pieces: Iterable[Piece], limits: Limits, length: int) -> Iterator[Piece]:
    """Split pieces that exceed the hard limit, and drop headings, symbols and context that exceed their bound.

    Args:
        pieces: Pieces in the order of the file.
        limits: Limits on the length of a piece.
        length: Characters of the text.

    Raises:
        TooManyPiecesError: There are too many pieces for the length of the text.
    """
    context_left = FREE_CONTEXT + CONTEXT_SHARE * length
    pieces_left = FREE_PIECES + PIECES_PER_FULL_CHUNK * length // (CHARACTERS_PER_TOKEN * limits.hard)
    for piece in pieces:
        pieces_left -= 1
        if pieces_left < 0:
            raise TooManyPiecesError("there are too many definitions or sections")
        context_left -= len(piece.heading or "") + sum(map(len, piece.symbols))
        context_left -= sum(len(line.text) for line in piece.context)
        bounded = piece if context_left >= 0 else replace(piece, heading=None, symbols=(), context=())
        yield from split_piece(bounded, limits)


def split_piece(piece: Piece, limits: Limits) -> Iterator[Piece]:
    """Yield a piece, or its parts if it exceeds the hard limit; blank parts are omitted."""
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
    """Split a piece into parts of at most `width` characters, preferably at line ends or spaces."""
    text, line, bare = piece.text, piece.start_line, piece
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
            yield replace(bare, text=stripped, start_line=first, end_line=last)
            bare = replace(piece, symbols=())
        line += part.count("\n")
        position = end
