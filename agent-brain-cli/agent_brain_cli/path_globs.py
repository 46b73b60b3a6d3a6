"""Convert the globs and paths of `--path` to globs relative to the project root, as the server expects them.

Results show paths relative to the current directory, so `--path` accepts these as well as globs in the notation of
`.gitignore`, which start at the root. A path that names an existing file is taken literally.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

LINE_SUFFIX = re.compile(r":\d+(?:-\d+)?$")
"""The line numbers after a path in a result."""

SPECIAL = re.compile(r"([\\*?\[])")
EVERYTHING = "**"


def resolve_globs(globs: Sequence[str], project_root: Path, current: Path) -> list[str]:
    """Return globs relative to the project root.

    Args:
        globs: The values of `--path`.
        project_root: The root, canonical.
        current: The current directory, canonical.

    Raises:
        click.UsageError: A path is outside the project.
    """
    return [resolved for glob in globs for resolved in _resolve_negated(glob, project_root, current)]


def _resolve_negated(glob: str, root: Path, current: Path) -> Iterator[str]:
    negation = "!" if glob.startswith("!") else ""
    for resolved in _resolve(glob.removeprefix(negation), root, current):
        yield negation + resolved


def _resolve(text: str, root: Path, current: Path) -> list[str]:
    base = current if text.startswith(("./", "../")) or text in (".", "..") else None
    if os.path.isabs(text):
        base = _find_base_of_absolute(text, root)
    if base is not None:
        return [_make_relative(text, root, base)]
    if current == root or not current.is_relative_to(root):
        return [_make_relative(text, root, root)] if _names_file(root, text) else [text]
    if "/" not in text.rstrip("/"):  # matches in every directory, except if it names a file in this one
        return [_make_relative(text, root, current)] if (current / _drop_lines(current, text)).is_file() else [text]
    bases = [base for base in (current, root) if _has_start(base, text)]
    return [_make_relative(text, root, base) for base in bases] or [text]


def _find_base_of_absolute(text: str, root: Path) -> Path | None:
    """Return the base of an absolute path, or `None` for a glob whose leading slash means the project root.

    Raises:
        click.UsageError: The path is outside the project.
    """
    if f"{text}/".startswith(f"{root}/"):
        return root
    start = Path(_literal_start(text))
    if start != Path("/") and start.exists() and not _has_start(root, text.lstrip("/")):
        if start.resolve().is_relative_to(root):  # through a link
            return root
        raise _refuse(text, root)
    return None


def _make_relative(text: str, root: Path, base: Path) -> str:
    """Return a glob that is anchored at the project root.

    Args:
        text: A path or a glob, relative to `base` or absolute.
        root: The project root.
        base: A directory in the project.

    Raises:
        click.UsageError: The path is outside the project.
    """
    text = _drop_lines(base, text)
    is_literal = os.path.lexists(base / text)
    if os.path.isabs(text) and not text.startswith(f"{root}/") and text != str(root):
        start = _literal_start(text)
        text = str(Path(start).resolve()) + text[len(start.rstrip("/")) :]
    directory = "/" if text.endswith("/") else ""
    path = os.path.normpath(os.path.join(root, os.path.relpath(base, root), text))
    if path == str(root):
        return EVERYTHING
    if not path.startswith(f"{root}/"):
        raise _refuse(text, root)
    relative = path[len(str(root)) + 1 :]
    if is_literal:
        return "/" + _escape(relative) + directory
    prefix = "" if base == root else os.path.relpath(base, root) + "/"
    if prefix and relative.startswith(prefix):  # only the directory is literal
        return f"/{_escape(prefix)}{relative[len(prefix) :]}{directory}"
    return f"/{relative}{directory}"


def _drop_lines(base: Path, text: str) -> str:
    """Return a path without its line numbers, if a file exists under the path without them but not with them."""
    shorter = LINE_SUFFIX.sub("", text)
    is_location = shorter != text and not os.path.lexists(base / text) and os.path.lexists(base / shorter)
    return shorter if is_location else text


def _names_file(base: Path, text: str) -> bool:
    """Return whether a text names a file at the root, but would match something else as a glob."""
    shorter = _drop_lines(base, text)
    is_ambiguous = shorter != text or shorter.endswith(" ") or SPECIAL.search(shorter) is not None
    return is_ambiguous and os.path.lexists(base / shorter)


def _has_start(base: Path, text: str) -> bool:
    """Return whether a directory has the part of a glob before its first wildcard, or the file that it names."""
    if os.path.lexists(base / _drop_lines(base, text)):
        return True
    start = _literal_start(text)
    return bool(start) and start != text.rstrip("/") and (base / start).is_dir()


def _literal_start(text: str) -> str:
    """Return the leading directories of a glob without wildcards; the whole text if it has no wildcard."""
    found = SPECIAL.search(text)
    return text.rstrip("/") if found is None else text[: found.start()].rpartition("/")[0]


def _escape(path: str) -> str:
    escaped = SPECIAL.sub(r"\\\1", path)
    return escaped[:-1] + "\\ " if escaped.endswith(" ") else escaped


def _refuse(text: str, root: Path) -> click.UsageError:
    return click.UsageError(f"--path {text} is outside the project {root}.")
