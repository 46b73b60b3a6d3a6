"""Convert the paths that users type, with line numbers, to paths relative to the project root."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import click

LINES = re.compile(r"^(?P<path>.+?):(?P<first>\d+)?(?P<dash>-)?(?P<last>\d+)?(?::\d+)?:?$", re.DOTALL)
"""A path with lines: `a.py:10`, `a.py:10-20`, `a.py:10-`, `a.py:-20`, and `a.py:10:5` with a column."""

MAX_DIGITS = 7  # more lines than any indexed file has


@dataclass(frozen=True, slots=True)
class Location:
    """A file or directory of the project, and lines of it.

    Attributes:
        path: Relative to the project root; "" for the root.
        first: First line, 1-based; `None` if not given.
        last: Last line; `None` if not given.
        is_range: Whether a range was given, such as `10-` or `10-20`, and not a single line.
    """

    path: str
    first: int | None = None
    last: int | None = None
    is_range: bool = False


def parse_location(text: str, root: Path, current: Path) -> Location:
    """Return the location for `PATH`, `PATH:LINE` or `PATH:FROM-TO`; a file with the whole text as its name wins.

    Args:
        text: As typed, or as results show it.
        root: The project root, canonical.
        current: The current directory, canonical.

    Raises:
        click.UsageError: The path is outside the project or not text, or the range is reversed.
    """
    found = LINES.match(text)
    if found is None or not (found["first"] or found["last"]) or _find(text, root, current) is not None:
        return Location(locate_path(text, root, current))
    first, last = (_parse_line(found[name]) for name in ("first", "last"))
    if first is not None and last is not None and last < first:
        raise click.UsageError(f"The range {first}-{last} is reversed; did you mean {last}-{first}?")
    return Location(locate_path(found["path"], root, current), first, last, is_range=bool(found["dash"]))


def locate_path(text: str, root: Path, current: Path) -> str:
    """Return a path relative to the project root, with links resolved; "" for the root.

    Args:
        text: Absolute, relative to the current directory, or relative to the project root.
        root: The project root, canonical.
        current: The current directory, canonical.

    Raises:
        click.UsageError: The path is outside the project or not text.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise click.UsageError(f"The path {ascii(text)} is not UTF-8.") from error
    base = current if current.is_relative_to(root) else root
    resolved = os.path.realpath(_find(text, root, current) or base / text)
    if resolved == str(root):
        return ""
    if not resolved.startswith(f"{root}/"):
        raise click.UsageError(f"{text} is outside the project {root}.")
    return resolved[len(str(root)) + 1 :]


def _find(text: str, root: Path, current: Path) -> Path | None:
    """Return the file or directory that exists, in the current directory or else in the project root."""
    return next((base / text for base in (current, root) if os.path.lexists(base / text)), None)


def _parse_line(digits: str | None) -> int | None:
    return None if not digits else int(digits[-MAX_DIGITS:]) if len(digits) <= MAX_DIGITS else 10**MAX_DIGITS
