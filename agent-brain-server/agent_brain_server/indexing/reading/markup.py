"""Documents whose text is wrapped in markup: the words are taken out, and stay on the lines where the file has them."""

import io
import json
import logging
import re
import time
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from agent_brain_server.indexing.reading.limits import uncounted_cpu

if TYPE_CHECKING:
    from pypdf import PdfReader

logger = logging.getLogger(__name__)

UNSEEN_TAGS = frozenset({"script", "style", "template", "svg", "noscript"})
"""Elements whose content a reader of the page does not see."""

HEADING_MARKS = {f"h{level}": "#" * level + " " for level in range(1, 7)} | {"title": "# "}
"""Headings are marked as in Markdown, so that the text is cut into sections in the same way."""

MAX_PAGE_SECONDS = 1.0
"""Of the thread's CPU: a sound page of 1 MB takes half of it, and tags that never close take html.parser minutes."""

JSON_TOKEN = re.compile(r'(?P<string>"(?:[^"\\]|\\.)*+(?:"|\\?\Z))(?P<key>[ \t]*:)?|[{}\[\]\n]', re.DOTALL)
"""The parts of a JSON text that tell where a string lies; a string before a colon is a key.

A string without an end takes the rest, so that no part of the text is looked through twice."""

MAX_PDF_PAGES = 2_000
"""Pages; longer ones are collections, and pypdf takes some 20 ms a page."""

MAX_PDF_SECONDS = 2.5
"""CPU; the pages that are not reached by then are left out, which is better than to lose the document."""

PAGE_BREAK = "\f"
"""Between two pages of a PDF, as pdftotext writes it."""


def render_html(markup: str) -> str:
    """Return the text of a page, each word on its line of the file; headings are marked with `#`.

    A page that is broken, or takes too long, is returned as it is.
    """
    parser = _PageText()
    try:
        parser.feed(markup)
        parser.close()
    except (AssertionError, ValueError):  # html.parser raises these on some broken declarations, `_check_time` others
        return markup
    return parser.text(markup.count("\n") + 1)


class _PageText(HTMLParser):
    """Collects what a reader sees, line by line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: dict[int, list[str]] = {}
        self._unseen: list[str] = []
        self._deadline = time.thread_time() + MAX_PAGE_SECONDS

    def text(self, line_count: int) -> str:
        return "\n".join("".join(self._lines.get(number, ())).strip() for number in range(1, line_count + 1))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._check_time()
        if tag in UNSEEN_TAGS:
            if (
                tag not in self._unseen
            ):  # the first end tag closes all of its kind, so one entry for each kind is enough
                self._unseen.append(tag)
        elif tag in HEADING_MARKS:
            self._put(HEADING_MARKS[tag])
        else:
            self._put(" ")
        self._put("".join(f"{value} " for name, value in attrs if name == "alt" and value))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in UNSEEN_TAGS:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        self._check_time()
        if tag in self._unseen:
            del self._unseen[self._unseen.index(tag) :]

    def handle_data(self, data: str) -> None:
        self._put(data)

    def handle_comment(self, data: str) -> None:
        self._check_time()

    def _check_time(self) -> None:
        if time.thread_time() > self._deadline:
            raise ValueError("the page takes too long")

    def _put(self, data: str) -> None:
        self._check_time()
        if self._unseen:
            return
        first = self.getpos()[0]
        for offset, line in enumerate(data.split("\n")):
            if line:
                self._lines.setdefault(first + offset, []).append(line)


def render_notebook(document: str) -> str:
    """Return the sources of a notebook's cells, each line of them on the line of the file that holds it.

    Where one line of the file holds several lines of a cell they are joined by spaces. A document that is no notebook
    is returned as it is.
    """
    lines: list[list[str]] = [[] for _ in range(document.count("\n") + 1)]
    for number, value in _find_sources(document):
        words = " ".join(value.rstrip("\n").split("\n"))
        if words or lines[number]:
            lines[number].append(words)
    text = "\n".join(map(" ".join, lines))
    return text if text.strip() else document


def _find_sources(document: str) -> list[tuple[int, str]]:
    """Find the strings under `cells[*].source`, each with its 0-based line."""
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
        return str(json.loads(token, strict=False)).encode("utf-8", "replace").decode("utf-8")
    except ValueError:
        return token[1:-1]


def _extract_pages(reader: "PdfReader", name: str) -> list[str]:
    """Return the texts of a document's first pages, as many as can be read in time."""
    deadline = time.thread_time() + MAX_PDF_SECONDS
    pages: list[str] = []
    for page in reader.pages[:MAX_PDF_PAGES]:
        if time.thread_time() > deadline:
            logger.warning("only the first %d pages of %s are indexed: reading it takes too long", len(pages), name)
            break
        pages.append(page.extract_text())
    return pages


def render_pdf(data: bytes, name: str = "a PDF") -> str | None:
    """Return the text of a PDF, pages separated by form feeds; lines are those of the text, not of the file.

    Args:
        data: The file.
        name: What the log calls it.

    Returns:
        None where the document is damaged or encrypted.

    Raises:
        ImportError: pypdf is not installed.
    """
    with uncounted_cpu():
        from pypdf import PdfReader  # noqa: PLC0415  an extra, and only PDFs need it

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of each flaw of a file
    try:
        reader = PdfReader(io.BytesIO(data))
        pages = _extract_pages(reader, name)
    except MemoryError:
        raise  # the memory limit of the process, which its parent handles
    except Exception:  # pypdf raises anything on a damaged file
        logger.info("%s could not be read; it is left out", name, exc_info=True)
        return None
    return PAGE_BREAK.join(pages).encode("utf-8", "replace").decode("utf-8")
