"""Find the root of the project that a path belongs to: the same answer from every path that leads there."""

import hashlib
import os
import pwd
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent_brain_server.errors import ConfigError
from agent_brain_server.support import git
from agent_brain_server.support.state_files import is_own_path
from agent_brain_server.support.text import pluralize

GIT_LIMIT_S = 5.0  # a network disk or a hostile repository may hang git; then the markers decide
MARKERS = (".claude", "pyproject.toml")
"""Tried in this order: the nearest ancestor with the first goes before a nearer one with the second."""

PROJECT_ID_DIGITS = 8

LARGE_PROJECT_FILES = 100_000
"""The Linux kernel has 80,000; a directory with more files to index is probably not one project."""


def resolve_project_root(start_path: Path) -> Path:
    """Return the canonical root of the project that contains `start_path`.

    The root is the work tree of git (for a submodule that of the outermost project, for a linked work tree that tree
    itself), else the nearest ancestor with `.claude/`, else the nearest with `pyproject.toml`, else the directory
    itself. What belongs to another user chooses nothing, and neither does anything in `/`, in the home directory or
    above it.

    Args:
        start_path: A directory or file; relative paths count from the current directory.

    Returns:
        An absolute path with symlinks resolved.
    """
    start = start_path.expanduser().resolve()
    if start.is_file():
        start = start.parent
    too_wide = set(_list_too_wide(start))
    candidates = [directory for directory in (start, *start.parents) if directory not in too_wide]
    return _find_git_root(candidates) or _find_marked_ancestor(candidates) or start


def is_too_wide(directory: Path) -> bool:
    """Return whether a directory is `/`, the user's home or one above it: never a project unless named as one.

    Args:
        directory: Canonical.
    """
    return directory in _list_too_wide(directory)


def require_project(project_root: Path) -> None:
    """Refuse `/`, the home directory and those above it, where they were found rather than named.

    Args:
        project_root: What `resolve_project_root` returned.

    Raises:
        ConfigError: It is one of them.
    """
    if is_too_wide(project_root):
        raise ConfigError(
            f"{project_root} is no project: it contains the home directory, with everything that is private in it.",
            hint="Change to the directory of a project, or name this one: "
            f"--project-root {shlex.quote(str(project_root))}",
            code="not_a_project",
        )


def describe_large_project(files: int) -> str | None:
    """Return a sentence about a project with more files than any usual one, and what to do; `None` for others.

    Args:
        files: Number of files to index.
    """
    if files <= LARGE_PROJECT_FILES:
        return None
    return (
        f"There are {pluralize(files, 'file')} to index, which takes a while; leave out what is not searched with: "
        "agent-brain index --exclude 'GLOB'"
    )


def generate_project_id(project_root: Path) -> str:
    """Return the id of a project: `p_` and the first 8 hex digits of SHA-256 of its canonical path."""
    # unlike Path.resolve it takes a root that has become a loop of links: whoever reads old names meets those too
    digest = hashlib.sha256(os.fsencode(os.path.realpath(project_root))).hexdigest()
    return f"p_{digest[:PROJECT_ID_DIGITS]}"


def require_text(path: Path) -> None:
    """Refuse a path with bytes that are not UTF-8: no JSON can name it, and the engines cannot open files below it.

    Args:
        path: A project's root or its state directory.

    Raises:
        ConfigError: It is such a path.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as exc:
        raise ConfigError(
            f"The path {ascii(str(path))} has bytes that are not UTF-8, and no index can be kept for it.",
            hint="Rename that directory.",
            code="path_not_text",
        ) from exc


def _list_too_wide(directory: Path) -> Iterator[Path]:
    yield Path(directory.anchor)
    for home in _list_homes():
        yield home
        yield from home.parents


def _list_homes() -> Iterator[Path]:
    """Yield the home directory that `HOME` names and the one in the list of users, as far as there are any."""
    named = os.environ.get("HOME")
    if named and os.path.isabs(named):
        yield Path(os.path.realpath(named))
    try:
        yield Path(os.path.realpath(pwd.getpwuid(os.geteuid()).pw_dir))
    except KeyError:  # a container's user need not be in the list
        return


def _find_git_root(candidates: Sequence[Path]) -> Path | None:
    """Return the nearest work tree that belongs to the user, or the outermost one of which that is a submodule."""
    work_trees = [directory for directory in candidates if git.is_own_repository(directory)]
    deadline = time.monotonic() + GIT_LIMIT_S
    for position, directory in enumerate(work_trees):
        try:
            is_top = git.is_work_tree_top(directory, timeout_s=deadline - time.monotonic())
        except git.GitMissingError:
            is_top = True
        if is_top is None:
            return None
        if is_top:
            return _find_outermost(directory, work_trees[position + 1 :])
    return None


def _find_outermost(root: Path, outer_trees: Sequence[Path]) -> Path:
    for outer in outer_trees:
        if git.is_submodule(root, outer):
            root = outer
    return root


def _find_marked_ancestor(candidates: Sequence[Path]) -> Path | None:
    for marker in MARKERS:
        for directory in candidates:
            if is_own_path(directory) and is_own_path(directory / marker):
                return directory
    return None
