"""Ignore rules applied without git: `.gitignore` files and names of tool output; and the directories that remain."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from agent_brain_server.support.globs import GlobList, compile_lines

UNTRACKED_EXCLUDES: dict[str, str] = {
    "node_modules": "packages installed by npm",
    "bower_components": "packages installed by bower",
    ".venv": "a Python environment",
    "venv": "a Python environment",
    "site-packages": "packages installed by pip",
    "__pycache__": "compiled Python",
    ".tox": "environments of tox",
    ".nox": "environments of nox",
    ".eggs": "packages fetched by setuptools",
    ".mypy_cache": "cache of mypy",
    ".pytest_cache": "cache of pytest",
    ".ruff_cache": "cache of ruff",
    ".hypothesis": "cache of hypothesis",
    ".gradle": "cache of Gradle",
    ".terraform": "providers fetched by Terraform",
    ".next": "output of Next.js",
    ".nuxt": "output of Nuxt",
    ".svn": "repository of Subversion",
    ".hg": "repository of Mercurial",
    ".idea": "state of an IDE",
    ".DS_Store": "state of a file manager",
}
"""Names that are excluded unless git tracks them, with a description.

The table has no names that projects use for their own sources, such as `build`, `dist` and `target`.
"""

IGNORE_FILE = b".gitignore"
EXCLUDED_NAMES = frozenset(map(os.fsencode, (".git", *UNTRACKED_EXCLUDES)))
CACHE_MARKERS = frozenset({b"CACHEDIR.TAG", b"pyvenv.cfg"})
"""Files that mark their directory as a cache or a Python environment, whatever its name."""

LINKED_WORKTREE = re.compile(rb"gitdir: .*/worktrees/[^/]+\s*$")
"""Content of the `.git` file of a linked worktree; that of a submodule points to `modules/`."""

MAX_IGNORE_FILE_BYTES = 1_000_000  # longer than any hand-written file, short enough to read during each walk
MAX_GIT_FILE_BYTES = 4096  # a `.git` file contains one path

Visit = Callable[[bytes], bool]
"""Called with a directory's path relative to the root (empty for the root) before the directory is listed; returns
whether to list it."""


class IgnoreRules:
    """The ignore files that apply in one directory: its own and those of its parents. Immutable.

    As in git, deeper files take precedence, and within a file the last matching line.
    """

    __slots__ = ("_levels",)

    def __init__(self, levels: tuple[tuple[str, GlobList], ...] = ()) -> None:
        self._levels = levels

    @classmethod
    def of_root(cls, root: Path) -> "IgnoreRules":
        """Read `.git/info/exclude` and the ignore file of the project root."""
        return cls.of_repository(root, "")

    @classmethod
    def of_repository(cls, repository: Path, prefix: str) -> "IgnoreRules":
        """Read `.git/info/exclude` and the ignore file of a repository; rules of parent directories do not apply in it.

        Args:
            repository: The root of its work tree.
            prefix: Its path relative to the project root with a trailing `/`; empty for the root.
        """
        lines = _read_lines(repository / ".git" / "info" / "exclude")
        return cls().add(prefix, lines).enter(repository, prefix)

    def enter(self, directory: Path, prefix: str) -> "IgnoreRules":
        """Return the rules that apply inside a directory.

        Args:
            directory: May contain an ignore file.
            prefix: Its path relative to the project root with a trailing `/`; empty for the root.
        """
        return self.add(prefix, _read_lines(directory / os.fsdecode(IGNORE_FILE)))

    def add(self, prefix: str, lines: Sequence[str]) -> "IgnoreRules":
        """Return these rules with the lines of an ignore file in `prefix`, which take precedence."""
        return IgnoreRules(((prefix, compile_lines(lines)), *self._levels)) if lines else self

    def ignores(self, path: str, *, is_directory: bool) -> bool:
        """Return whether a path is ignored, given that its directory is not.

        Args:
            path: Relative to the project root, inside the directory of these rules.
            is_directory: Whether it is a directory; a link to a directory is not.
        """
        for prefix, globs in self._levels:
            verdict = globs.match_path(path[len(prefix) :] + ("/" if is_directory else ""))
            if verdict is not None:
                return verdict
        return False


def _read_lines(path: Path) -> list[str]:
    """Return the lines of an ignore file; none if it is missing, unreadable, too long or not a file."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_IGNORE_FILE_BYTES:
            return []
        return path.read_text("utf-8", "replace").removeprefix("\ufeff").splitlines()
    except OSError:
        return []


def enter_directory(root: Path, directory: bytes) -> IgnoreRules | None:
    """Return the ignore rules that apply inside a directory, or `None` if it is excluded.

    Args:
        root: The project root.
        directory: Relative to it; empty for the root itself.
    """
    rules = IgnoreRules.of_root(root)
    inner = b""
    for part in directory.split(b"/") if directory else ():
        inner = os.path.join(inner, part)
        if part in EXCLUDED_NAMES or rules.ignores(os.fsdecode(inner), is_directory=True):
            return None
        here = root / os.fsdecode(inner)
        if any((here / os.fsdecode(marker)).exists() for marker in CACHE_MARKERS):
            return None
        rules = enter_rules(root, inner, rules)
    return rules


def enter_rules(root: Path, directory: bytes, rules: IgnoreRules) -> IgnoreRules:
    """Return the rules inside a directory, given those of its parent; a repository has only its own."""
    here, prefix = root / os.fsdecode(directory), os.fsdecode(directory) + "/"
    return IgnoreRules.of_repository(here, prefix) if (here / ".git").exists() else rules.enter(here, prefix)


def scan_directories(root: Path, starts: Iterable[bytes], is_excluded: Callable[[bytes], bool], visit: Visit) -> None:
    """Visit the directories at and below `starts` that no ignore rule excludes, parents before children.

    Directories that vanish or cannot be listed are skipped: their parent was visited before, so that the caller is
    notified if they return. Only the project's `.gitignore` files apply. Directories that git's global ignore file
    excludes are visited, which is harmless.

    Args:
        root: Canonical root of the project.
        starts: Directories relative to the root, empty for the root itself.
        is_excluded: Returns whether a directory is Agent Brain's own, and is never visited.
        visit: See `Visit`.
    """
    base = os.fsencode(root)
    for start in starts:
        rules = enter_directory(root, start)
        if rules is not None and not is_excluded(start):
            _scan(base, start, rules, is_excluded, visit)


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
    """Return the names in a directory, and those that are directories."""
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return set(), []
    return {name for name, _ in found}, [name for name, is_directory in found if is_directory]


def _is_linked_worktree(base: bytes, directory: bytes, names: set[bytes]) -> bool:
    """Return whether a directory below the root is a linked worktree, which is a separate project."""
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
