"""CPU time and memory of process trees, from /proc."""

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
MEGABYTE = 1_000_000
CHILD_INTERVAL = 0.5  # seconds between two checks


@dataclass(frozen=True, slots=True)
class Usage:
    """Time of a command: CPU seconds, including children that it waited for, and wall seconds."""

    cpu: float
    wall: float
    stdout: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes: resident pages (RSS), and resident pages with shared ones divided by their users (PSS)."""

    rss: float
    pss: float


class CommandError(Exception):
    """A command of the benchmark failed; the message has its output."""


def run_command(argv: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Usage:
    """Run a command to its end.

    Raises:
        CommandError: It exited with another status than 0.
    """
    before, started = _children_cpu(), time.perf_counter()
    done = subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - started
    if done.returncode:
        raise CommandError(f"{' '.join(map(str, argv))} exited {done.returncode}: {done.stderr.strip()[-2000:]}")
    return Usage(_children_cpu() - before, wall, done.stdout)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tree_cpu(root: int) -> float:
    """Return the CPU seconds of a process, its living descendants, and its dead ones that were waited for."""
    # utime, stime, cutime and cstime are fields 14 to 17 of proc_pid_stat(5); the list starts with the third.
    return sum(sum(map(int, fields[11:15])) for fields in _tree(root).values()) / TICKS_PER_SECOND


def tree_memory(root: int) -> Memory:
    """Return the memory of a process and its living descendants."""
    memories = [_memory(pid) for pid in _tree(root)]
    return Memory(sum(memory.rss for memory in memories), sum(memory.pss for memory in memories))


def wait_until_childless(root: int, limit: float) -> None:
    """Wait until a process has no children.

    Raises:
        TimeoutError: It still has some after `limit` seconds.
    """
    ends = time.monotonic() + limit
    while len(_tree(root)) > 1:
        if time.monotonic() > ends:
            raise TimeoutError(f"process {root} still has children after {limit:.0f} seconds")
        time.sleep(CHILD_INTERVAL)


def _memory(pid: int) -> Memory:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return Memory(0, 0)  # the process ended meanwhile
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return Memory(kilobytes["Rss"] * 1024 / MEGABYTE, kilobytes["Pss"] * 1024 / MEGABYTE)


def _tree(root: int) -> dict[int, list[str]]:
    """Map a process and its descendants to their stat fields from the third on."""
    stats = {int(path.name): fields for path in PROC.glob("[0-9]*") if (fields := _stat_fields(path))}
    members = {root: stats[root]} if root in stats else {}
    while found := {pid: fields for pid, fields in stats.items() if int(fields[1]) in members and pid not in members}:
        members |= found
    return members


def _stat_fields(process: Path) -> list[str]:
    try:
        return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
