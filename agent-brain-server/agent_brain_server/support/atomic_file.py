"""Small JSON files that other processes may read at any time: written whole or not at all, and checked when read."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent_brain_server.errors import UnsafePathError
from agent_brain_server.support.state_files import open_file, replace_file

MAX_DOCUMENT_BYTES = 1_000_000
"""Nothing that is kept in such a file comes near this; a larger one is not ours."""

LOCK_LIMIT_S = 2.0  # a writer holds the lock for milliseconds
LOCK_RETRY_S = 0.005


class UnreadableDocumentError(ValueError):
    """The file exists and is not a JSON object of this user: torn, foreign, too large, a link or not a regular file."""


def write_atomic(path: Path, document: dict[str, Any]) -> None:
    """Replace `path` by `document` as JSON, so that a reader sees the old or the new content, even after a power cut.

    Args:
        path: Where to; its directory must exist.
        document: A JSON object.

    Raises:
        UnsafePathError: The directory is a link or belongs to another user.
        OSError: The directory cannot be written or the disk is full; the old content is still there.
    """
    replace_file(path, serialize_document(document))


def serialize_document(document: dict[str, Any]) -> bytes:
    """Return the bytes that `write_atomic` writes for a document."""
    return (json.dumps(document, indent=2) + "\n").encode()


def read_document(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in `path`, or None if there is no such file.

    Raises:
        UnreadableDocumentError: The file exists and holds something else; the message says what.
    """
    content = read_content(path)
    return None if content is None else parse_document(path, content)


def parse_document(path: Path, content: bytes) -> dict[str, Any]:
    """Return the JSON object that the content of a file holds.

    Args:
        path: Of the file; named in the error.
        content: As `read_content` returned it.

    Raises:
        UnreadableDocumentError: The content is not a JSON object.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise UnreadableDocumentError(f"{path} is not valid JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise UnreadableDocumentError(f"{path} holds a JSON {type(document).__name__}, not an object")
    return document


def read_content(path: Path) -> bytes | None:
    """Return the bytes of a small regular file, or `None` if there is no such file.

    Raises:
        UnreadableDocumentError: The file cannot be read, is too large, or is not a regular file of this user.
    """
    try:
        with open(open_file(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_DOCUMENT_BYTES:
                raise UnreadableDocumentError(f"{path} has {size:,} bytes, more than {MAX_DOCUMENT_BYTES:,}")
            return file.read(MAX_DOCUMENT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnsafePathError as exc:
        raise UnreadableDocumentError(exc.message.removesuffix(".")) from exc
    except OSError as exc:
        raise UnreadableDocumentError(f"{path} cannot be read: {exc.strerror}") from exc


@contextmanager
def hold_exclusively(path: Path) -> Iterator[None]:
    """Hold the lock of a file that orders several processes which update the same document.

    Args:
        path: The lock file, created if needed; its directory must exist.

    Raises:
        UnsafePathError: The file or its directory is a link or belongs to another user.
        OSError: The file cannot be opened, or another process held the lock for too long.
    """
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
    try:
        deadline = time.monotonic() + LOCK_LIMIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(LOCK_RETRY_S)
        yield
    finally:
        os.close(descriptor)
