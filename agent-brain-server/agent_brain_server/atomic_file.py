"""Small JSON files that others may read at any instant: written whole or not at all, read with suspicion."""

import contextlib
import fcntl
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MAX_DOCUMENT_BYTES = 1_000_000
"""Nothing that is kept in such a file comes near this; a larger one is not ours."""

PRIVATE_FILE_MODE = 0o600  # runtime files hold a token
TEMPORARY_SUFFIX = ".tmp"

LOCK_LIMIT_S = 2.0  # a writer holds the lock for milliseconds
LOCK_RETRY_S = 0.005


class UnreadableDocumentError(ValueError):
    """The file is there and is not a JSON object: torn, foreign, too large, or not a regular file."""


def write_atomic(path: Path, document: dict[str, Any]) -> None:
    """Replace `path` by `document` as JSON, so that a reader sees the old or the new content, even after a power cut.

    Args:
        path: Where to; its directory must exist.
        document: A JSON object.

    Raises:
        OSError: The directory cannot be written or the disk is full; the old content is still there.
    """
    data = (json.dumps(document, indent=2) + "\n").encode()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY_SUFFIX, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), PRIVATE_FILE_MODE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_directory(path.parent)


def read_document(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in `path`, or None where there is no such file.

    Raises:
        UnreadableDocumentError: It is there and holds something else; the message says what.
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


def remove_temporaries(path: Path) -> None:
    """Remove what a writer of `path` that was killed half-way left beside it; nobody may be writing it now.

    Raises:
        OSError: A file cannot be removed.
    """
    for name in os.listdir(path.parent):
        if name.startswith(f".{path.name}.") and name.endswith(TEMPORARY_SUFFIX):
            (path.parent / name).unlink(missing_ok=True)


def read_content(path: Path) -> bytes | None:
    """Return the bytes of a small regular file, or `None` if there is no such file.

    Raises:
        UnreadableDocumentError: The file cannot be read, is too large, or is not a regular file.
    """
    try:
        # without O_NONBLOCK, opening a fifo would wait for a writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise UnreadableDocumentError(f"{path} cannot be read: {exc.strerror}") from exc
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise UnreadableDocumentError(f"{path} is not a regular file")
        if facts.st_size > MAX_DOCUMENT_BYTES:
            raise UnreadableDocumentError(f"{path} has {facts.st_size:,} bytes, more than {MAX_DOCUMENT_BYTES:,}")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_DOCUMENT_BYTES)
    except OSError as exc:
        raise UnreadableDocumentError(f"{path} cannot be read: {exc.strerror}") from exc
    finally:
        os.close(descriptor)


@contextmanager
def hold_exclusively(path: Path) -> Iterator[None]:
    """Hold the lock of a file that orders several processes which update the same document.

    Args:
        path: The lock file, created if needed; its directory must exist.

    Raises:
        OSError: The file cannot be opened, or another process held the lock for too long.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE_MODE)
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


def _sync_directory(directory: Path) -> None:
    # some file systems refuse to sync a directory; the content is safe already, only the new name may be late
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
