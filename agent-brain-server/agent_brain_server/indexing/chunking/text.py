"""Split documents by headings, paragraphs and sentences, and other text by lines."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from agent_brain_server.indexing.chunking.source_lines import (
    Limits,
    Piece,
    SourceLines,
    estimate_tokens,
    group_ranges,
    split_line,
)
from agent_brain_server.support.limits import uncounted_cpu
from agent_brain_server.types import SourceText

MAX_HEADING_CHARACTERS = 200  # longer "titles" are text that looks like one
SECTION_SEPARATOR = " > "


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: its first row (0-based), its level (1 is outermost), and its title."""

    row: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Section:
    """The rows in [start, end) from one heading to the next, and the titles of its headings, outermost first."""

    start: int
    end: int
    path: tuple[str, ...]

    @property
    def heading(self) -> str | None:
        """The path as one string, `None` if empty."""
        return SECTION_SEPARATOR.join(self.path) or None


def find_sections(rows: Sequence[str], language: str) -> list[Section]:
    """Return the sections that partition a document; rows before the first heading have an empty path."""
    find_headings = HEADING_FINDERS.get(language)
    headings = list(find_headings(rows)) if find_headings else []
    sections = []
    start = 0
    path: list[tuple[int, str]] = []
    for heading in headings:
        if heading.row > start:
            sections.append(Section(start, heading.row, tuple(title for _, title in path)))
        path = [*(entry for entry in path if entry[0] < heading.level), (heading.level, heading.title)]
        start = heading.row
    if start < len(rows):
        sections.append(Section(start, len(rows), tuple(title for _, title in path)))
    return sections


MAX_MARKDOWN_INDENT = 3  # spaces before `#`; four make a code block
MAX_MARKDOWN_LEVEL = 6

MARKDOWN_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})\s*$")
MARKDOWN_FENCE = re.compile(r"\s{0,12}(?:[-*+>]\s+|\d+[.)]\s+)?(`{3,}|~{3,})")
MARKDOWN_BLOCK = re.compile(r"\s*([-*+>|]|\d+[.)])(\s|$)|\s{4}|\s*$|\s*<")
"""A row that cannot be an underlined title: a list item, quotation, table, code, markup, or blank row."""


def find_markdown_headings(rows: Sequence[str]) -> Iterator[Heading]:
    """Yield ATX and setext headings of Markdown (CommonMark), except those in fenced code and front matter."""
    fence = ""
    first = _skip_front_matter(rows)
    for row in range(first, len(rows)):
        line = rows[row]
        fence_match = MARKDOWN_FENCE.match(line)
        if fence:
            if fence_match and fence_match[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif fence_match:
            fence = fence_match[1]
        elif marked := parse_marked_heading(line):
            level, title = marked
            yield Heading(row, level, _clean_title(title))
        elif row > first and (underline := MARKDOWN_UNDERLINE.match(line)) and not _is_block(rows, row - 1, first):
            yield Heading(row - 1, 1 if underline[1][0] == "=" else 2, _clean_title(rows[row - 1]))


def _skip_front_matter(rows: Sequence[str]) -> int:
    """Return the row after YAML front matter, 0 if there is none."""
    if rows and rows[0].rstrip() == "---":
        for row in range(1, len(rows)):
            if rows[row].rstrip() in ("---", "..."):
                return row + 1
    return 0


def _is_block(rows: Sequence[str], row: int, first: int) -> bool:
    line = rows[row]
    has_text_above = row > first and rows[row - 1].strip() != "" and not parse_marked_heading(rows[row - 1])
    return bool(MARKDOWN_BLOCK.match(line) or parse_marked_heading(line) or has_text_above)


def parse_marked_heading(line: str) -> tuple[int, str] | None:
    """Return level and title of an ATX heading such as `## Title ##`, or `None` if the line is not a heading.

    This is not a regular expression, because one for the closing marks backtracks quadratically on spaces.
    """
    marked = line.lstrip(" ")
    if len(line) - len(marked) > MAX_MARKDOWN_INDENT:
        return None
    text = marked.lstrip("#")
    level = len(marked) - len(text)
    if not 1 <= level <= MAX_MARKDOWN_LEVEL or (text and not text[0].isspace()):
        return None
    title = text.strip()
    unclosed = title.rstrip("#")
    is_closed = unclosed != title and unclosed[-1:].isspace()
    return level, unclosed.rstrip() if is_closed else title


RST_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}\s*$")


