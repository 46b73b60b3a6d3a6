"""Globs compared with pathspec and git, and their CPU time."""

import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from agent_brain_server.errors import InvalidRequestError
from agent_brain_server.support.globs import GlobError, compile_glob, compile_globs, compile_lines, compile_selection

LIMIT_S = 20.0  # CPU seconds; these take some hundredths, and a backtracking matcher takes years

PARTS = st.one_of(
    st.just("**"), st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[b-z]", "\\a"]), max_size=4).map("".join)
)
GLOBS = st.builds(
    lambda start, parts, end: start + "/".join(parts) + end,
    st.sampled_from(["", "/"]),
    st.lists(PARTS.filter(lambda part: part and "***" not in part), min_size=1, max_size=4),
    st.sampled_from(["", "/"]),
).filter(lambda glob: not glob.endswith("**/"))  # pathspec and git differ on `a/**/` and `a/***`
PATHS = st.lists(st.text("abz", min_size=1, max_size=4), min_size=1, max_size=5).map("/".join)


def choose(globs, *paths):
    compiled = compile_selection(globs, "file_paths")
    return [path for path in paths if compiled.match_file(path)]


@pytest.mark.slow
@given(glob=GLOBS, path=PATHS)
@settings(max_examples=300, deadline=None)
def test_glob_matches_like_pathspec(glob, path):
    assert choose([glob], path) == ([path] if GitIgnoreSpec.from_lines([glob]).match_file(path) else [])


@given(
    unit=st.sampled_from(["*a", "*", "**/", "*/", "**/a/", "?", "*?", "[ab]*", "a*b", "*a*?"]),
    letter=st.sampled_from("ab/"),
)
@settings(max_examples=60, deadline=None)
def test_glob_matching_takes_linear_time(unit, letter):
    glob = compile_glob(unit * (497 // len(unit)) + "a*c")
    began = time.process_time()
    for path in ("a" * 4000, "ab" * 2000, "a/" * 2000 + "b", (letter + "a") * 2000):
        glob.subtree.match(path)
        glob.exact.match(path)
    assert time.process_time() - began < LIMIT_S


@pytest.mark.parametrize(
    ("globs", "chosen"),
    [
        (["*.py"], ["a.py", "src/b.py", "src/gen/c.py", "tests/d.py"]),
        (["*.py", "!tests/"], ["a.py", "src/b.py", "src/gen/c.py"]),
        (["src/**", "!src/gen/"], ["src/b.py"]),
        (["src/", "!src/gen/", "src/gen/c.py"], ["src/b.py", "src/gen/c.py"]),
        (["!tests/", "!*.md"], ["a.py", "src/b.py", "src/gen/c.py"]),
        (["*.PY"], []),
        (["{a,b}.py"], []),
        (["/*.py"], ["a.py"]),
        (["docs/**/"], []),
        (["src/**/"], ["src/gen/c.py"]),
        (["[!a].*"], ["src/b.py", "src/gen/c.py", "tests/d.py", "docs/e.md"]),
        (["[[:x]*"], []),
        (["[[:upper:]_]*"], []),
        (["/[[:lower:]-].py"], ["a.py"]),
    ],
)
def test_match_file_last_match_decides(globs, chosen):
    assert choose(globs, "a.py", "src/b.py", "src/gen/c.py", "tests/d.py", "docs/e.md") == chosen


@pytest.mark.parametrize(
    ("glob", "name"),
    [
        ("\\#a", "#a"),
        ("\\!a", "!a"),
        ("a\\*", "a*"),
        ("a\\ ", "a "),
        ("a ", "a"),
        ("[]]", "]"),
        ("[a-]", "-"),
        ("[\\]]", "]"),
    ],
)
def test_glob_escaped_characters(glob, name):
    assert choose([glob], name, "other") == [name]


@pytest.mark.parametrize(
    "glob",
    ["[", "a[b", "[a/b]", "a\\", "#x", "/", "!", "!/", "", " ", "a\0b", "a\nb", "[z-a]", "[[:no:]]", "a//b", "//a"],
)
def test_compile_globs_invalid_glob_names_field(glob):
    with pytest.raises(GlobError):
        compile_glob(glob)
    with pytest.raises(InvalidRequestError, match="exclude_patterns") as caught:
        compile_globs(["*.py", glob], "exclude_patterns")
    assert repr(glob) in caught.value.message
    assert caught.value.code == "invalid_glob"


def test_compile_globs_empty_returns_none():
    assert compile_globs([], "file_paths") is compile_selection((), "file_paths") is None


IGNORE_FILES = [
    ["a/**", "!a/b/"],
    ["a/**/", "!b"],
    ["*", "!*/", "!*.py"],
    ["/a", "b/", "!c"],
    ["**/b/***/d", "a/*/c", "****/e"],
    ["a/b", "!a/", "[!a]"],
    ["a?", "?", "# a", "", "[z-a]", "a\\", "[az-b]/", "//b"],
    ["*.py", "!/a/", "**/"],
    ["[[:lower:]]", "!b", "[^[:alpha:]]*", "[[:nope:]]*"],
]


@pytest.mark.parametrize("lines", IGNORE_FILES, ids=" ".join)
def test_compile_lines_matches_git(tmp_path: Path, lines: list[str]) -> None:
    names = ["d", "a.py", "a/c", "a/b.py", "a/b/c", "a/b/e/d", "b/d", "b/c/d.py", "c/a/b", "x/a", "x/b", "x/c"]
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".gitignore").write_text("\n".join(lines) + "\n")
    command = ["git", "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    globs = compile_lines(lines)
    kept = []
    for name in [*names, ".gitignore"]:
        above = [f"{parent}/" for parent in reversed(list(map(str, Path(name).parents))[:-1])]
        if not any(globs.match_path(path) for path in [*above, name]):
            kept.append(name)
    assert sorted(kept) == sorted(filter(None, listed.split("\0")))
