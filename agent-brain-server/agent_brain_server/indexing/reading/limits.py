"""Limits on what reading and chunking one file may cost: the kernel ends a reader process that exceeds them.

A project's files may be hostile, and parsers run native code that cannot be interrupted from Python, so the limits are
set on the process: CPU time by an interval timer whose signal is not handled, memory by `RLIMIT_DATA`.
"""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

FIRST_TRY_CPU_S = 0.75
"""CPU for a file among others; what takes longer waits until all other files are indexed. 256 KB of code take 0.2."""

FULL_CPU_S = 4.0
"""CPU for a file that is read last; with the first try and the cut by lines it stays below 5 seconds altogether."""

MAX_MEMORY_BYTES = 600_000_000
"""Resident memory of a reader."""

LIBRARY_BYTES = 60_000_000
"""Part of the resident memory that is mapped from files (Python, grammars), which `RLIMIT_DATA` does not count."""

LIMITS_VERSION = 1
"""Increased when limits or parsers change: files that exceeded a limit before are tried again."""

EXIT_OUT_OF_MEMORY = 112
"""Exit code of a reader that could not allocate memory for a file."""

CPU_SIGNAL = signal.SIGPROF
"""Ends a process whose CPU time is used up."""


def confine_process() -> None:
    """Limit the memory of this process, and write no core file when it is ended."""
    _lower_limit(resource.RLIMIT_DATA, MAX_MEMORY_BYTES - LIBRARY_BYTES)
    _lower_limit(resource.RLIMIT_CORE, 0)


def _lower_limit(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (allowed, hard))


def allow_cpu(seconds: float) -> None:
    """End this process once it has used so much CPU from now on; 0 removes the limit."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


@contextmanager
def uncounted_cpu() -> Iterator[None]:
    """Exclude a block, such as the import of a library, from the CPU time that a file may take."""
    remaining, _ = signal.setitimer(signal.ITIMER_PROF, 0)
    try:
        yield
    finally:
        if remaining:
            signal.setitimer(signal.ITIMER_PROF, remaining)
