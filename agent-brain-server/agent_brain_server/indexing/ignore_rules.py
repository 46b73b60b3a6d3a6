"""What a walk leaves out by name: globs of a request, `.gitignore` files, and folders that tools fill."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent_brain_server.errors import InvalidRequestError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

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


def compile_globs(globs: Sequence[str], field: str) -> "GitIgnoreSpec | None":
    """Compile globs in git's notation (`src/**/*.py`, `*.md`, `docs/`), relative to the project root.

    Args:
        globs: The patterns; none gives None.
        field: The request's field, for the message.

    Raises:
        InvalidRequestError: A glob is not one; the message names it.
    """
    if not globs:
        return None
    from agent_brain_server.globs import compile_lines  # noqa: PLC0415  late: 20 ms of CPU that a walk inside git does not need

    for glob in globs:
        reason = _find_fault(glob)
        if reason is None:
            try:
                compile_lines([glob])
            except ValueError as error:
                reason = str(error)
        if reason is not None:
            raise InvalidRequestError(
                f"{field} holds {glob!r}, which is not a glob: {reason}.",
                code="bad_glob",
                hint="Write globs as in .gitignore, for example src/**/*.py or docs/.",
            )
    return compile_lines(globs)


def _find_fault(glob: str) -> str | None:
    """Say why git would read the glob as nothing, or as something else than was meant."""
    if not glob.strip() or glob.strip("/!") == "":
        return "it matches nothing"
    if glob.startswith("#"):
        return "it is a comment in git's notation; write \\# for a name that starts so"
    if not glob.isprintable():
        return "it holds a control character"
    in_class = False
    escaped = False
    for char in glob:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == "[":
            in_class = True
        elif char == "]":
            in_class = False
    if escaped:
        return "it ends in a backslash"
    return "a [ is not closed" if in_class else None


class IgnoreRules:
    """The ignore files that hold in one directory: its own and those above it; immutable.

    Deeper files are asked first, and in one file the last matching line decides, as in git.
    """

    __slots__ = ("_levels",)

    def __init__(self, levels: "tuple[tuple[str, GitIgnoreSpec], ...]" = ()) -> None:
        self._levels = levels

    @classmethod
    def of_root(cls, root: Path) -> "IgnoreRules":
        """Read `.git/info/exclude` and the ignore file of the project root."""
        lines = _read_lines(root / ".git" / "info" / "exclude")
        return cls().add("", lines).enter(root, "")

    def enter(self, directory: Path, prefix: str) -> "IgnoreRules":
        """Return the rules that hold inside `directory`.

        Args:
            directory: Where its ignore file would lie.
            prefix: Its path relative to the root with a `/` at the end; empty for the root.
        """
        return self.add(prefix, _read_lines(directory / IGNORE_FILE))

    def add(self, prefix: str, lines: Sequence[str]) -> "IgnoreRules":
        """Return these rules and, before them, the lines of an ignore file that lies in `prefix`."""
        if not lines:
            return self
        from agent_brain_server.globs import compile_lines  # noqa: PLC0415  late: 20 ms of CPU that a walk inside git does not need

        try:
            spec = compile_lines(lines)
        except ValueError:  # git passes over a line that it can't read
            spec = compile_lines([line for line in lines if _is_pattern(line)])
        return IgnoreRules(((prefix, spec), *self._levels))

    def ignores(self, path: str, *, is_directory: bool) -> bool:
        """Tell whether the path, relative to the root and below these rules' directory, is ignored."""
        for prefix, spec in self._levels:
            inner = path[len(prefix) :] + ("/" if is_directory else "")
            verdict = spec.check_file(inner).include
            if verdict is not None:
                return verdict
        return False


def _is_pattern(line: str) -> bool:
    from agent_brain_server.globs import compile_lines  # noqa: PLC0415  late, as above

    try:
        compile_lines([line])
    except ValueError:
        return False
    return True


def _read_lines(path: Path) -> list[str]:
    """Read an ignore file; one that is missing, unreadable or no file at all has no lines."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_IGNORE_FILE_BYTES:
            return []
        return path.read_text("utf-8", "replace").removeprefix("\ufeff").splitlines()
    except OSError:
        return []
