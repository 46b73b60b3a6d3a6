"""Find the project that a path belongs to. Every path inside a project leads to the same root."""

import hashlib
import os
import pwd
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.errors import ConfigError
from agent_brain_server.storage_paths import resolve_state_dir
from agent_brain_server.support import git
from agent_brain_server.support.state_files import is_own_path
from agent_brain_server.support.text import pluralize

GIT_LIMIT_S = 5.0  # git may hang on a network disk or a hostile repository; then the markers decide
MARKERS = (".claude", "pyproject.toml")
"""Tried in this order: the nearest ancestor with the first wins over a nearer one with the second."""

PROJECT_ID_DIGITS = 8

LARGE_PROJECT_FILES = 100_000
"""The Linux kernel has 80,000; a directory with more files to index is probably not one project."""


@dataclass(frozen=True, slots=True)
class Project:
    """A project and its state directory.

    Attributes:
        root: Canonical.
        state_dir: Absolute; need not exist.
        is_too_wide: The root is `/`, the home directory or one above it, and the user did not name it.
    """

    root: Path
    state_dir: Path
    is_too_wide: bool = False


def locate_project(path: Path, state_dir: Path | None = None, *, exact: bool = False) -> Project:
    """Return the project that contains a path; nothing is created.

    Args:
        path: Any path in the project; relative paths start at the current directory.
        state_dir: The state directory, if the user names one.
        exact: `path` is the root itself. No other root is searched for, and the home directory is allowed.

    Raises:
        StateDirError: The default state directory is a link that leads out of the project.
    """
    root = path.expanduser().resolve() if exact else resolve_project_root(path)
    return Project(root, resolve_state_dir(root, state_dir), is_too_wide=not exact and is_too_wide(root))


def resolve_project_root(start_path: Path) -> Path:
    """Return the canonical root of the project that contains `start_path`.

    The root is the git work tree (for a submodule that of the outermost project, for a linked work tree that tree
    itself), else the nearest ancestor with `.claude/`, else the nearest with `pyproject.toml`, else the directory
    itself. Files of another user are ignored, and so is everything in `/`, in the home directory and above it.

    Args:
        start_path: A directory or file; relative paths start at the current directory.

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
    """Return whether a directory is `/`, the user's home or one above it, which is a project only if the user says so.

    Args:
        directory: Canonical.
    """
    return directory in _list_too_wide(directory)


def require_project(project_root: Path) -> None:
    """Refuse `/`, the home directory and the directories above it.

    Args:
        project_root: Result of `resolve_project_root`.

    Raises:
        ConfigError: It is one of them.
    """
    if is_too_wide(project_root):
        raise make_too_wide_error(project_root)


def make_too_wide_error(directory: Path) -> ConfigError:
    """Return the error for a root that the user must name explicitly."""
    return ConfigError(
        f"{directory} is not a project: it contains the home directory and all private files in it.",
        hint=f"Change to the directory of a project, or name this one: --project-root {shlex.quote(str(directory))}",
        code="not_a_project",
    )


def describe_large_project(files: int) -> str | None:
    """Return a sentence about an unusually large project and what to do, or `None` for other projects.

    Args:
        files: Number of files to index.
    """
    if files <= LARGE_PROJECT_FILES:
        return None
    return (
        f"There are {pluralize(files, 'file')} to index, which takes a while. Exclude files with: "
        "agent-brain index --exclude 'GLOB'"
    )


def generate_project_id(project_root: Path) -> str:
    """Return the id of a project: `p_` and the first 8 hex digits of SHA-256 of its canonical path."""
    # unlike Path.resolve, realpath accepts a root that has become a loop of links, which old registrations may contain
    digest = hashlib.sha256(os.fsencode(os.path.realpath(project_root))).hexdigest()
    return f"p_{digest[:PROJECT_ID_DIGITS]}"


def require_text(path: Path) -> None:
    """Refuse a path with bytes that are not UTF-8: JSON cannot contain it, and the engines cannot open files below it.

    Args:
        path: A project's root or its state directory.

    Raises:
        ConfigError: The path is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as exc:
        raise ConfigError(
            f"The path {ascii(str(path))} contains bytes that are not UTF-8 and cannot be indexed.",
            hint="Rename that directory.",
            code="path_not_text",
        ) from exc


def _list_too_wide(directory: Path) -> Iterator[Path]:
    yield Path(directory.anchor)
    for home in _list_homes():
        yield home
        yield from home.parents


def _list_homes() -> Iterator[Path]:
    """Yield the home directories that `HOME` and the user database name."""
    named = os.environ.get("HOME")
    if named and os.path.isabs(named):
        yield Path(os.path.realpath(named))
    try:
        yield Path(os.path.realpath(pwd.getpwuid(os.geteuid()).pw_dir))
    except KeyError:  # the user of a container may have no entry
        return


def _find_git_root(candidates: Sequence[Path]) -> Path | None:
    """Return the nearest work tree of the user, or the outermost project that it is a submodule of."""
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
