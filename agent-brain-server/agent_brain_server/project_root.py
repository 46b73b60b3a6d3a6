"""Which directory is "the project", seen from anywhere inside it: the same answer from every path that leads there."""

import contextlib
import hashlib
import os
import subprocess
import time
from pathlib import Path

from agent_brain_server.errors import ConfigError

GIT_LIMIT_S = 5.0  # a network disk or a hook-ridden git may hang; then the markers decide
MARKERS = (".claude", "pyproject.toml")
"""Tried one after the other: the nearest ancestor that has the first goes before one that has the second."""

PROJECT_ID_DIGITS = 8

# a git hook or an alias sets these for its own repository, which need not be the one asked about
_FOREIGN_GIT_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE")

# git refuses a repository of another user (a container, a mounted disk) because its settings may run programs;
# rev-parse only prints paths
_TRUST_ANY_OWNER = ("-c", "safe.directory=*")


def resolve_project_root(start_path: Path) -> Path:
    """Return the canonical root of the project that `start_path` lies in.

    The work tree of git (for a submodule that of the outermost project, for a linked work tree that tree itself), else
    the nearest ancestor with `.claude/`, else the nearest with `pyproject.toml`, else the directory itself.

    Args:
        start_path: A directory or file; relative paths count from the current directory.

    Returns:
        An absolute path with symlinks resolved. Home and `/` are never chosen for a marker that lies in them.
    """
    start = start_path.expanduser().resolve()
    if start.is_file():
        start = start.parent
    return _find_git_root(start) or _find_marked_ancestor(start) or start


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


def _find_git_root(start: Path) -> Path | None:
    deadline = time.monotonic() + GIT_LIMIT_S
    root = _ask_git(start, "--show-toplevel", deadline)
    if root is None:
        return None
    # only in a submodule or a linked work tree is .git a file: all others are spared the second question
    while (root / ".git").is_file():
        outer = _ask_git(root, "--show-superproject-working-tree", deadline)
        if outer is None:
            break
        root = outer
    return root


def _ask_git(directory: Path, question: str, deadline: float) -> Path | None:
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN_GIT_VARIABLES}
    try:
        answer = subprocess.run(
            ["git", *_TRUST_ANY_OWNER, "-C", directory, "rev-parse", question],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=max(0.0, deadline - time.monotonic()),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # a directory's name may end in a newline too: only the one that git adds is taken off
    path = answer.stdout.removesuffix(b"\n")
    return Path(os.fsdecode(path)).resolve() if answer.returncode == 0 and path else None


def _find_marked_ancestor(start: Path) -> Path | None:
    excluded = [Path(start.anchor)]
    with contextlib.suppress(RuntimeError):  # a container's user may have no home
        excluded.append(Path.home().resolve())
    candidates = [directory for directory in (start, *start.parents) if directory not in excluded]
    for marker in MARKERS:
        for directory in candidates:
            if (directory / marker).exists():
                return directory
    return None
