"""What a walk leaves out by name: `.gitignore` files, and folders that tools fill."""

from collections.abc import Sequence
from pathlib import Path

from agent_brain_server.support.globs import GlobList, compile_lines

UNTRACKED_EXCLUDES: dict[str, str] = {
    "node_modules": "packages that npm installed",
    "bower_components": "packages that bower installed",
    ".venv": "a Python environment",
    "venv": "a Python environment",
    "site-packages": "packages that pip installed",
    "__pycache__": "compiled Python",
    ".tox": "environments of tox",
    ".nox": "environments of nox",
    ".eggs": "packages that setuptools fetched",
    ".mypy_cache": "cache of mypy",
    ".pytest_cache": "cache of pytest",
    ".ruff_cache": "cache of ruff",
    ".hypothesis": "cache of hypothesis",
    ".gradle": "cache of Gradle",
    ".terraform": "providers that Terraform fetched",
    ".next": "output of Next.js",
    ".nuxt": "output of Nuxt",
    ".svn": "another version control's store",
    ".hg": "another version control's store",
    ".idea": "state of an editor",
    ".DS_Store": "state of a file manager",
}
"""Names that are left out unless git tracks them, with what they are.

Only names that no project gives to sources of its own: `build`, `dist` and `target` are also names of packages.
"""

CACHE_MARKERS = ("CACHEDIR.TAG", "pyvenv.cfg")
"""A directory that holds one of these says of itself that it is a cache or a Python environment, whatever its name."""

IGNORE_FILE = ".gitignore"
MAX_IGNORE_FILE_BYTES = 1_000_000
"""Bytes; longer than any written ignore file, short enough to be read on every walk."""


class IgnoreRules:
    """The ignore files that hold in one directory: its own and those above it; immutable.

    Deeper files are asked first, and in one file the last matching line decides, as in git.
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
        """Read `.git/info/exclude` and the ignore file of a repository; rules from above it do not apply in it.

        Args:
            repository: The root of its work tree.
            prefix: Its path relative to the project root with a `/` at the end; empty for the root.
        """
        lines = _read_lines(repository / ".git" / "info" / "exclude")
        return cls().add(prefix, lines).enter(repository, prefix)

    def enter(self, directory: Path, prefix: str) -> "IgnoreRules":
        """Return the rules that hold inside `directory`.

        Args:
            directory: Where its ignore file would lie.
            prefix: Its path relative to the root with a `/` at the end; empty for the root.
        """
        return self.add(prefix, _read_lines(directory / IGNORE_FILE))

    def add(self, prefix: str, lines: Sequence[str]) -> "IgnoreRules":
        """Return these rules and, before them, the lines of an ignore file that lies in `prefix`."""
        return IgnoreRules(((prefix, compile_lines(lines)), *self._levels)) if lines else self

    def ignores(self, path: str, *, is_directory: bool) -> bool:
        """Tell whether a path is ignored whose directory is not.

        Args:
            path: Relative to the root, and below the directory of these rules.
            is_directory: Whether it is one; a link to one is not.
        """
        for prefix, globs in self._levels:
            verdict = globs.judge(path[len(prefix) :] + ("/" if is_directory else ""))
            if verdict is not None:
                return verdict
        return False


def _read_lines(path: Path) -> list[str]:
    """Read an ignore file; one that is missing, unreadable or no file at all has no lines."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_IGNORE_FILE_BYTES:
            return []
        return path.read_text("utf-8", "replace").removeprefix("\ufeff").splitlines()
    except OSError:
        return []
