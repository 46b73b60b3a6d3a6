import random

from benchmarks.retrieval.names import NameFigures, Tag, draw_names, format_names


def tag(name: str, path: str, line: int, *, kind: str = "function", scope: str = "", language: str = "Python") -> Tag:
    return Tag(name, path, line, language, kind, scope)


TAGS = [
    tag("parse", "a.py", 1),
    tag("check", "test_a.py", 3),
    tag("send", "a.py", 5, scope="Client"),
    tag("send", "b.rb", 7, scope="Net::HTTP", language="Ruby"),
    tag("LIMIT", "a.py", 9, kind="variable"),
    tag("__anon12", "a.py", 11),
    tag("Parse", "b.rb", 13, kind="variable", language="Ruby"),
]


def test_draw_names_by_group() -> None:
    kinds = {"a.py": "code", "b.rb": "code", "test_a.py": "test"}
    drawn = draw_names(TAGS, kinds, random.Random(1))  # type: ignore[arg-type]
    assert {group: sorted(query.text for query in found) for group, found in drawn.items()} == {
        "in code": [],  # `parse` is also a variable, in another case
        "in tests": ["check"],
        "qualified": ["Client.send", "Net::HTTP::send"],
    }


def test_format_names_shows_shares() -> None:
    asked = {"in code": 4, "in tests": 0, "qualified": 2}
    figures = [NameFigures("one", asked, {"bm25": {"in code": 4, "in tests": 0, "qualified": 1}}, ())]
    table = format_names(figures)
    assert "6 names of 1 trees" in table
    assert "| one | 100.0% |  | 50.0% | 6 |" in table
