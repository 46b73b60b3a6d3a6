"""Split one file into chunks: code by syntax, documents by headings and sentences, anything else by lines.

Grammars and LlamaIndex are imported by the first file that needs them.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from agent_brain_server.indexing.chunking.code import ParsedSource, chunk_source, parse_source
from agent_brain_server.indexing.chunking.source_lines import (
    Limits,
    Piece,
    SourceLines,
    TooManyPiecesError,
    bound_pieces,
    split_piece,
)
from agent_brain_server.indexing.chunking.text import chunk_document, chunk_plain
from agent_brain_server.indexing.files.file_types import DOCUMENT_LANGUAGES
from agent_brain_server.structure.syntax import SlowSyntaxError, has_grammar
from agent_brain_server.support.text import replace_surrogates
from agent_brain_server.types import Chunk, FileChunks, FileRecord, SourceText, SyntaxFacts

logger = logging.getLogger(__name__)

MANY_PIECES = 1_000  # a file that falls back to lines gets longer chunks above it, as 6,000 take seconds to store
ID_DIGITS = 24  # hex digits, 96 bits: no collisions even among a million projects


def chunk_file(source: SourceText, *, chunk_size: int, chunk_overlap: int) -> FileChunks:
    """Split a file into chunks that contain all its non-blank lines. Raises no error for any content.

    Args:
        source: The decoded file.
        chunk_size: Maximum tokens of a chunk, as estimated by `source_lines.estimate_tokens`.
        chunk_overlap: Tokens shared by consecutive pieces of a long paragraph; code does not overlap.

    Returns:
        The chunks in the order of the file, and its record in state `pending`.
    """
    lines = SourceLines(replace_surrogates(source.text))
    limits = Limits.of_chunk_size(chunk_size, chunk_overlap)
    pieces, facts = _split(source, lines, limits)
    record = FileRecord(source.path, source.size, source.mtime_ns, source.content_hash, "pending")
    chunks = tuple(_assign_ids(source, pieces))
    return FileChunks(record, source.language, source.source_type, chunks, source.limit, facts)


def _split(source: SourceText, lines: SourceLines, limits: Limits) -> tuple[list[Piece], SyntaxFacts]:
    """Return the pieces of a file and its facts, which are empty unless it is split by syntax."""
    length = len(source.text)
    try:
        if source.limit is None and has_grammar(source.language):
            parsed = parse_source(lines, source)
            pieces = list(bound_pieces(chunk_source(parsed, limits), limits, length))
            return pieces, _extract_facts(source, parsed)
        return list(bound_pieces(_choose_chunker(source)(lines, source, limits), limits, length)), SyntaxFacts()
    except (SlowSyntaxError, TooManyPiecesError) as error:
        logger.info("%s is split by lines only: %s", source.path, error)
    except MemoryError:
        raise  # the memory limit of the process, which its parent handles
    except Exception:  # boundary: a parser failure must not exclude the file
        logger.warning(
            "%s is split by lines, because splitting it as %s failed", source.path, source.language, exc_info=True
        )
    if lines.count_tokens(0, len(lines.rows)) > MANY_PIECES * limits.soft:
        limits = replace(limits, soft=limits.hard)
    pieces = [part for piece in chunk_plain(lines, source, limits) for part in split_piece(piece, limits)]
    return pieces, SyntaxFacts()


def _extract_facts(source: SourceText, parsed: ParsedSource) -> SyntaxFacts:
    try:
        return parsed.extract_facts()
    except MemoryError:
        raise
    except Exception:  # boundary: a failure here must not lose the chunks
        logger.warning("%s has no symbols in the index, because extracting them failed", source.path, exc_info=True)
        return SyntaxFacts(is_partial=True)


def _choose_chunker(source: SourceText) -> Callable[[SourceLines, SourceText, Limits], Iterable[Piece]]:
    is_document = source.limit is None and source.language in DOCUMENT_LANGUAGES
    return chunk_document if is_document else chunk_plain


def _assign_ids(source: SourceText, pieces: Iterable[Piece]) -> Iterator[Chunk]:
    """Yield the chunks with ids derived from path, heading, text, context and the number of identical earlier pieces.

    Heading and context are part of the id because they are embedded with the text and so affect the vector.
    """
    earlier: Counter[tuple[str, ...]] = Counter()
    for piece in pieces:
        if not piece.text.strip():  # non-ASCII whitespace
            continue
        named = (piece.heading or "", piece.text, *(line.text for line in piece.context))
        key = "\0".join((source.path, str(earlier[named]), *named))
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
            context=piece.context,
            part=piece.part,
            parts=piece.parts,
        )
