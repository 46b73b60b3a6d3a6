"""Tasks of a coding agent, and the lines of pinned sources that each answer must show.

A file of `tasks/` or `unseen/` holds the tasks of one package. `need` lists the lines that solve a task, each as
`[path, pattern, option, ...]`: a path, a regular expression for one line, and options: a number (so many lines match;
0 for any number; default 1), "any" (one of them is enough), or another word (the line counts only if this word is shown
in the same block, such as the function around a call or the version above a changelog entry).
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CATEGORIES = (
    "definition",
    "callers",
    "implementers",
    "tests",
    "configuration",
    "error text",
    "where to add",
    "data flow",
    "documentation",
    "changelog",
)


class LabelError(ValueError):
    """A task names lines that its package does not have."""


@dataclass(frozen=True, slots=True)
class Need:
    """Lines that must be shown.

    Attributes:
        path: File, relative to the package.
        pattern: Regular expression that the lines match.
        count: Number of matching lines; 0 if it does not matter.
        is_any: Whether one of them is enough.
        within: A word that must be shown near the line.
    """

    path: str
    pattern: str
    count: int = 1
    is_any: bool = False
    within: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A question about a package, with the lines that answer it."""

    name: str
    package: str
    category: str
    question: str
    needs: tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of a source file."""

    path: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Goal:
    """The lines that a need stands for.

    Attributes:
        lines: Lines that match the pattern.
        is_any: Whether one of them is enough.
        within: A word that must be shown near the line.
    """

    lines: tuple[SourceLine, ...]
    is_any: bool
    within: str


def load_tasks(directory: Path) -> list[Task]:
    """Read every task of a set.

    Raises:
        LabelError: A category does not exist.
    """
    tasks: list[Task] = []
    for path in sorted(directory.glob("*.toml")):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        tasks += [
            _read_task(f"{path.stem}-{number}", content["package"], entry)
            for number, entry in enumerate(content["task"], start=1)
        ]
    return tasks


def _read_task(name: str, package: str, entry: Mapping[str, Any]) -> Task:
    if entry["category"] not in CATEGORIES:
        raise LabelError(f"{name}: {entry['category']!r} is not a category")
    return Task(name, package, entry["category"], entry["question"], tuple(map(read_need, entry["need"])))


def read_need(entry: Sequence[Any]) -> Need:
    """Return the need that a label stands for."""
    path, pattern, *options = entry
    counts = [option for option in options if isinstance(option, int)]
    words = [option for option in options if isinstance(option, str) and option != "any"]
    return Need(path, pattern, counts[0] if counts else 1, "any" in options, words[0] if words else "")


def locate(task: Task, root: Path) -> list[Goal]:
    """Return the lines that a task needs.

    Raises:
        LabelError: A file does not exist, or its lines do not match as often as the label says.
    """
    return [_locate_need(task, need, root) for need in task.needs]


def _locate_need(task: Task, need: Need, root: Path) -> Goal:
    path = root / need.path
    if not path.is_file():
        raise LabelError(f"{task.name}: {need.path} does not exist")
    texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = tuple(find_lines(need, texts))
    if not lines or (need.count and len(lines) != need.count):
        raise LabelError(f"{task.name}: {need.pattern!r} matches {len(lines)} lines of {need.path}, not {need.count}")
    if need.within and not any(need.within in text for text in texts[: lines[0].number]):
        raise LabelError(f"{task.name}: {need.within!r} is not above {need.path}:{lines[0].number}")
    return Goal(lines, need.is_any, need.within)


def find_lines(need: Need, texts: Iterable[str]) -> Iterable[SourceLine]:
    """Yield the lines of a file that match."""
    pattern = re.compile(need.pattern)
    for number, text in enumerate(texts, start=1):
        if pattern.search(text):
            yield SourceLine(need.path, number, text)
