"""Globs in git's notation, compiled so that no path takes long to match.

pathspec writes each `*` as a part of a regular expression that tries every length. A glob such as `*a*a*a*a*a*b` then
takes minutes for one path, and globs come from requests and from the ignore files of strangers' repositories.
"""

import re
from collections.abc import Iterable

from pathspec import GitIgnoreSpec

MAX_TREE_STARS = 3
"""`**` in one glob, with the one that pathspec puts before a glob without a slash: each tries every depth of a path."""

_STAR = r"\[\^/\]\*"
_ATOM = r"(?:\\.|\[\^?\]?(?:\\.|[^\]\\])*\](?!\*)|[^\\\[\]()/|^$*+?{}])"
_STAR_BEFORE_STAR = re.compile(rf"{_STAR}((?:{_ATOM})*)(?={_STAR})", re.DOTALL)
"""A star of pathspec's, and what follows it up to the next star of the same part of the path."""

_TREE_STAR = re.compile(r"\(\?:/\.\+\)\?|\(\?:\.\+/\)\?")


def compile_lines(lines: Iterable[str]) -> GitIgnoreSpec:
    """Compile lines of an ignore file, or globs, in the order in which the later ones decide.

    The earliest place where the text between two stars fits is as good as any later one: the second star takes up the
    difference. So what an earlier star has matched need never be tried again, which an atomic group says.

    Raises:
        ValueError: A line is no pattern, or has too many `**`.
    """
    spec = GitIgnoreSpec.from_lines(lines, backend="simple")
    for pattern in spec.patterns:
        if pattern.regex is None:
            continue
        written = pattern.regex.pattern
        if len(_TREE_STAR.findall(written)) > MAX_TREE_STARS:
            raise ValueError(f"it holds more than {MAX_TREE_STARS} **")
        pattern.regex = re.compile(_STAR_BEFORE_STAR.sub(r"(?>[^/]*?\1)", written))
    return GitIgnoreSpec(spec.patterns, backend="simple")
