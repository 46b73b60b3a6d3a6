"""The lock of a state directory. The process that holds it is the project's server, and there is only one.

The kernel holds the lock while the holder's descriptor is open and releases it when the process ends, however it ends.
The existence of the file proves nothing: a server that was killed leaves it behind. The only proof that no server runs
is to take the lock; a pid or a timeout is none.
"""

import contextlib
import logging
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent_brain_server.errors import StateDirError
from agent_brain_server.storage_paths import brain_home, crash_path, lock_path, pid_path, runtime_path
from agent_brain_server.support.atomic_file import (
    UnreadableDocumentError,
    is_locked,
    is_same_file,
    open_locked,
    read_document,
    write_atomic,
)
from agent_brain_server.support.process_facts import UNKNOWN_START
from agent_brain_server.support.processes import MAX_PID, read_start_time
from agent_brain_server.support.state_files import create_file, read_file, remove_temporaries

logger = logging.getLogger(__name__)

PROBE_PATIENCE_S = 0.2  # a process that only checks whether the lock is free holds it for microseconds
RETRY_INTERVAL_S = 0.005
MAX_HOLDER_BYTES = 128  # a pid and a start time

CRASH_SCHEMA_VERSION = 1
CRASH_KEYS = ("pid", "instance_id", "started_at", "version")
"""Keys of `runtime.json` that a crash record keeps; the token is not kept."""

MAX_CRASH_VALUE = 40  # characters of a time or an id; the file may come from a clone


class StateLock:
    """The lock of one state directory. As a context manager, it raises `BlockingIOError` if the lock is not free.

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

    def acquire(self, *, patience_s: float = 0.0, record_pid: bool = True) -> bool:
        """Take the lock. Return `False` if another process holds it.

        Args:
            patience_s: Seconds to retry.
            record_pid: Write the pid of this process to the lock file and the pid file.

        Raises:
            StateDirError: The lock file cannot be created.
        """
        if self._descriptor is not None:
            return True
        deadline = time.monotonic() + patience_s
        while (descriptor := open_locked(self._path, create=True)) is None:
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
        """Remove the pid file and the lock file, then release the lock. Does nothing if the lock is not held."""
        if self._descriptor is None:
            return
        # a forked child shares the lock, but must not remove it
        if os.getpid() == self._owner_pid and self.is_intact():
            for path in (pid_path(self._state_dir), self._path):
                # releasing must not fail; files that stay behind are recognized as stale
                with contextlib.suppress(OSError):
                    path.unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def is_intact(self) -> bool:
        """Return whether the lock is held and its file still has its name, so that other processes see the lock."""
        return self._descriptor is not None and is_same_file(self._descriptor, self._path)

    def __enter__(self) -> Self:
        if not self.acquire(patience_s=PROBE_PATIENCE_S):
            raise BlockingIOError(f"{self._path} is held by another process")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def note_holder(self) -> None:
        """Write the pid of this process to the lock file and the pid file. Does nothing if the lock is not held.

        Raises:
            OSError: A file cannot be written.
        """
        if self._descriptor is None:
            return
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, _describe_holder(), 0)
        path = pid_path(self._state_dir)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # not overwritten: the file may be hard-linked to another one
        create_file(path, f"{os.getpid()}\n".encode())

    def is_noted(self) -> bool:
        """Return whether the lock file and the pid file name this process."""
        if self._descriptor is None:
            return False
        return (
            os.pread(self._descriptor, MAX_HOLDER_BYTES, 0) == _describe_holder()
            and read_pid(self._state_dir) == os.getpid()
        )


_held: dict[Path, StateLock] = {}
"""Locks taken by `acquire_lock`. `release_lock` gets a path and must find the descriptor."""


def acquire_lock(state_dir: Path) -> bool:
    """Take the lock of a state directory without waiting. Return `False` if any process, or this one, holds it.

    Raises:
        StateDirError: The lock file cannot be created.
    """
    lock = StateLock(state_dir)
    if not lock.acquire():
        return False
    _held[state_dir.resolve()] = lock
    return True


def release_lock(state_dir: Path) -> None:
    """Release a lock that `acquire_lock` took. Does nothing if this process does not hold it."""
    lock = _held.pop(state_dir.resolve(), None)
    if lock is not None:
        lock.release()


def read_pid(state_dir: Path) -> int | None:
    """Return the pid in the pid file, or `None`. The process may have ended, or the pid may be reused."""
    try:
        words = read_file(pid_path(state_dir), MAX_HOLDER_BYTES).decode("ascii").split()
    except (OSError, StateDirError, UnicodeDecodeError):
        return None
    return _parse_pid(words[0]) if words else None


def read_holder(state_dir: Path) -> tuple[int, str] | None:
    """Return the pid and the start time (as in `processes`) in the lock file, or `None`."""
    try:
        return _parse_holder(read_file(lock_path(state_dir), MAX_HOLDER_BYTES))
    except (OSError, StateDirError):
        return None


def is_stale(state_dir: Path) -> bool:
    """Return whether no server runs, because the lock is free. A server that is slow to answer is not stale.

    Raises:
        StateDirError: The lock file exists and cannot be opened.
    """
    return not is_locked(lock_path(state_dir))


def cleanup_stale(state_dir: Path) -> bool:
    """Remove the runtime file, pid file and lock file of a server that has ended.

    Acts only while holding the lock. A pointer to the shared daemon is kept while the daemon runs.

    Returns:
        `False` if a server runs; then nothing was changed.

    Raises:
        StateDirError: A file cannot be removed.
    """
    if not any(_exists(path(state_dir)) for path in (lock_path, pid_path, runtime_path)):
        return True
    lock = StateLock(state_dir)
    if not lock.acquire(record_pid=False):
        return False
    try:
        if not _points_to_running_daemon(state_dir):
            remove_stale_files(state_dir, lock.crashed_holder)
    finally:
        lock.release()
    return True


def remove_stale_files(state_dir: Path, crashed_holder: tuple[int, str] | None) -> None:
    """Remove the runtime file of an earlier server and record its crash. The caller holds the lock.

    Args:
        state_dir: Absolute.
        crashed_holder: `StateLock.crashed_holder`.

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
    logger.info("Removed %s of a server that has ended", path)


