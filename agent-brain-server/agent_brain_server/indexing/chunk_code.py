"""Cut source code along its syntax tree."""

from collections.abc import Iterator

from agent_brain_server.indexing.source_lines import Limits, Piece, SourceLines
from agent_brain_server.types import SourceText


def chunk_source(lines: SourceLines, source: SourceText, limits: Limits) -> Iterator[Piece]:
    """Cut source code."""
    for start, end in lines.cut(0, len(lines.rows), limits.soft):
        yield from lines.take_pieces(start, end, limits)
