"""Queries made from commits, docstrings, titles and sentences."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.retrieval.commits import is_code, is_description, make_commit_sets, read_message
from benchmarks.retrieval.docstrings import Documented, find_documented, make_docstring_sets, make_query
from benchmarks.retrieval.sentences import draw_sentences, make_sentence_sets
from benchmarks.retrieval.titles import make_title_sets, withhold_titles

MODULE = '''
class Reader:
    @cached
    def read_header(self):
        """Return the first line of the stream without its end.

        More text.
        """
        line = self.stream.readline()
        if not line:
            raise EOFError
        return line.rstrip()

    def short(self):
        """Return no value that a caller could use."""
        return None
'''

HEADER_SOURCE = """@cached
def read_header(self):
    line = self.stream.readline()
    if not line:
        raise EOFError
    return line.rstrip()"""

DOCUMENT = """# Client

Text.

## Retry failed requests

Failed requests are sent again after a delay,
which doubles with each attempt.
The limit is five attempts.

It can be changed.

## Index

Short.
"""

PARAGRAPH = """The parser first removes indentation from every nested block before directives
are interpreted, because option lists
inherit margins. Short one.

- An item of a list is no prose although it contains many words
  about different subjects and several
  lines of text in this document.
"""


def test_find_documented_removes_docstring() -> None:
    sentence = "Return the first line of the stream without its end."
    assert list(find_documented(MODULE)) == [Documented("read_header", sentence, HEADER_SOURCE)]
    assert list(find_documented("def broken(:")) == []


def test_docstring_query_leaves_out_name() -> None:
    function = Documented("read_header", "Read the header of a large stream quickly.", "")
    assert make_query(function, without_name=False) == "read the header of a large stream quickly"
    assert make_query(function, without_name=True) == "the of a large stream quickly"
    few = Documented("read_header", "Read the header of it all.", "")
    assert make_query(few, without_name=True) == "read the header of it all"


def test_docstring_sets_label_functions(tmp_path: Path) -> None:
    sources = tmp_path / "package"
    sources.mkdir()
    (sources / "one.py").write_text(MODULE)
    (sources / "two.py").write_text(MODULE.replace("read_header", "read_line").replace("first", "second"))
    (sources / "test_one.py").write_text(MODULE.replace("first", "third"))
    alone, shared = make_docstring_sets([sources], tmp_path / "trees")
    assert len(alone.queries) == len(shared.queries) == 2
    for query in shared.queries:
        [target] = query.targets
        assert target.start_line
        lines = (shared.tree / target.path).read_text().splitlines()[target.start_line - 1 : target.end_line]
        assert (lines[0], lines[-1]) == ("@cached", "    return line.rstrip()")
    assert sorted(query.targets[0].path for query in alone.queries) == sorted(p.name for p in alone.tree.iterdir())
    (sources / "two.py").unlink()
    again, _ = make_docstring_sets([sources], tmp_path / "trees")
    assert len(list(again.tree.iterdir())) == 1


def test_withhold_titles_empties_title() -> None:
    found = [withhold_titles(DOCUMENT, f"{number}.md") for number in range(20)]
    withheld = [(text, queries) for text, queries in found if queries]
    assert 0 < len(withheld) < len(found)  # some titles are kept
    for text, [query] in withheld:
        assert query.text == "Retry failed requests"
        assert (query.targets[0].start_line, query.targets[0].end_line) == (5, 12)
        assert text == DOCUMENT.replace("## Retry failed requests", "")


def test_title_sets_leave_package_unchanged(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "tests").mkdir(parents=True)
    for number in range(20):
        (package / f"{number}.md").write_text(DOCUMENT)
    (package / "CHANGES.md").write_text(DOCUMENT)
    [found] = make_title_sets([package], tmp_path / "trees")
    assert {target.path for query in found.queries for target in query.targets} <= {f"{n}.md" for n in range(20)}
    assert not (found.tree / "tests").exists()
    assert (found.tree / "CHANGES.md").read_text() == (package / "0.md").read_text() == DOCUMENT


def test_draw_sentences_uses_prose_alone(tmp_path: Path) -> None:
    [query] = draw_sentences(PARAGRAPH, "a.txt")
    [target] = query.targets
    assert (target.path, target.start_line, target.end_line) == ("a.txt", 1, 3)
    assert set(query.text.split()) <= {"what", "how", "when", *re.findall(r"\w+", PARAGRAPH.lower())}
    (tmp_path / "a.rst").write_text(PARAGRAPH)
    [found] = make_sentence_sets([tmp_path / "a.rst"], tmp_path / "trees")
    assert (found.queries, (found.tree / "a.txt").read_text()) == ((query,), PARAGRAPH)


def test_read_message_drops_trailers_and_links() -> None:
    message = "Fix the parser (#12)\n\nIt failed, see https://a.b/c.\n\nSigned-off-by: a\nFixes: #3\n"
    assert read_message(message) == ("Fix the parser", "It failed, see")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Keep the body of redirected requests", True),
        ("Fix typo in parser of headers", False),
        ("Typo in parser of headers", False),
        ("build(deps): raise lower bounds everywhere", False),
        ("Handle it", False),
        ("Formatter keeps trailing commas", True),
    ],
)
def test_is_description_by_title(title: str, expected: bool) -> None:
    assert is_description(title) is expected


def test_is_code_by_path() -> None:
    paths = ["src/a.py", "tests/test_a.py", "docs/conf.py", "a.json", "README.md", ""]
    assert [path for path in paths if is_code(path)] == ["src/a.py"]


def test_commit_sets_label_surviving_lines(tmp_path: Path) -> None:
    repository = tmp_path / "demo"
    repository.mkdir()
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=repository, env=environment, check=True, capture_output=True)

    git("init", "-q")
    (repository / "a.py").write_text("first = 1\nsecond = 2\nthird = 3\n")
    git("add", ".")
    git("commit", "-qm", "Start the project with constants")
    (repository / "a.py").write_text("first = 1\nsecond = compute()\nfourth = 4\nthird = 3\n")
    git("commit", "-qam", "Compute the second number\n\nA fixed number was wrong.")
    [reports, titles] = make_commit_sets([repository], tmp_path / "trees")
    [title] = titles.queries
    assert title.text == "Compute the second number"
    assert [(each.path, each.start_line, each.end_line) for each in title.targets] == [("a.py", 2, 3)]
    assert title.files == ("a.py",)
    [report] = reports.queries
    assert report.text.startswith("Compute the second number\n\n")
    assert "A fixed number was wrong." in report.text
    assert (titles.tree / "a.py").is_file()
