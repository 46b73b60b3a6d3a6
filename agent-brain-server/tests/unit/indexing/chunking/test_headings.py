import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_brain_server.indexing.chunking.text import HEADING_FINDERS, find_sections, parse_marked_heading

REFERENCE_HEADING = re.compile(r" {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$")
"""What a marked heading is, as a regular expression; it backtracks quadratically, so it is only used here."""


def headings_of(text: str, language: str) -> list[tuple[int, str | None]]:
    rows = text.split("\n")
    sections = find_sections(rows, language)
    assert [row for section in sections for row in range(section.start, section.end)] == list(range(len(rows)))
    return [(section.start + 1, section.heading) for section in sections]


def test_find_headings_markdown():
    text = (
        "---\ntitle: x\n---\nintro\n\n# Top #\ntext\n```sh\n# a comment\n```\n## Inner\n\n~~~\n# no\n```\n# no\n~~~\n"
        "\nUnder\n=====\n\nlower\n-----\n- item\n---\nlong text\nthat goes on\n---\n#no heading\n### Deep"
    )
    assert headings_of(text, "markdown") == [
        (1, None),
        (6, "Top"),
        (11, "Top > Inner"),
        (19, "Under"),
        (22, "Under > lower"),
        (30, "Under > lower > Deep"),
    ]


def test_find_headings_rst():
    text = (
        "=====\nTitle\n=====\n\nPart\n----\n\ntext\n\n::\n\n    code\n    ====\n\n"
        "Sub part\n~~~~~~~~\n\nNext\n----\n\n====  ====\n1     2\n"
    )
    assert headings_of(text, "rst") == [
        (1, "Title"),
        (5, "Title > Part"),
        (15, "Title > Part > Sub part"),
        (18, "Title > Next"),
    ]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("asciidoc", "= A\n== B\ntext", [(1, "A"), (2, "A > B")]),
        ("org", "* A\n** B\ntext", [(1, "A"), (2, "A > B")]),
        ("latex", "\\section{A}\n\\subsection*{B}\ntext", [(1, "A"), (2, "A > B")]),
        ("pdf", "one\ntwo\fthree\nfour", [(1, "Page 1"), (2, "Page 2")]),
        ("text", "# A\ntext", [(1, None)]),
    ],
)
def test_find_headings_other_notations(language, text, expected):
    assert headings_of(text, language) == expected


@given(line=st.text(alphabet="## \t\r\xa0a\\", max_size=16))
def test_parse_marked_heading_matches_reference(line: str) -> None:
    match = REFERENCE_HEADING.match(line)
    assert parse_marked_heading(line) == ((len(match[1]), match[2] or "") if match else None)


BLANKS = " " * 200_000
MARKS = "".join(f"{mark}{BLANKS}x\n{mark * 3}{BLANKS}\n" for mark in "#=-~`*+>|1.)\\_^")


@pytest.mark.parametrize("language", sorted(HEADING_FINDERS))
def test_parse_marked_heading_takes_linear_time(language: str) -> None:
    # the quadratic expression took over four minutes for one such line
    rows = [*MARKS.split("\n"), f"\\section{BLANKS}{{x", f"#{BLANKS}#{BLANKS}x", f"1.{BLANKS}```", "#" * 200_000]
    began = time.process_time()
    sections = find_sections(rows, language)
    assert time.process_time() - began < 20
    assert sections[-1].end == len(rows)
