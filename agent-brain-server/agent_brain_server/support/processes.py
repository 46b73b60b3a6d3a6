"""Processes told apart for certain: a process is its pid together with the time at which it started."""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

RETURN_INTERVAL_S = 60.0
"""Between two returns while there is always something to index; what is free grows by some 30 MB otherwise."""


def return_free_memory() -> None:
    """Let the C library give back what it keeps for later; takes some milliseconds, and does nothing where it can't.

    Indexing in many threads leaves free memory in as many of its arenas, which it does not return by itself.
    """
    library = _load_c_library()
    if library is not None:
        library.malloc_trim(0)


@cache
def _load_c_library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None  # musl has none, and needs none


POLL_INTERVAL_S = 0.005  # only where the system can't tell that a process ended
MAX_PID = 2**31 - 1  # pid_t; larger values overflow in system calls
PS_TIMEOUT_S = 2.0

_HAS_PROC = Path("/proc/self/stat").exists()  # Linux; elsewhere `ps` is asked

_STATE_FIELD = 0
_START_FIELD = 19
"""Positions in /proc/<pid>/stat after the command's closing parenthesis: fields 3 and 22 of proc(5)."""

_CPU_FIELDS = (11, 12)
"""Positions of user and system time in clock ticks, counted in the same way."""

_UID_KEY = "Uid:"
_EFFECTIVE_UID = 2  # of the words of that line of /proc/<pid>/status: key, real, effective, saved, file system: proc(5)

_RESIDENT_FIELD = 1  # of /proc/<pid>/statm, in pages: proc(5)

_DEAD_STATES = ("Z", "X")  # zombie, dead


def read_start_time(pid: int) -> str | None:
    """Return when a process started, as an opaque text to compare, or None where no such process runs.

    A zombie does not run.
    """
    if not 0 < pid <= MAX_PID:
        return None
    if _HAS_PROC:
        return _read_proc_start(pid)
    return _ask_ps_start(pid)


def measure_process_age(pid: int | None = None) -> float | None:
    """Return the seconds since a process started, whatever was done to the clock since.

    Args:
        pid: The process; this one where None.

    Returns:
        None where the system does not tell, or there is no such process.
    """
    ticks = _read_proc_start(os.getpid() if pid is None else pid) if _HAS_PROC else None
    if ticks is None:
        return None
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK"))


def read_resident_bytes(pid: int) -> int:
    """Return how much memory a process has in use; 0 where it is gone or the system does not tell."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[_RESIDENT_FIELD]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def read_cpu_seconds(pid: int) -> float | None:
    """Return the CPU time that a process has used, `None` if it is gone or the system does not tell."""
    fields = _read_proc_stat(pid)
    if fields is None:
        return None
    return sum(int(fields[field]) for field in _CPU_FIELDS) / os.sysconf("SC_CLK_TCK")


def is_same_process(pid: int, started_at: str | None) -> bool:
    """Return whether `pid` runs and, if `started_at` is known, is the process that started then."""
    now = read_start_time(pid)
    return now is not None and (started_at is None or now == started_at)


def is_own_process(pid: int) -> bool:
    """Return whether a process runs as the current user, and may therefore be asked and signalled."""
    if not _HAS_PROC:
        return _ask_ps(pid, "uid=") == str(os.geteuid())
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    line = next((line for line in status.splitlines() if line.startswith(_UID_KEY)), "")
    return line.split()[_EFFECTIVE_UID : _EFFECTIVE_UID + 1] == [str(os.geteuid())]


def has_file_open(pid: int, path: Path) -> bool:
    """Return whether a process has a file open; also if the system does not tell.

    Args:
        pid: A process of the current user.
        path: The file that has this name now.
    """
    try:
        facts = path.stat(follow_symlinks=False)
        # a server's lock is among the first files that it opens
        descriptors = sorted(os.listdir(f"/proc/{pid}/fd"), key=int)
    except FileNotFoundError:
        return not _HAS_PROC
    except OSError:  # a process that may not be inspected, such as one of a program with capabilities
        return True
    return any(_is_open_as(f"/proc/{pid}/fd/{number}", facts) for number in descriptors)


def _is_open_as(descriptor: str, facts: os.stat_result) -> bool:
    try:
        found = os.stat(descriptor)
    except OSError:  # closed meanwhile
        return False
    return (found.st_dev, found.st_ino) == (facts.st_dev, facts.st_ino)


def _read_proc_start(pid: int) -> str | None:
    fields = _read_proc_stat(pid)
    return None if fields is None else fields[_START_FIELD]


def _read_proc_stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the third on, `None` if there is no such process or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # the command's name may hold anything, parentheses and spaces too
    fields = text.rpartition(")")[2].split()
    if len(fields) <= _START_FIELD or fields[_STATE_FIELD] in _DEAD_STATES:
        return None
    return fields


def _ask_ps_start(pid: int) -> str | None:
    state, _, started = _ask_ps(pid, "stat=,lstart=").partition(" ")
    return None if not started or state.startswith(_DEAD_STATES) else started.strip()


def _ask_ps(pid: int, columns: str) -> str:
    command = ["ps", "-o", columns, "-p", str(pid)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=PS_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


@dataclass
class ProcessHandle:
    """A process that was proven to be the one; a signal through it reaches no other, even if the pid is used again."""

    pid: int
    started_at: str | None
    _descriptor: int | None = None

    @classmethod
    def open(cls, pid: int, started_at: str | None) -> "ProcessHandle | None":
        """Return a handle on the process `pid` of this user that started at `started_at`; `None` if there is none."""
        descriptor = None
        if 0 < pid <= MAX_PID and hasattr(os, "pidfd_open"):
            # an old kernel or a sandbox may refuse: then the start time alone has to do
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(pid)
        handle = cls(pid, started_at, descriptor)
        # compared after opening: from here on the handle can't come to mean another process
        if is_same_process(pid, started_at) and is_own_process(pid):
            return handle
        handle.close()
        return None

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal; a process that has ended is left in peace.

        Raises:
            PermissionError: The process belongs to another user.
        """
        with contextlib.suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signal_number)
            elif is_same_process(self.pid, self.started_at):
                os.kill(self.pid, signal_number)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the process has ended; False where it still runs after `timeout_s` seconds."""
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
        """Give the descriptor back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
