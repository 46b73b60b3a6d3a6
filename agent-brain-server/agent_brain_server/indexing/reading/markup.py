"""Convert HTML, notebooks and PDFs to text; words of HTML and notebooks stay on their lines of the file."""

import io
import json
import logging
import re
import time
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from agent_brain_server.support.limits import uncounted_cpu
from agent_brain_server.support.text import replace_surrogates

if TYPE_CHECKING:
    from pypdf import PdfReader

logger = logging.getLogger(__name__)

HIDDEN_TAGS = frozenset({"script", "style", "template", "svg", "noscript"})
"""Elements without visible text."""

HEADING_MARKS = {f"h{level}": "#" * level + " " for level in range(1, 7)} | {"title": "# "}
"""HTML headings are converted to Markdown, so that both are split into sections in the same way."""

MAX_PAGE_SECONDS = 1.0
"""CPU seconds of the thread; a valid page of 1 MB takes 0.5, and unclosed tags take html.parser minutes."""

JSON_TOKEN = re.compile(r'(?P<string>"(?:[^"\\]|\\.)*+(?:"|\\?\Z))(?P<key>[ \t]*:)?|[{}\[\]\n]', re.DOTALL)
"""The tokens of JSON that determine the position of a string; a string before a colon is a key.

An unterminated string extends to the end, so that scanning takes linear time."""

MAX_PDF_PAGES = 2_000
"""Pages to read; pypdf takes 20 ms for each, and longer documents are collections."""

MAX_PDF_SECONDS = 2.5
"""CPU seconds of the thread; the remaining pages are not indexed."""

PAGE_BREAK = "\f"
"""Page separator of a PDF's text, as in the output of pdftotext."""


def render_html(markup: str) -> str:
    """Return the text of a page, each word on its line of the file; headings are marked with `#`.

    If a page is malformed or takes too long, its markup is returned unchanged.
    """
    parser = _PageText()
    try:
        parser.feed(markup)
        parser.close()
    except (AssertionError, ValueError):  # html.parser raises these on some broken declarations, `_check_time` others
        return markup
    return parser.text(markup.count("\n") + 1)


class _PageText(HTMLParser):
    """Collects the visible text by line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: dict[int, list[str]] = {}
        self._hidden: list[str] = []
        self._deadline = time.thread_time() + MAX_PAGE_SECONDS

    def text(self, line_count: int) -> str:
        return "\n".join("".join(self._lines.get(number, ())).strip() for number in range(1, line_count + 1))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._check_time()
        if tag in HIDDEN_TAGS:
            if tag not in self._hidden:  # one entry per kind is enough, because an end tag closes all of its kind
                self._hidden.append(tag)
        elif tag in HEADING_MARKS:
            self._put(HEADING_MARKS[tag])
        else:
            self._put(" ")
        self._put("".join(f"{value} " for name, value in attrs if name == "alt" and value))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in HIDDEN_TAGS:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        self._check_time()
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]

    def handle_data(self, data: str) -> None:
        self._put(data)

    def handle_comment(self, data: str) -> None:
        self._check_time()

    def _check_time(self) -> None:
        if time.thread_time() > self._deadline:
            raise ValueError("the page takes too long")

    def _put(self, data: str) -> None:
        self._check_time()
        if self._hidden:
            return
        first = self.getpos()[0]
        for offset, line in enumerate(data.split("\n")):
            if line:
                self._lines.setdefault(first + offset, []).append(line)


def render_notebook(document: str) -> str:
    """Return the sources of a notebook's cells, each source line on its line of the file.

    Source lines that share a line of the file are joined by spaces. A document that is not a notebook is returned
    unchanged.
    """
    lines: list[list[str]] = [[] for _ in range(document.count("\n") + 1)]
    for number, value in _find_sources(document):
        words = " ".join(value.rstrip("\n").split("\n"))
        if words or lines[number]:
            lines[number].append(words)
    text = "\n".join(map(" ".join, lines))
    return text if text.strip() else document


def _find_sources(document: str) -> list[tuple[int, str]]:
    """Return the strings in `cells[*].source`, each with its row (0-based)."""
    found = []
    stack: list[str] = []
    keys = [""]
    row = 0
    for match in JSON_TOKEN.finditer(document):
        token = match[0]
        if token == "\n":
            row += 1
        elif token in "{[":
            stack.append(token)
            keys.append("")
        elif token in "}]":
            if stack:
                stack.pop()
                keys.pop()
        elif match["key"]:
            keys[-1] = match["string"][1:-1]
        elif _is_cell_source(stack, keys):
            found.append((row, _parse_string(token)))
    return found


def _is_cell_source(stack: list[str], keys: list[str]) -> bool:
    in_cell = stack[:3] == ["{", "[", "{"] and keys[1] == "cells" and keys[3] == "source"
    return in_cell and (len(stack) == 3 or stack[3:] == ["["])


def _parse_string(token: str) -> str:
    try:
        return replace_surrogates(str(json.loads(token, strict=False)))
    except ValueError:
        return token[1:-1]


def _extract_pages(reader: "PdfReader", name: str) -> list[str]:
    """Return the texts of the pages that can be read in time."""
    deadline = time.thread_time() + MAX_PDF_SECONDS
    pages: list[str] = []
    for page in reader.pages[:MAX_PDF_PAGES]:
        if time.thread_time() > deadline:
            logger.warning("only the first %d pages of %s are indexed: reading it takes too long", len(pages), name)
            break
        pages.append(page.extract_text())
    return pages


def render_pdf(data: bytes, name: str = "a PDF") -> str | None:
    """Return the text of a PDF, with pages separated by form feeds; line numbers refer to the text, not to the file.

    Args:
        data: Content of the file.
        name: Name of the file for log messages.

    Returns:
        `None` if the document is corrupt or encrypted.

    Raises:
        ImportError: pypdf is not installed.
    """
    with uncounted_cpu():
        from pypdf import PdfReader  # noqa: PLC0415 - an optional dependency

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns about each defect of a file
    try:
        reader = PdfReader(io.BytesIO(data))
        pages = _extract_pages(reader, name)
    except MemoryError:
        raise  # the memory limit of the process, which its parent handles
    except Exception:  # boundary: pypdf raises arbitrary errors on corrupt files
        logger.info("%s could not be read and is skipped", name, exc_info=True)
        return None
    return replace_surrogates(PAGE_BREAK.join(pages))