def record_crash(state_dir: Path, holder: tuple[int, str] | None) -> None:
    """Record the server whose files are about to be removed. The caller holds the lock.

    Args:
        state_dir: Absolute.
        holder: Pid and start time in the lock file; a server that shuts down properly removes that file.
    """
    document: dict[str, Any] = {}
    with contextlib.suppress(UnreadableDocumentError):
        document = read_document(runtime_path(state_dir)) or {}
    # a pointer to the shared daemon has no instance id, and is not the file of a crashed server
    server = {key: document[key] for key in CRASH_KEYS if key in document} if "instance_id" in document else {}
    if holder is not None:
        server.setdefault("pid", holder[0])
    if server:
        with contextlib.suppress(OSError, StateDirError):  # a full disk must not prevent the start of the server
            write_atomic(crash_path(state_dir), {"schema_version": CRASH_SCHEMA_VERSION, **server})


def log_crash(state_dir: Path) -> None:
    """Log the recorded crash, if there is one, and remove the record."""
    try:
        document = read_document(crash_path(state_dir))
    except UnreadableDocumentError as exc:
        logger.warning("Ignored: %s", exc)
        return
    if document is None:
        return
    known = {key: str(document[key])[:MAX_CRASH_VALUE] for key in CRASH_KEYS if key in document}
    facts = [f"pid {known.get('pid', 'unknown')}"]
    facts += [f"started {known['started_at']}"] if "started_at" in known else []
    facts += [f"version {known['version']}"] if "version" in known else []
    logger.warning(
        "Recovered: the previous server (%s) ended without cleaning up; its files were removed", ", ".join(facts)
    )
    with contextlib.suppress(OSError):
        crash_path(state_dir).unlink()


def _points_to_running_daemon(state_dir: Path) -> bool:
    try:
        document = read_document(runtime_path(state_dir)) or {}
        is_pointer = document.get("mode") == "shared" and "instance_id" not in document
        return is_pointer and not is_stale(brain_home())
    except (UnreadableDocumentError, StateDirError):  # damaged, or this user has no home and so no daemon
        return False


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        # must not count as missing: a server of another user may be running
        raise StateDirError(f"{path} cannot be read: {exc.strerror}.") from exc
    return True


def _describe_holder() -> bytes:
    pid = os.getpid()
    return f"{pid} {read_start_time(pid) or UNKNOWN_START}\n".encode()


def _parse_holder(content: bytes) -> tuple[int, str] | None:
    words = content.decode("ascii", "replace").split()
    pid = _parse_pid(words[0]) if len(words) > 1 else None
    return None if pid is None else (pid, " ".join(words[1:]))


def _parse_pid(word: str) -> int | None:
    return int(word) if word.isdecimal() and 0 < int(word) <= MAX_PID else None