def find_rst_headings(rows: Sequence[str]) -> Iterator[Heading]:
    """Yield the titles of reStructuredText; the order of first use of the adornments determines the levels."""
    styles: list[str] = []
    row = 0
    while row + 1 < len(rows):
        over = RST_UNDERLINE.match(rows[row])
        if over and row + 2 < len(rows) and rows[row + 2].rstrip() == rows[row].rstrip() and rows[row + 1].strip():
            title, style, height = rows[row + 1], over[1] * 2, 3
        elif (under := RST_UNDERLINE.match(rows[row + 1])) and _is_rst_title(rows, row):
            title, style, height = rows[row], under[1], 2
        else:
            row += 1
            continue
        if style not in styles:
            styles.append(style)
        yield Heading(row, styles.index(style) + 1, _clean_title(title))
        row += height


def _is_rst_title(rows: Sequence[str], row: int) -> bool:
    title = rows[row].rstrip()
    if not title or title[0].isspace() or RST_UNDERLINE.match(title) or (row > 0 and rows[row - 1].strip()):
        return False
    return len(rows[row + 1].rstrip()) >= min(len(title), MAX_HEADING_CHARACTERS)


def _clean_title(title: str) -> str:
    return " ".join(title.split())[:MAX_HEADING_CHARACTERS]


def _marked_headings(pattern: str, levels: Callable[[str], int]) -> Callable[[Sequence[str]], Iterator[Heading]]:
    """Return a function that finds headings by a pattern; group 1 determines the level, group 2 is the title."""
    compiled = re.compile(pattern)

    def find(rows: Sequence[str]) -> Iterator[Heading]:
        for row, line in enumerate(rows):
            if match := compiled.match(line):
                yield Heading(row, levels(match[1]), _clean_title(match[2]))

    return find


LATEX_LEVELS = {"part": 1, "chapter": 2, "section": 3, "subsection": 4, "subsubsection": 5, "paragraph": 6}


def find_pages(rows: Sequence[str]) -> Iterator[Heading]:
    """Yield a heading for each page of a text with form feeds as page separators."""
    number = 1
    yield Heading(0, 1, "Page 1")
    for row, line in enumerate(rows):
        if "\f" in line:
            number += line.count("\f")
            yield Heading(row, 1, f"Page {number}")


HEADING_FINDERS: dict[str, Callable[[Sequence[str]], Iterator[Heading]]] = {
    "markdown": find_markdown_headings,
    "html": find_markdown_headings,  # converted by `markup.render_html`
    "rst": find_rst_headings,
    "pdf": find_pages,
    "asciidoc": _marked_headings(r"(={1,6})\s+(\S.*)", len),
    "org": _marked_headings(r"(\*+)\s+(\S.*)", len),
    "latex": _marked_headings(
        r"\s*\\(part|chapter|section|subsection|subsubsection|paragraph)\*?\{([^}]*)", LATEX_LEVELS.__getitem__
    ),
}
"""Language to the function that finds its headings. Other languages have no headings."""


if TYPE_CHECKING:
    from llama_index.core.node_parser import SentenceSplitter

STUB_TOKENS = 25  # a shorter section is hardly more than a title, and is joined with the next one
MAX_STRUCTURED_SHARE = 0.3  # of structured rows in prose
MIN_SENTENCE_TOKENS = 4  # the splitter raises if a single character exceeds its limit
MAX_SENTENCE_CHARACTERS = 100_000  # a longer paragraph is data, and finding sentences in it takes seconds

STRUCTURED_ROW = re.compile(r"\s*([-*+>|]|\d+[.)])(\s|$)|\s{4}|.*[;{}|]\s*$|[\w-]+:\s")
"""A row of a list, quotation, table, named fields, or code."""


