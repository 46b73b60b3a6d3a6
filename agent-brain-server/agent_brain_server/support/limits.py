"""CPU and memory limits for reading and chunking one file; the kernel kills a reader process that exceeds them.

A project's files may be hostile, and parsers run native code that cannot be interrupted from Python. The limits
therefore apply to the process: an interval timer with an unhandled signal for CPU time, `RLIMIT_DATA` for memory. The
kernel of macOS does not enforce the second one.
"""

import contextlib
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

FIRST_TRY_CPU_S = 0.75  # slower files are deferred until all others are indexed; 256 KB of code take 0.2 s
FULL_CPU_S = 4.0  # for a deferred file; below 5 s in total with the first try and the split by lines
MAX_MEMORY_BYTES = 600_000_000  # resident memory of a reader
LIBRARY_BYTES = 60_000_000  # resident memory mapped from files (Python, grammars), not counted by `RLIMIT_DATA`
LIMITS_VERSION = 1  # increase it when limits or parsers change, so that files that exceeded a limit are retried
EXIT_OUT_OF_MEMORY = 112  # exit code of a reader that failed to allocate memory
CPU_SIGNAL = signal.SIGPROF  # kills a process that has used its CPU time


def confine_process() -> None:
    """Limit the memory of this process, and disable core files."""
    _lower_limit(resource.RLIMIT_DATA, MAX_MEMORY_BYTES - LIBRARY_BYTES)
    _lower_limit(resource.RLIMIT_CORE, 0)


def _lower_limit(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some values of limits that it does not enforce
        resource.setrlimit(kind, (allowed, hard))


def allow_cpu(seconds: float) -> None:
    """Kill this process after it has used this many further CPU seconds; 0 removes the limit."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


@contextmanager
def uncounted_cpu() -> Iterator[None]:
    """Exclude a block, such as the import of a library, from the CPU limit of a file."""
    remaining, _ = signal.setitimer(signal.ITIMER_PROF, 0)
    try:
        yield
    finally:
        if remaining:
            signal.setitimer(signal.ITIMER_PROF, remaining)
