import pytest

from agent_brain_server.indexing.headings import find_sections


def headings_of(text: str, language: str) -> list[tuple[int, str | None]]:
    rows = text.split("\n")
    sections = find_sections(rows, language)
    assert [row for section in sections for row in range(section.start, section.end)] == list(range(len(rows)))
    return [(section.start + 1, section.heading) for section in sections]


def test_markdown():
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


def test_rst():
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
def test_other_notations(language, text, expected):
    assert headings_of(text, language) == expected
