"""The lock of a state directory: whoever holds it is the project's server, and nobody else can be.

The kernel keeps the lock for as long as the holder's descriptor is open and frees it when the process ends, however it
ends. The file itself means nothing: it may lie there from a dead server. So the only proof that no server lives is to
take the lock, and that is how staleness is decided here; a pid or a time-out proves nothing.

The file is unlinked on release while the lock is held. A process that had opened it just before holds a lock on a file
that no longer has the name; comparing inodes after locking notices that, and it opens the new one.
"""

import contextlib
import fcntl
import logging
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent_brain_server.errors import StateDirError
from agent_brain_server.storage_paths import brain_home, crash_path, lock_path, pid_path, runtime_path
from agent_brain_server.support.atomic_file import UnreadableDocumentError, read_document, write_atomic
from agent_brain_server.support.processes import MAX_PID, read_start_time
from agent_brain_server.support.state_files import create_file, open_file, read_file, remove_temporaries

SCHEMA_VERSION = 1
KEPT_KEYS = ("pid", "instance_id", "started_at", "version")
"""Keys of `runtime.json` that identify the process; its token is not kept."""

MAX_VALUE_LENGTH = 40  # of a time or an id; the file may come from a clone


def record_crash(state_dir: Path, holder: tuple[int, str] | None) -> None:
    """Record the server whose files are about to be removed; the caller holds the lock.

    Args:
        state_dir: Absolute.
        holder: Pid and start time in the lock file, which a server removes when it ends in order.
    """
    document: dict[str, Any] = {}
    with contextlib.suppress(UnreadableDocumentError):
        document = read_document(runtime_path(state_dir)) or {}
    # a pointer to the shared daemon has no instance id, and no server of this directory has crashed
    server = {key: document[key] for key in KEPT_KEYS if key in document} if "instance_id" in document else {}
    if holder is not None:
        server.setdefault("pid", holder[0])
    if server:
        with contextlib.suppress(OSError, StateDirError):  # a full disk must not keep the server from starting
            write_atomic(crash_path(state_dir), {"schema_version": SCHEMA_VERSION, **server})


def log_crash(state_dir: Path) -> None:
    """Log the recorded crash, if there is one, and remove the record."""
    try:
        document = read_document(crash_path(state_dir))
    except UnreadableDocumentError as exc:
        logger.warning("Ignored: %s", exc)
        return
    if document is None:
        return
    known = {key: str(document[key])[:MAX_VALUE_LENGTH] for key in KEPT_KEYS if key in document}
    facts = [f"pid {known.get('pid', 'unknown')}"]
    facts += [f"started {known['started_at']}"] if "started_at" in known else []
    facts += [f"version {known['version']}"] if "version" in known else []
    logger.warning(
        "Recovered: the previous server (%s) ended without cleaning up; its files were removed", ", ".join(facts)
    )
    with contextlib.suppress(OSError):
        crash_path(state_dir).unlink()


logger = logging.getLogger(__name__)

PROBE_PATIENCE_S = 0.2  # somebody who only looks whether the lock is free holds it for microseconds
RETRY_INTERVAL_S = 0.005
MAX_HOLDER_BYTES = 128  # a pid and a start time


