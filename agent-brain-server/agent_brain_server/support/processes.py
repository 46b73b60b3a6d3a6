"""Identify processes reliably. Pids are reused, so a process is identified by its pid and its start time."""

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

from agent_brain_server.support.process_facts import UNKNOWN_START, process_facts

MAX_PID = 2**31 - 1  # pid_t; larger values overflow in system calls

RETURN_INTERVAL_S = 60.0
"""Seconds between two calls of `return_free_memory` during long indexing; without them, free memory grows by 30 MB."""

POLL_INTERVAL_S = 0.005  # where the kernel has no process descriptors

_UNKNOWN = (None, UNKNOWN_START)


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
    """Return the start time of a process as an opaque text, or `None` if it does not run. A zombie does not run.

    `UNKNOWN_START` is the start time of every process where the system does not tell it.
    """
    return process_facts().start_time(pid) if 0 < pid <= MAX_PID else None


def measure_process_age(pid: int | None = None) -> float | None:
    """Return the seconds since a process started.

    Args:
        pid: The process; this one by default.

    Returns:
        `None` if there is no such process, or if the system does not tell its age.
    """
    return process_facts().age(os.getpid() if pid is None else pid)


def read_resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes, or 0 if it has ended or the system does not tell."""
    return process_facts().resident_bytes(pid)


def read_cpu_seconds(pid: int) -> float | None:
    """Return the CPU time that a process has used, or `None` if it has ended or the system does not tell."""
    return process_facts().cpu_seconds(pid)


def is_same_process(pid: int, started_at: str | None) -> bool:
    """Return whether `pid` runs and, as far as both start times are known, started at `started_at`."""
    now = read_start_time(pid)
    return now is not None and (now in (started_at, UNKNOWN_START) or started_at in _UNKNOWN)


def is_own_process(pid: int) -> bool:
    """Return whether a process runs as the current user."""
    return process_facts().is_own(pid)


def has_file_open(pid: int, path: Path) -> bool:
    """Return whether a process has a file open; `True` if the process cannot be inspected.

    Args:
        pid: A process of the current user.
        path: The file that has this name now.
    """
    try:
        return process_facts().has_open(pid, path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
    except OSError:
        return True


def is_own_holder(pid: int, started_at: str | None, path: Path | None = None) -> bool:
    """Return whether a process is the current user's, started at the given time and has a file open.

    Args:
        pid: The process.
        started_at: Its start time, or `None` if that is not known.
        path: The file; `None` to check the process only.
    """
    return is_same_process(pid, started_at) and is_own_process(pid) and (path is None or has_file_open(pid, path))


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

    def is_unknown(self) -> bool:
        """Return whether the system does not tell the start time, so that only the pid identifies the process."""
        return read_start_time(self.pid) == UNKNOWN_START

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
