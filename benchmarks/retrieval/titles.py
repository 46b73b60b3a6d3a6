"""Queries about documentation: the title of a section, which is removed from the document that is indexed."""

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from agent_brain_server.indexing.chunking.text import Section, find_sections
from agent_brain_server.support.tokens import STOP_WORDS
from benchmarks.retrieval.kinds import KindQuery, KindSet, draw_order
from benchmarks.retrieval.query_set import Target

KIND = "title of a section"
LANGUAGES = {".rst": "rst", ".md": "markdown"}
MIN_LINES = 7
MIN_TITLE_WORDS = 2
LEFT_OUT = ("tests", "examples", "requirements", "uv.lock", ".git")
NOT_ASKED = re.compile(r"chang|licen|news|history", re.IGNORECASE)
"""Files whose titles are versions or names."""

MARKUP = re.compile(r"[`*\\:]|\{\w+\}")
UNDERLINE = re.compile(r"([^\w\s])\1{2,}\s*")


def make_title_sets(packages: Iterable[Path], directory: Path) -> list[KindSet]:
    """Copy packages without the titles of some sections, and return these titles as queries.

    Args:
        packages: Unpacked source distributions with their documentation.
        directory: Of the trees.
    """
    sets = []
    for package in packages:
        tree = directory / f"untitled-{package.name}"
        if not tree.is_dir():
            shutil.copytree(package, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
        queries: list[KindQuery] = []
        for path in sorted(package.rglob("*")):
            relative = path.relative_to(package)
            copy = tree / relative
            if path.suffix in LANGUAGES and copy.is_file() and not NOT_ASKED.search(path.name):
                text = path.read_text(encoding="utf-8", errors="replace")
                untitled, found = withhold_titles(text, relative.as_posix())
                copy.write_text(untitled, encoding="utf-8")
                queries += found
        sets.append(KindSet(KIND, tree, tuple(queries)))
    return sets


def withhold_titles(text: str, name: str) -> tuple[str, list[KindQuery]]:
    """Return a document with empty lines for the titles of some sections, and queries for them.

    Two in five titles are kept, drawn by their text, so that the document keeps its outline.
    """
    rows = text.split("\n")
    untitled = list(rows)
    queries = []
    for section in find_sections(rows, LANGUAGES[Path(name).suffix]):
        if not section.path or section.end - section.start < MIN_LINES:
            continue
        title = " ".join(MARKUP.sub("", section.path[-1]).split())
        words = [word for word in re.findall(r"[A-Za-z]{2,}", title) if word.lower() not in STOP_WORDS]
        if len(words) < MIN_TITLE_WORDS or draw_order(f"{name} {title}") % 5 < 2:
            continue
        for row in _find_title_rows(rows, section):
            untitled[row] = ""
        queries.append(KindQuery(title, (Target(name, section.start + 1, section.end),)))
    return "\n".join(untitled), queries


def _find_title_rows(rows: Sequence[str], section: Section) -> list[int]:
    """Return the rows of a title and of the lines above or below it."""
    found = []
    for row in range(section.start, min(section.start + 3, section.end)):
        if rows[row].strip(" #") != section.path[-1].strip(" #") and not UNDERLINE.fullmatch(rows[row]):
            break
        found.append(row)
    return found
