"""Reference runs for the figures."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.client import Client
from benchmarks.processes import Usage, run_command, tree_cpu

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class BareServer:
    """A running bare server: its address, and the time until its first answer."""

    pid: int
    state: dict[str, Any]
    cpu: float
    wall: float


@contextmanager
def bare_server(answer: Path | None = None) -> Iterator[BareServer]:
    """Run a bare FastAPI server during the block; it answers every query with the JSON of the file."""
    argv = [sys.executable, "-m", "benchmarks.bare_server", *([str(answer)] if answer else [])]
    started = time.perf_counter()
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("Popen made no pipe")
            state = {"pid": process.pid, "base_url": f"http://127.0.0.1:{process.stdout.readline().strip()}"}
            with Client(state) as client:
                client.call("GET", "/health")
            yield BareServer(process.pid, state, tree_cpu(process.pid), time.perf_counter() - started)
        finally:
            process.terminate()


def bare_python() -> Usage:
    """Run an interpreter that does nothing."""
    return run_command([sys.executable, "-c", "pass"])


def plain_index(corpus: Path) -> Usage:
    """Index the corpus in the simplest way."""
    return run_command([sys.executable, "-m", "benchmarks.plain_index", corpus], cwd=REPOSITORY)


def embedder_alone(corpus: Path) -> float:
    """Return the chunks per second of the embedder alone."""
    return float(run_command([sys.executable, "-m", "benchmarks.embedder_alone", corpus], cwd=REPOSITORY).stdout)


def plain_walk(corpus: Path) -> float:
    """Return the CPU seconds of one stat per file."""
    started = time.process_time()
    for path in corpus.rglob("*"):
        path.stat()
    return time.process_time() - started
