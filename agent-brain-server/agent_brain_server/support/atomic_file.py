"""Read, write and lock small JSON files that several processes share.

A file is replaced as a whole, so a reader sees the old or the new content, and it is checked when it is read.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent_brain_server.errors import StateDirError, UnsafePathError
from agent_brain_server.support.state_files import open_file, replace_file

MAX_DOCUMENT_BYTES = 1_000_000  # far above any file of ours; a larger one is foreign

LOCK_LIMIT_S = 2.0  # a writer holds the lock for milliseconds
LOCK_RETRY_S = 0.005


class UnreadableDocumentError(ValueError):
    """The file exists and is not a JSON object of this user: damaged, foreign, too large, a link or a special file."""


def write_atomic(path: Path, document: dict[str, Any]) -> None:
    """Replace a file by a JSON document. The new content survives a power loss.

    Args:
        path: The file; its directory must exist.
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
    """Return the JSON object in a file, or `None` if there is no such file.

    Raises:
        UnreadableDocumentError: The file exists and is not a JSON object; the message says what is wrong.
    """
    content = read_content(path)
    return None if content is None else parse_document(path, content)


def parse_document(path: Path, content: bytes) -> dict[str, Any]:
    """Return the JSON object in the content of a file.

    Args:
        path: Path of the file, for the error message.
        content: As returned by `read_content`.

    Raises:
        UnreadableDocumentError: The content is not a JSON object.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise UnreadableDocumentError(f"{path} is not valid JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise UnreadableDocumentError(f"{path} contains a JSON {type(document).__name__}, not an object")
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
    """Hold a lock file that orders the processes which update one document.

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


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock that `open_locked` took. A missing file is not locked.

    Raises:
        StateDirError: The file exists and cannot be opened.
    """
    try:
        descriptor = open_locked(path)
    except FileNotFoundError:
        return False
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def open_locked(path: Path, *, create: bool = False) -> int | None:
    """Open a file and lock it without waiting. Return its descriptor, or `None` if another process holds the lock.

    The holder may remove the file. A process that had opened it before then locks a file without a name, which the
    comparison of inodes detects, and opens the new file.

    Args:
        path: The lock file.
        create: Create the file if it does not exist.

    Raises:
        FileNotFoundError: The file does not exist and `create` is false.
        StateDirError: The file cannot be opened or locked.
    """
    while True:
        try:
            # Python opens files close-on-exec: no child process inherits the lock
            descriptor = open_file(path, os.O_RDWR | (os.O_CREAT if create else 0))
        except OSError as exc:
            if isinstance(exc, FileNotFoundError) and not create:
                raise
            raise StateDirError(f"The lock file {path} cannot be opened: {exc.strerror}.") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as exc:
            os.close(descriptor)
            raise StateDirError(
                f"The file system of {path} does not support locks: {exc.strerror}.",
                hint="Name a directory on a local disk with --state-dir.",
            ) from exc
        if is_same_file(descriptor, path):
            return descriptor
        os.close(descriptor)  # removed between opening and locking: lock the new file


def is_same_file(descriptor: int, path: Path) -> bool:
    """Return whether an open file still has its name."""
    held = os.fstat(descriptor)
    try:
        named = os.stat(path, follow_symlinks=False)
    except OSError:  # removed, or its directory can no longer be read
        return False
    return held.st_nlink > 0 and (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)
