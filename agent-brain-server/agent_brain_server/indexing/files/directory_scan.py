"""List the directories of a project in which a change can concern the index."""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from agent_brain_server.indexing.files.git_files import LINKED_WORKTREE
from agent_brain_server.indexing.files.ignore_rules import IgnoreRules
from agent_brain_server.indexing.files.walker import (
    CACHE_MARKERS,
    EXCLUDED_NAMES,
    IGNORE_FILE,
    enter_directory,
    enter_rules,
)
from agent_brain_server.support.git import read_git_dir

Visit = Callable[[bytes], bool]
"""Called with a directory's path relative to the root (empty for the root) before the directory is listed; returns
whether to list it."""

MAX_GIT_FILE_BYTES = 4096
"""Bytes; a `.git` file holds one path."""


def scan_directories(root: Path, starts: Iterable[bytes], is_excluded: Callable[[bytes], bool], visit: Visit) -> None:
    """Visit the directories at and below `starts` that no ignore rule leaves out, parents before children.

    A directory that vanishes or cannot be listed is passed over: its parent was visited before, so that the caller
    learns of its return. The rules are the project's own `.gitignore` files; global ones are not known here, and a
    directory that only they ignore is visited without harm.

    Args:
        root: Canonical root of the project.
        starts: Directories relative to the root, empty for the root itself.
        is_excluded: Whether a directory holds an index, and is never visited.
        visit: See `Visit`.
    """
    base = os.fsencode(root)
    for start in starts:
        rules = enter_directory(root, start)
        if rules is not None and not is_excluded(start):
            _scan(base, start, rules, is_excluded, visit)


def git_directories(repository: Path) -> list[Path]:
    """Return the directories whose `index` or `exclude` file decides what git lists in a repository.

    Args:
        repository: A directory with a `.git` in it.
    """
    git_dir = read_git_dir(repository)
    if git_dir is None:
        return []
    found = [git_dir, git_dir / "info"]
    with contextlib.suppress(OSError, ValueError):  # only a linked worktree has this file
        found.append(git_dir / (git_dir / "commondir").read_text("utf-8").strip() / "info")
    return found


def _scan(base: bytes, start: bytes, rules: IgnoreRules, is_excluded: Callable[[bytes], bool], visit: Visit) -> None:
    root = Path(os.fsdecode(base))
    pending = [(start, rules)]
    while pending:
        directory, rules = pending.pop()
        if not visit(directory):
            continue
        names, subdirectories = _list(os.path.join(base, directory) if directory else base)
        if not names.isdisjoint(CACHE_MARKERS) or _is_linked_worktree(base, directory, names):
            continue
        if directory != start and (b".git" in names or IGNORE_FILE in names):
            rules = enter_rules(root, directory, rules)
        for name in subdirectories:
            path = os.path.join(directory, name)
            if name in EXCLUDED_NAMES or is_excluded(path):
                continue
            if not rules.ignores(os.fsdecode(path), is_directory=True):
                pending.append((path, rules))


def _list(directory: bytes) -> tuple[set[bytes], list[bytes]]:
    """Return the names in a directory, and which of them are directories."""
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return set(), []
    return {name for name, _ in found}, [name for name, is_directory in found if is_directory]


def _is_linked_worktree(base: bytes, directory: bytes, names: set[bytes]) -> bool:
    """Whether a directory below the root is a linked worktree, which is a separate project."""
    if not directory or b".git" not in names:
        return False
    marker = os.path.join(base, directory, b".git")
    try:
        if os.path.isdir(marker):
            return False
        with open(marker, "rb") as file:
            return LINKED_WORKTREE.match(file.read(MAX_GIT_FILE_BYTES)) is not None
    except OSError:
        return False
