"""Hard bounds on the pieces of one file, whatever its chunker made: their size, their number and their context."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from agent_brain_server.indexing.source_lines import Limits, Piece
from agent_brain_server.indexing.token_estimate import estimate_tenths

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
