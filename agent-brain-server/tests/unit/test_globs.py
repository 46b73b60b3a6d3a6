"""Globs match what pathspec says that git matches, and no glob takes long."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from agent_brain_server.globs import compile_lines

PIECES = st.sampled_from(
    ["a", "b", "*", "**", "?", "/", "/**/", "**/", ".", "\\*", "[ab]", "[!a]", "[]a]", "[a-]", "[^b]*", "-", " ", "+"]
)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", ".", "*", "/", "]", "-", "+", " "]), max_size=12).map("".join)


@settings(max_examples=150, deadline=None)
@given(
    globs=st.lists(st.lists(PIECES, min_size=1, max_size=8).map("".join), max_size=3),
    paths=st.lists(PATHS, max_size=10),
)
def test_they_match_what_git_matches(globs: list[str], paths: list[str]) -> None:
    try:
        ours = compile_lines(globs)
    except ValueError:
        return
    git = GitIgnoreSpec.from_lines(globs)
    for path in paths:
        assert ours.check_file(path).include == git.check_file(path).include, (globs, path)
        assert ours.check_file(path).index == git.check_file(path).index


@pytest.mark.parametrize(
    "glob", ["*a" * 100, "*?" * 100, "*[a-z]" * 60, "a*" * 100 + "!", "**/*a*a*a*a/**/*a*a*a*a!", "*" * 500]
)
@pytest.mark.parametrize("path", ["a" * 250, "a/" * 100 + "a", ("a" * 200 + "/") * 15 + "b"])
def test_no_glob_takes_long(glob: str, path: str) -> None:
    spec = compile_lines([glob])
    began = time.process_time()
    for _ in range(10):
        spec.match_file(path)
    assert time.process_time() - began < 2


def test_too_many_tree_stars_are_refused() -> None:
    compile_lines(["**/a/**/b/**/c", "a/**/b/**/c/**/d"])
    with pytest.raises(ValueError, match="more than 3"):
        compile_lines(["a/**/b/**/c/**/d/**/e"])
