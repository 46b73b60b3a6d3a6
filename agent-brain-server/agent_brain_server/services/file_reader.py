"""Read lines of the files that are in the index, from disk: no secrets, no ignored files, nothing behind a link."""

import os
from dataclasses import dataclass
from pathlib import Path

from agent_brain_server.errors import InvalidRequestError, NotFoundError
from agent_brain_server.indexing.reading.loader import load_file
from agent_brain_server.models.query import MAX_PATH_LENGTH
from agent_brain_server.storage.document_store import DocumentStore
from agent_brain_server.support.text import pluralize
from agent_brain_server.types import FileStat, Skip, SourceText

MAX_SHOWN_CHARACTERS = 200  # of a path in a message


@dataclass(frozen=True, slots=True)
class LineRange:
    """Lines of a file.

    Attributes:
        start: First line, 1-based.
        end: Last line, inclusive.
        rows: Their texts, without newlines.
        total: Number of lines of the file.
    """

    start: int
    end: int
    rows: tuple[str, ...]
    total: int


class FileReader:
    """Reads the indexed files of one project.

    Args:
        documents: Knows which files are indexed.
        root: Canonical root of the project.
        max_bytes: Larger files are refused.
        index_secrets: Whether the settings allow to read private keys and credentials.
    """

    def __init__(self, documents: DocumentStore, root: Path, *, max_bytes: int, index_secrets: bool) -> None:
        self._documents = documents
        self._root = root
        self._max_bytes = max_bytes
        self._index_secrets = index_secrets

    def locate(self, text: str) -> str:
        """Return a path of the project relative to its root, with links resolved; "" for the root itself.

        Args:
            text: Relative to the root, or absolute. Need not exist.

        Raises:
            InvalidRequestError: The path is outside the project, or no path.
        """
        if "\0" in text or len(text) > MAX_PATH_LENGTH or not _is_text(text):
            raise InvalidRequestError(
                f"{show_path(text)} is not a path.", code="invalid_path", hint="Name a file of the project."
            )
        resolved = os.path.realpath(os.path.join(self._root, text))
        if resolved == str(self._root):
            return ""
        if not resolved.startswith(f"{self._root}/") or not _is_text(resolved):
            raise InvalidRequestError(
                f"{show_path(text)} is outside the project.",
                code="outside_project",
                hint="Name a file or directory inside the project root.",
            )
        return resolved[len(f"{self._root}/") :]

    def read(self, path: str) -> SourceText:
        """Return the current text of an indexed file.

        Args:
            path: From `locate`.

        Raises:
            InvalidRequestError: It is a directory.
            NotFoundError: It does not exist, or it is not in the index.
        """
        records = self._documents.file_records([path]) if path else {}
        record = records.get(path)
        if record is None and (records or not path):
            raise InvalidRequestError(
                f"{show_path(path or '.')} is a directory.",
                code="not_a_file",
                hint=f"See what is in it with: agent-brain outline {path or '.'}",
            )
        if record is None or record.state == "skipped":
            raise self._refuse(path)
        loaded = load_file(
            self._root,
            FileStat(path, record.size, record.mtime_ns),
            self._max_bytes,
            index_secrets=self._index_secrets,
            index_generated=True,  # a generated file is in the index only if the settings allow it
            convert_html=False,
        )
        if isinstance(loaded, Skip):
            raise self._refuse(path, loaded.reason)
        return loaded

    def read_rows(self, path: str) -> list[str] | None:
        """Return the current lines of an indexed file, or `None` if it cannot be read any more.

        Args:
            path: A path from the index.
        """
        try:
            return self.read(path).text.split("\n")
        except (InvalidRequestError, NotFoundError):
            return None

    def exists(self, path: str) -> bool:
        """Return whether a path from the index exists on disk."""
        return os.path.lexists(os.path.join(self._root, path))

    def _refuse(self, path: str, reason: str | None = None) -> NotFoundError:
        """Return the error about a file that cannot be read, with the reason."""
        if not self.exists(path) or reason == "missing":
            return NotFoundError(
                f"There is no file {show_path(path)}.", code="path_not_found", hint="Find it with: agent-brain outline"
            )
        reason = reason or self._documents.find_skip(path)
        because = f", because it is left out as {reason}" if reason else ""
        return NotFoundError(
            f"{show_path(path)} is not in the index{because}.",
            code="not_indexed",
            hint="Files that git ignores, secrets and generated files are left out; see: agent-brain status",
        )


def select_lines(text: str, path: str, first: int, last: int | None, limit: int) -> LineRange:
    """Return a range of lines of a text; its end is moved to the last line, or to the limit.

    Args:
        text: The file.
        path: Its path, for errors.
        first: 1-based.
        last: Inclusive; `None`: up to the limit.
        limit: Maximum number of lines.

    Raises:
        InvalidRequestError: The range is reversed, or begins after the last line.
    """
    rows = text.removesuffix("\n").split("\n")
    total = len(rows)
    if last is not None and last < first:
        raise InvalidRequestError(
            f"Line {first} is after line {last}.",
            code="invalid_range",
            hint=f"Name the smaller line first: {path}:{last}-{first}",
        )
    if first > total:
        raise InvalidRequestError(
            f"{show_path(path)} has {pluralize(total, 'line')}; line {first} is past its end.",
            code="invalid_range",
            hint=f"Name lines of 1 to {total}.",
        )
    end = min(total if last is None else last, total, first + limit - 1)
    return LineRange(first, end, tuple(rows[first - 1 : end]), total)


def show_path(path: str) -> str:
    """Return a path for a message: quoted, shortened, with hidden characters escaped."""
    return repr(path if len(path) <= MAX_SHOWN_CHARACTERS else f"{path[:MAX_SHOWN_CHARACTERS]}…")


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