class StateLock:
    """The lock of one state directory; also a context manager around an `acquire` that must succeed.

    Args:
        state_dir: The directory; it must exist before `acquire`.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._path = lock_path(state_dir)
        self._descriptor: int | None = None
        self._owner_pid = 0
        self.crashed_holder: tuple[int, str] | None = None
        """Pid and start time of the last holder, if it ended without removing the lock file; set by `acquire`."""

    @property
    def is_held(self) -> bool:
        """True where this object holds the lock."""
        return self._descriptor is not None

    def acquire(self, *, patience_s: float = 0.0, record_pid: bool = True) -> bool:
        """Take the lock; False where another holds it.

        Args:
            patience_s: How long to try again, in seconds.
            record_pid: Name this process in the pid file.

        Raises:
            StateDirError: The lock file cannot be made.
        """
        if self._descriptor is not None:
            return True
        deadline = time.monotonic() + patience_s
        while (descriptor := _open_locked(self._path, os.O_CREAT)) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(RETRY_INTERVAL_S)
        self._descriptor = descriptor
        self._owner_pid = os.getpid()
        self.crashed_holder = _parse_holder(os.pread(descriptor, MAX_HOLDER_BYTES, 0))
        if record_pid:
            try:
                self.note_holder()
            except OSError as exc:
                self.release()
                message = f"The pid file in {self._state_dir} cannot be written: {exc.strerror}."
                raise StateDirError(message) from exc
        return True

    def release(self) -> None:
        """Remove pid and lock file while holding the lock, then free it; nothing happens where it is not held."""
        if self._descriptor is None:
            return
        # a forked child has the same lock open, but it is not the child's to remove
        if os.getpid() == self._owner_pid and self.is_intact():
            for path in (pid_path(self._state_dir), self._path):
                # freeing the lock must not fail; what stays behind is seen to be stale
                with contextlib.suppress(OSError):
                    path.unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def is_intact(self) -> bool:
        """True where the lock is held and its file still has its name, so that every other process meets it."""
        return self._descriptor is not None and _is_file_of(self._descriptor, self._path)

    def __enter__(self) -> Self:
        if not self.acquire(patience_s=PROBE_PATIENCE_S):
            raise BlockingIOError(f"{self._path} is held by another process")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def note_holder(self) -> None:
        """Name this process in the lock file and the pid file; nothing happens where it does not hold the lock.

        Raises:
            OSError: They can't be written.
        """
        if self._descriptor is None:
            return
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, _describe_holder(), 0)
        path = pid_path(self._state_dir)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # not written over: it may have a second name
        create_file(path, f"{os.getpid()}\n".encode())

    def is_noted(self) -> bool:
        """True where lock file and pid file name this process, as `note_holder` has written them."""
        if self._descriptor is None:
            return False
        return (
            os.pread(self._descriptor, MAX_HOLDER_BYTES, 0) == _describe_holder()
            and read_pid(self._state_dir) == os.getpid()
        )


_held: dict[Path, StateLock] = {}
"""Locks that this process took through `acquire_lock`: `release_lock` is given a path and must find the descriptor."""


def acquire_lock(state_dir: Path) -> bool:
    """Take the lock of `state_dir` for this process, without waiting; False where it is held, by this process too.

    Raises:
        StateDirError: The lock file cannot be made.
    """
    lock = StateLock(state_dir)
    if not lock.acquire():
        return False
    _held[state_dir.resolve()] = lock
    return True


def release_lock(state_dir: Path) -> None:
    """Free a lock that `acquire_lock` took; nothing happens where this process does not hold it."""
    lock = _held.pop(state_dir.resolve(), None)
    if lock is not None:
        lock.release()


def read_pid(state_dir: Path) -> int | None:
    """Return the pid in the pid file, or None. It may be of a dead process, or reused."""
    words = _read_words(pid_path(state_dir))
    return _parse_pid(words[0]) if words else None


def read_holder(state_dir: Path) -> tuple[int, str] | None:
    """Return pid and start time (as in `processes`) that the last holder left in the lock file, or None."""
    try:
        return _parse_holder(read_file(lock_path(state_dir), MAX_HOLDER_BYTES))
    except (OSError, StateDirError):
        return None


def is_stale(state_dir: Path) -> bool:
    """True where no server lives: the lock can be taken. A server that is slow to answer is not stale.

    Raises:
        StateDirError: The lock file is there and cannot be opened.
    """
    try:
        descriptor = _open_locked(lock_path(state_dir), 0)
    except FileNotFoundError:
        return True
    if descriptor is None:
        return False
    # only looked: what lies there is for cleanup_stale
    os.close(descriptor)
    return True


def cleanup_stale(state_dir: Path) -> bool:
    """Remove what a dead server left: runtime file, pid file, lock file. Acts only while holding the lock.

    A pointer to the shared daemon stays for as long as that lives.

    Returns:
        False where a server lives; nothing was touched.

    Raises:
        StateDirError: The remains cannot be removed.
    """
    if not _has_remains(state_dir):
        return True
    lock = StateLock(state_dir)
    if not lock.acquire(record_pid=False):
        return False
    try:
        if not _points_to_living_daemon(state_dir):
            remove_remains(state_dir, lock.crashed_holder)
    finally:
        lock.release()
    return True


def remove_remains(state_dir: Path, crashed_holder: tuple[int, str] | None) -> None:
    """Remove the runtime file of an earlier server and record that it crashed; the caller holds the lock.

    Args:
        state_dir: Absolute.
        crashed_holder: As the lock has found it.

    Raises:
        StateDirError: The file cannot be removed.
    """
    record_crash(state_dir, crashed_holder)
    path = runtime_path(state_dir)
    try:
        remove_temporaries(path)
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as exc:
        raise StateDirError(f"{path} cannot be removed: {exc.strerror}.") from exc
    logger.info("Removed %s of a server that no longer runs", path)


def _points_to_living_daemon(state_dir: Path) -> bool:
    try:
        document = read_document(runtime_path(state_dir)) or {}
        is_pointer = document.get("mode") == "shared" and "instance_id" not in document
        return is_pointer and not is_stale(brain_home())
    except (UnreadableDocumentError, StateDirError):  # torn, or this user has no home and so no daemon
        return False


def _has_remains(state_dir: Path) -> bool:
    return any(_is_there(path(state_dir)) for path in (lock_path, pid_path, runtime_path))


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        # "not there" would be a lie: a server of another user may well be running
        raise StateDirError(f"{path} cannot be looked at: {exc.strerror}.") from exc
    return True


def _open_locked(path: Path, create: int) -> int | None:
    while True:
        try:
            # descriptors of Python are close-on-exec: no child process inherits the lock
            descriptor = open_file(path, os.O_RDWR | create)
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
        if _is_file_of(descriptor, path):
            return descriptor
        os.close(descriptor)  # its name was removed between opening and locking: lock the new file


def _is_file_of(descriptor: int, path: Path) -> bool:
    held = os.fstat(descriptor)
    try:
        named = os.stat(path, follow_symlinks=False)
    except OSError:  # removed, or behind a directory that is closed now: no other process meets it
        return False
    return held.st_nlink > 0 and (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)


def _describe_holder() -> bytes:
    pid = os.getpid()
    return f"{pid} {read_start_time(pid) or ''}\n".encode()


def _read_words(path: Path) -> list[str]:
    try:
        return read_file(path, MAX_HOLDER_BYTES).decode("ascii").split()
    except (OSError, StateDirError, UnicodeDecodeError):
        return []


def _parse_holder(content: bytes) -> tuple[int, str] | None:
    words = content.decode("ascii", "replace").split()
    pid = _parse_pid(words[0]) if len(words) > 1 else None
    return None if pid is None else (pid, " ".join(words[1:]))


def _parse_pid(word: str) -> int | None:
    return int(word) if word.isdecimal() and 0 < int(word) <= MAX_PID else None