def chunk_plain(lines: SourceLines, source: SourceText, limits: Limits) -> Iterator[Piece]:
    """Split text without known structure into runs of lines."""
    for start, end in lines.split_rows(0, len(lines.rows), limits.soft):
        yield from lines.make_pieces(start, end, limits)


def chunk_document(lines: SourceLines, source: SourceText, limits: Limits) -> Iterator[Piece]:
    """Split a document into sections, long sections into paragraphs, and long paragraphs into sentences."""
    for section in _join_stubs(lines, find_sections(lines.rows, source.language), limits):
        if lines.count_tokens(section.start, section.end) <= limits.hard:
            yield from lines.make_pieces(section.start, section.end, limits, heading=section.heading)
            continue
        for start, end in group_ranges(lines, _find_paragraphs(lines, section.start, section.end), limits.soft):
            if lines.count_tokens(start, end) > limits.hard and _is_prose(lines, start, end):
                yield from _chunk_paragraph(lines, start, end, limits, section.heading)
            else:
                yield from lines.make_pieces(start, end, limits, heading=section.heading)


def _find_paragraphs(lines: SourceLines, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of rows between blank rows."""
    first = start
    for row in range(start, end + 1):
        if row == end or lines.is_blank(row):
            if first < row:
                yield first, row
            first = row + 1


def _is_prose(lines: SourceLines, start: int, end: int) -> bool:
    """Return whether rows are prose, rather than a list, table or code, which are not split within lines."""
    structured = sum(1 for row in lines.rows[start:end] if STRUCTURED_ROW.match(row))
    return structured <= (end - start) * MAX_STRUCTURED_SHARE


def _join_stubs(lines: SourceLines, sections: list[Section], limits: Limits) -> Iterator[Section]:
    """Join sections that are hardly more than a title with the next one, whose heading is used."""
    stub: Section | None = None
    for section in sections:
        joined = section
        if stub is not None:
            if lines.count_tokens(stub.start, section.end) <= limits.soft:
                joined = Section(stub.start, section.end, section.path)
            else:
                yield stub
        stub = None
        if lines.count_tokens(joined.start, joined.end) < STUB_TOKENS:
            stub = joined
        else:
            yield joined
    if stub is not None:
        yield stub


def _chunk_paragraph(lines: SourceLines, start: int, end: int, limits: Limits, heading: str | None) -> Iterator[Piece]:
    """Split a paragraph at the ends of sentences."""
    text = "\n".join(lines.rows[start:end])
    if len(text) > MAX_SENTENCE_CHARACTERS:
        for part in split_line(text, lines.count_tokens(start, end), limits.soft):
            yield Piece(part, start + 1, end, (), heading)
        return
    position = end_of_last = 0
    for part in _sentence_splitter(limits.soft, min(limits.overlap, limits.soft // 2)).split_text(text):
        found = _locate(text, part, position, end_of_last)
        if found < 0:  # the splitter has changed the text
            raise ValueError(f"a part of lines {start + 1} to {end} is not in the text")
        first_line = start + 1 + text.count("\n", 0, found)
        yield Piece(part, first_line, first_line + part.count("\n"), (), heading)
        position, end_of_last = found + 1, found + len(part)


def _locate(text: str, part: str, position: int, end_of_last: int) -> int:
    """Return the position of a part, -1 if not found: directly after the previous part, or overlapping its end.

    The text can repeat itself, but each part ends after the previous one.
    """
    following = text.find(part, end_of_last)
    if following >= 0 and not text[end_of_last:following].strip():
        return following
    return text.find(part, max(position, end_of_last - len(part) + 1))


@lru_cache(maxsize=4)
def _sentence_splitter(chunk_size: int, chunk_overlap: int) -> "SentenceSplitter":
    """Return LlamaIndex's splitter with our token estimate, which is six times as fast as tiktoken."""
    with uncounted_cpu():
        from llama_index.core.node_parser import SentenceSplitter  # noqa: PLC0415 - takes over 1 s of CPU

    return SentenceSplitter(
        chunk_size=max(chunk_size, MIN_SENTENCE_TOKENS),
        chunk_overlap=chunk_overlap,
        tokenizer=lambda text: range(estimate_tokens(text)),
    )
