"""Ask the system about processes: start time, age, owner, memory, CPU time, open files.

Linux answers through `/proc` (proc(5)) within microseconds and without a library. Other systems are asked through
psutil, whose import costs some 20 ms and therefore happens on first use. Where `/proc` is hidden, as in some sandboxes,
only signal 0 is left: it tells whether a process exists, and a start time cannot be known.
"""

import os
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from psutil import Process

UNKNOWN_START = "-"
"""Start time of a process that runs on a system which does not tell it."""

PROC = Path("/proc")

# Fields of /proc/<pid>/stat after the closing parenthesis of the command: fields 3, 14, 15 and 22 of proc(5).
_STATE_FIELD = 0
_CPU_FIELDS = (11, 12)  # user and system time in clock ticks
_START_FIELD = 19

_UID_KEY = "Uid:"
_EFFECTIVE_UID = 2  # words of that line of /proc/<pid>/status: key, real, effective, saved, file system: proc(5)

_RESIDENT_FIELD = 1  # of /proc/<pid>/statm, in pages: proc(5)

_DEAD_STATES = ("Z", "X")  # zombie, dead


class ProcessFacts(Protocol):
    """Facts about processes from the system; each call allows for a process that has ended meanwhile."""

    def start_time(self, pid: int) -> str | None:
        """Return the start time as an opaque text without spaces, or `None` if the process has ended."""

    def age(self, pid: int) -> float | None:
        """Return the seconds since the process started, or `None` if it has ended or the system does not tell."""

    def resident_bytes(self, pid: int) -> int:
        """Return the resident memory, or 0 if the process has ended or the system does not tell."""

    def cpu_seconds(self, pid: int) -> float | None:
        """Return the CPU time used, or `None` if the process has ended or the system does not tell."""

    def is_own(self, pid: int) -> bool:
        """Return whether the process runs as the current user."""

    def has_open(self, pid: int, facts: os.stat_result) -> bool:
        """Return whether the process has a file open; `True` if it cannot be inspected.

        Raises:
            FileNotFoundError: The process has ended.
        """


@cache
def process_facts() -> ProcessFacts:
    """Return the best source of this system."""
    if (PROC / "self/stat").exists():
        return ProcFacts()
    return SignalFacts() if sys.platform == "linux" else PsutilFacts()


class ProcFacts:
    """The answers of Linux's `/proc`."""

    def start_time(self, pid: int) -> str | None:
        """Return the clock ticks from boot to the start of the process."""
        fields = _read_stat(pid)
        return None if fields is None else fields[_START_FIELD]

    def age(self, pid: int) -> float | None:
        """Return the seconds since the start; changes of the clock have no effect."""
        ticks = self.start_time(pid)
        if ticks is None:
            return None
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK"))

    def resident_bytes(self, pid: int) -> int:
        """Return the resident memory."""
        try:
            pages = (PROC / str(pid) / "statm").read_text(encoding="ascii").split()[_RESIDENT_FIELD]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self, pid: int) -> float | None:
        """Return the user and system time."""
        fields = _read_stat(pid)
        if fields is None:
            return None
        return sum(int(fields[field]) for field in _CPU_FIELDS) / os.sysconf("SC_CLK_TCK")

    def is_own(self, pid: int) -> bool:
        """Compare the effective user."""
        try:
            status = (PROC / str(pid) / "status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return False
        line = next((line for line in status.splitlines() if line.startswith(_UID_KEY)), "")
        return line.split()[_EFFECTIVE_UID : _EFFECTIVE_UID + 1] == [str(os.geteuid())]

    def has_open(self, pid: int, facts: os.stat_result) -> bool:
        """Compare device and inode of every open file."""
        directory = PROC / str(pid) / "fd"
        try:
            descriptors = sorted(os.listdir(directory), key=int)  # a server's lock is among the first that it opens
        except FileNotFoundError:
            raise
        except OSError:  # for example a program with capabilities
            return True
        return any(_is_same_file(directory / number, facts) for number in descriptors)


class PsutilFacts:
    """The answers of psutil, for macOS and other systems without `/proc`."""

    def start_time(self, pid: int) -> str | None:
        """Return the seconds since the epoch at which the process started."""
        process = _find_process(pid)
        return None if process is None else f"{process.create_time():.2f}"

    def age(self, pid: int) -> float | None:
        """Return the seconds since the start, by the clock."""
        process = _find_process(pid)
        return None if process is None else max(0.0, time.time() - process.create_time())

    def resident_bytes(self, pid: int) -> int:
        """Return the resident memory."""
        from psutil import Error  # noqa: PLC0415 - on first use, see the module

        try:
            process = _find_process(pid)
            return 0 if process is None else int(process.memory_info().rss)
        except Error:
            return 0

    def cpu_seconds(self, pid: int) -> float | None:
        """Return the user and system time."""
        from psutil import Error  # noqa: PLC0415 - on first use, see the module

        try:
            process = _find_process(pid)
            times = None if process is None else process.cpu_times()
        except Error:
            return None
        return None if times is None else float(times.user + times.system)

    def is_own(self, pid: int) -> bool:
        """Compare the effective user."""
        from psutil import Error  # noqa: PLC0415 - on first use, see the module

        try:
            process = _find_process(pid)
            return process is not None and process.uids().effective == os.geteuid()
        except Error:
            return False

    def has_open(self, pid: int, facts: os.stat_result) -> bool:
        """Compare device and inode of every open file that still has its name."""
        from psutil import AccessDenied, NoSuchProcess, Process  # noqa: PLC0415 - on first use, see the module

        try:
            opened = Process(pid).open_files()
        except NoSuchProcess:
            raise FileNotFoundError(pid) from None
        except AccessDenied:
            return True
        return any(_is_same_file(Path(file.path), facts) for file in opened)


class SignalFacts:
    """Facts from signal 0 alone: whether a process exists, and whether it may be signalled."""

    def start_time(self, pid: int) -> str | None:
        """Return that the start time is unknown, or `None` if there is no such process."""
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:  # it runs as another user
            pass
        return UNKNOWN_START

    def age(self, pid: int) -> None:
        """Return that the age is unknown."""

    def resident_bytes(self, pid: int) -> int:
        """Return that the memory is unknown."""
        return 0

    def cpu_seconds(self, pid: int) -> None:
        """Return that the CPU time is unknown."""

    def is_own(self, pid: int) -> bool:
        """Return whether the process may be signalled; root may signal every process."""
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True

    def has_open(self, pid: int, facts: os.stat_result) -> bool:
        """Return that the process cannot be inspected."""
        if self.start_time(pid) is None:
            raise FileNotFoundError(pid)
        return True


def _find_process(pid: int) -> "Process | None":
    from psutil import STATUS_DEAD, STATUS_ZOMBIE, Error, Process  # noqa: PLC0415 - on first use, see the module

    try:
        process = Process(pid)
        return None if process.status() in (STATUS_ZOMBIE, STATUS_DEAD) else process
    except Error:
        return None


def _is_same_file(path: Path, facts: os.stat_result) -> bool:
    try:
        found = path.stat()
    except OSError:  # closed since it was listed
        return False
    return (found.st_dev, found.st_ino) == (facts.st_dev, facts.st_ino)


def _read_stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the third on, or `None` if the process has ended or is a zombie."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # the name of the command may contain parentheses and spaces
    fields = text.rpartition(")")[2].split()
    if len(fields) <= _START_FIELD or fields[_STATE_FIELD] in _DEAD_STATES:
        return None
    return fields
