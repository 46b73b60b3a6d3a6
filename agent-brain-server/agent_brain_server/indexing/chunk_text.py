"""Cut documents by headings, paragraphs and sentences, and other text by lines."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from agent_brain_server.indexing.headings import Section, find_sections
from agent_brain_server.indexing.reading_limits import uncounted_cpu
from agent_brain_server.indexing.source_lines import Limits, Piece, SourceLines, cut_line, group_ranges
from agent_brain_server.indexing.token_estimate import estimate_tokens
from agent_brain_server.types import SourceText

if TYPE_CHECKING:
    from llama_index.core.node_parser import SentenceSplitter

STUB_TOKENS = 25
"""A section shorter than this is a title with a line or none: it is read together with what follows it."""

STRUCTURED_ROW = re.compile(r"\s*([-*+>|]|\d+[.)])(\s|$)|\s{4}|.*[;{}|]\s*$|[\w-]+:\s")
"""A row of a list, a quotation, a table, fields with names, or code."""

MAX_STRUCTURED_SHARE = 0.3
"""Running text may hold a few such rows by chance."""

MIN_SENTENCE_TOKENS = 4
"""Tokens; the splitter raises where a single character is longer than the limit."""

MAX_SENTENCE_CHARACTERS = 100_000
"""Characters; a longer paragraph is data, and finding sentences in it takes seconds."""


def chunk_plain(lines: SourceLines, source: SourceText, limits: Limits) -> Iterator[Piece]:
    """Cut text of no known structure into runs of lines."""
    for start, end in lines.cut(0, len(lines.rows), limits.soft):
        yield from lines.take_pieces(start, end, limits)


def chunk_document(lines: SourceLines, source: SourceText, limits: Limits) -> Iterator[Piece]:
    """Cut a document into its sections, long sections into paragraphs, and long paragraphs into sentences."""
    for section in _join_stubs(lines, find_sections(lines.rows, source.language), limits):
        if lines.weigh(section.start, section.end) <= limits.hard:
            yield from lines.take_pieces(section.start, section.end, limits, heading=section.heading)
            continue
        for start, end in group_ranges(lines, _find_paragraphs(lines, section.start, section.end), limits.soft):
            if lines.weigh(start, end) > limits.hard and _is_prose(lines, start, end):
                yield from _chunk_paragraph(lines, start, end, limits, section.heading)
            else:
                yield from lines.take_pieces(start, end, limits, heading=section.heading)


def _find_paragraphs(lines: SourceLines, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of rows between blank ones."""
    first = start
    for row in range(start, end + 1):
        if row == end or lines.is_blank(row):
            if first < row:
                yield first, row
            first = row + 1


def _is_prose(lines: SourceLines, start: int, end: int) -> bool:
    """Tell running text from lists, tables and code, whose lines are better left whole."""
    structured = sum(1 for row in lines.rows[start:end] if STRUCTURED_ROW.match(row))
    return structured <= (end - start) * MAX_STRUCTURED_SHARE


def _join_stubs(lines: SourceLines, sections: list[Section], limits: Limits) -> Iterator[Section]:
    """Join sections that are hardly more than a title with the one that follows, whose heading then names both."""
    stub: Section | None = None
    for section in sections:
        joined = section
        if stub is not None:
            if lines.weigh(stub.start, section.end) <= limits.soft:
                joined = Section(stub.start, section.end, section.path)
            else:
                yield stub
        stub = None
        if lines.weigh(joined.start, joined.end) < STUB_TOKENS:
            stub = joined
        else:
            yield joined
    if stub is not None:
        yield stub


def _chunk_paragraph(lines: SourceLines, start: int, end: int, limits: Limits, heading: str | None) -> Iterator[Piece]:
    """Cut one long line, or lines that make one paragraph, at the ends of sentences."""
    text = "\n".join(lines.rows[start:end])
    if len(text) > MAX_SENTENCE_CHARACTERS:
        for part in cut_line(text, lines.weigh(start, end), limits.soft):
            yield Piece(part, start + 1, end, (), heading)
        return
    position = end_of_last = 0
    for part in _sentence_splitter(limits.soft, min(limits.overlap, limits.soft // 2)).split_text(text):
        found = _locate(text, part, position, end_of_last)
        if found < 0:  # the splitter has changed a character: the part is not the file's text
            raise ValueError(f"a part of lines {start + 1} to {end} was not found again")
        first_line = start + 1 + text.count("\n", 0, found)
        yield Piece(part, first_line, first_line + part.count("\n"), (), heading)
        position, end_of_last = found + 1, found + len(part)


def _locate(text: str, part: str, position: int, end_of_last: int) -> int:
    """Return where a part begins, -1 where it is not found: right behind the last one, or overlapping its end.

    Text repeats itself, so the first occurrence may be another one; but each part reaches further than the last.
    """
    following = text.find(part, end_of_last)
    if following >= 0 and not text[end_of_last:following].strip():
        return following
    return text.find(part, max(position, end_of_last - len(part) + 1))


@lru_cache(maxsize=4)
def _sentence_splitter(chunk_size: int, chunk_overlap: int) -> "SentenceSplitter":
    """Make LlamaIndex's splitter, counting with our estimate instead of tiktoken, which is six times slower."""
    with uncounted_cpu():
        from llama_index.core.node_parser import SentenceSplitter  # noqa: PLC0415 - takes over a second of CPU

    return SentenceSplitter(
        chunk_size=max(chunk_size, MIN_SENTENCE_TOKENS),
        chunk_overlap=chunk_overlap,
        tokenizer=lambda text: range(estimate_tokens(text)),
    )
