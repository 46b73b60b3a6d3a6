"""Identify processes reliably. Pids are reused, so a process is identified by its pid and its start time (Linux)."""

import contextlib
import ctypes
import os
import select
import signal
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

MAX_PID = 2**31 - 1  # pid_t; larger values overflow in system calls

RETURN_INTERVAL_S = 60.0
"""Seconds between two calls of `return_free_memory` during long indexing; without them, free memory grows by 30 MB."""

POLL_INTERVAL_S = 0.005  # where the kernel has no process descriptors

# Fields of /proc/<pid>/stat after the closing parenthesis of the command: fields 3, 14, 15 and 22 of proc(5).
_STATE_FIELD = 0
_CPU_FIELDS = (11, 12)  # user and system time in clock ticks
_START_FIELD = 19

_UID_KEY = "Uid:"
_EFFECTIVE_UID = 2  # words of that line of /proc/<pid>/status: key, real, effective, saved, file system: proc(5)

_RESIDENT_FIELD = 1  # of /proc/<pid>/statm, in pages: proc(5)

_DEAD_STATES = ("Z", "X")  # zombie, dead


def return_free_memory() -> None:
    """Return the C library's free memory to the system. Takes milliseconds; does nothing with musl.

    Each indexing thread leaves free memory in its own arena, and the library does not return that by itself.
    """
    library = _load_c_library()
    if library is not None:
        library.malloc_trim(0)


@cache
def _load_c_library() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None  # musl has none, and needs none


def read_start_time(pid: int) -> str | None:
    """Return the start time of a process as an opaque text, or `None` if it does not run. A zombie does not run."""
    if not 0 < pid <= MAX_PID:
        return None
    fields = _read_proc_stat(pid)
    return None if fields is None else fields[_START_FIELD]


def measure_process_age(pid: int | None = None) -> float | None:
    """Return the seconds since a process started; changes of the clock have no effect.

    Args:
        pid: The process; this one by default.

    Returns:
        `None` if there is no such process.
    """
    ticks = read_start_time(os.getpid() if pid is None else pid)
    if ticks is None:
        return None
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK"))


def read_resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes, or 0 if it has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[_RESIDENT_FIELD]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def read_cpu_seconds(pid: int) -> float | None:
    """Return the CPU time that a process has used, or `None` if it has ended."""
    fields = _read_proc_stat(pid)
    if fields is None:
        return None
    return sum(int(fields[field]) for field in _CPU_FIELDS) / os.sysconf("SC_CLK_TCK")


def is_same_process(pid: int, started_at: str | None) -> bool:
    """Return whether `pid` runs and, if `started_at` is known, started then."""
    now = read_start_time(pid)
    return now is not None and (started_at is None or now == started_at)


def is_own_process(pid: int) -> bool:
    """Return whether a process runs as the current user."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    line = next((line for line in status.splitlines() if line.startswith(_UID_KEY)), "")
    return line.split()[_EFFECTIVE_UID : _EFFECTIVE_UID + 1] == [str(os.geteuid())]


def has_file_open(pid: int, path: Path) -> bool:
    """Return whether a process has a file open; `True` if the process may not be inspected.

    Args:
        pid: A process of the current user.
        path: The file that has this name now.
    """
    try:
        facts = path.stat(follow_symlinks=False)
        # a server's lock is among the first files that it opens
        descriptors = sorted(os.listdir(f"/proc/{pid}/fd"), key=int)
    except FileNotFoundError:
        return False
    except OSError:  # for example a program with capabilities
        return True
    return any(_is_open_as(f"/proc/{pid}/fd/{number}", facts) for number in descriptors)


def is_own_holder(pid: int, started_at: str | None, path: Path | None = None) -> bool:
    """Return whether a process is the current user's, started at the given time and has a file open.

    Args:
        pid: The process.
        started_at: Its start time, or `None` if that is not known.
        path: The file; `None` to check the process only.
    """
    return is_same_process(pid, started_at) and is_own_process(pid) and (path is None or has_file_open(pid, path))


def _is_open_as(descriptor: str, facts: os.stat_result) -> bool:
    try:
        found = os.stat(descriptor)
    except OSError:  # closed since it was listed
        return False
    return (found.st_dev, found.st_ino) == (facts.st_dev, facts.st_ino)


def _read_proc_stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the third on, or `None` if the process has ended or is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # the name of the command may contain parentheses and spaces
    fields = text.rpartition(")")[2].split()
    if len(fields) <= _START_FIELD or fields[_STATE_FIELD] in _DEAD_STATES:
        return None
    return fields


@dataclass
class ProcessHandle:
    """A handle on an identified process. A signal sent through it cannot reach another process that reuses the pid."""

    pid: int
    started_at: str | None
    _descriptor: int | None = None

    @classmethod
    def open(cls, pid: int, started_at: str | None) -> "ProcessHandle | None":
        """Return a handle on the current user's process that started at `started_at`, or `None` if there is none."""
        descriptor = None
        if 0 < pid <= MAX_PID:
            # refused by old kernels and some sandboxes: then only the start time identifies the process
            with contextlib.suppress(OSError, AttributeError):
                descriptor = os.pidfd_open(pid)
        handle = cls(pid, started_at, descriptor)
        # compared after opening: from now on the descriptor refers to this process only
        if is_own_holder(pid, started_at):
            return handle
        handle.close()
        return None

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal. Does nothing if the process has ended.

        Raises:
            PermissionError: The process belongs to another user.
        """
        with contextlib.suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signal_number)
            elif is_same_process(self.pid, self.started_at):
                os.kill(self.pid, signal_number)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the process has ended. Return `False` if it still runs after `timeout_s` seconds."""
        if self._descriptor is not None:
            poller = select.poll()
            poller.register(self._descriptor, select.POLLIN)
            return bool(poller.poll(max(0.0, timeout_s) * 1000))
        deadline = time.monotonic() + timeout_s
        while is_same_process(self.pid, self.started_at):
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_INTERVAL_S)
        return True

    def close(self) -> None:
        """Close the process descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
