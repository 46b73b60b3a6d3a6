"""Cut one file into chunks: code by syntax, documents by headings and sentences, anything else by lines.

Cheap to import: grammars and LlamaIndex are loaded by the first file that needs them.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from agent_brain_server.indexing.chunking.code import chunk_source
from agent_brain_server.indexing.chunking.source_lines import (
    Limits,
    Piece,
    SourceLines,
    TooManyPiecesError,
    bound_pieces,
    split_piece,
)
from agent_brain_server.indexing.chunking.syntax import SlowSyntaxError, has_grammar
from agent_brain_server.indexing.chunking.text import chunk_document, chunk_plain
from agent_brain_server.indexing.files.file_types import DOCUMENT_LANGUAGES
from agent_brain_server.types import Chunk, FileChunks, FileRecord, SourceText

logger = logging.getLogger(__name__)

MANY_PIECES = 1_000
"""Pieces of a file that cannot be parsed, above which they are made longer: 6,000 take seconds to write, and a save
waits for them."""

ID_DIGITS = 24
"""Hex digits: 96 bits; two chunks of a million projects with the same id are not to be expected."""


def chunk_file(source: SourceText, *, chunk_size: int, chunk_overlap: int) -> FileChunks:
    """Cut a file into chunks that hold each of its non-blank lines; raises on no input.

    Args:
        source: The file, decoded.
        chunk_size: Most tokens of a chunk, as `indexing/token_estimate.py` estimates them.
        chunk_overlap: Tokens that two pieces of one long paragraph share; code never overlaps.

    Returns:
        The chunks in the order of the file, and its record, not yet `indexed`.
    """
    lines = SourceLines(source.text.encode("utf-8", "replace").decode("utf-8"))  # lone surrogates become "?"
    limits = Limits.of_chunk_size(chunk_size, chunk_overlap)
    pieces = _cut(source, lines, limits)
    record = FileRecord(source.path, source.size, source.mtime_ns, source.content_hash, "pending")
    return FileChunks(record, source.language, source.source_type, tuple(_name_pieces(source, pieces)), source.limit)


def _cut(source: SourceText, lines: SourceLines, limits: Limits) -> list[Piece]:
    length = len(source.text)
    try:
        return list(bound_pieces(_choose_chunker(source)(lines, source, limits), limits, length))
    except (SlowSyntaxError, TooManyPiecesError) as error:
        logger.info("%s is only cut by lines: %s", source.path, error)
    except MemoryError:
        raise  # the memory limit of the process, which its parent handles
    except Exception:  # a file must not be lost because its syntax or markup defeats a parser
        logger.warning(
            "%s is cut by lines, because its %s could not be cut", source.path, source.language, exc_info=True
        )
    if lines.weigh(0, len(lines.rows)) > MANY_PIECES * limits.soft:
        limits = replace(limits, soft=limits.hard)
    return [part for piece in chunk_plain(lines, source, limits) for part in split_piece(piece, limits)]


def _choose_chunker(source: SourceText) -> Callable[[SourceLines, SourceText, Limits], Iterable[Piece]]:
    if source.limit is not None:
        return chunk_plain
    if source.language in DOCUMENT_LANGUAGES:
        return chunk_document
    return chunk_source if has_grammar(source.language) else chunk_plain


def _name_pieces(source: SourceText, pieces: Iterable[Piece]) -> Iterator[Chunk]:
    """Give each piece its id, which stays as long as path, heading, text and earlier pieces that are equal in them do.

    The heading counts because it is embedded with the text: a chunk under another one needs another vector.
    """
    earlier: Counter[tuple[str | None, str]] = Counter()
    for piece in pieces:
        if not piece.text.strip():  # separators and other blanks that are not ASCII
            continue
        named = (piece.heading, piece.text)
        key = f"{source.path}\0{earlier[named]}\0{piece.heading or ''}\0{piece.text}"
        earlier[named] += 1
        yield Chunk(
            id=hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:ID_DIGITS],
            path=source.path,
            text=piece.text,
            start_line=piece.start_line,
            end_line=piece.end_line,
            language=source.language,
            source_type=source.source_type,
            symbols=piece.symbols,
            heading=piece.heading,
        )
