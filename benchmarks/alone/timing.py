"""Shared by the processes of this package: read queries, print latencies."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

CANDIDATES = 150
"""Candidates that the product requests from each index."""

WARM = 20
"""First calls, not counted: they load pages and code."""

T = TypeVar("T")


def read_queries(path: str) -> list[str]:
    """Return the queries of a JSON file."""
    questions: list[str] = json.loads(Path(path).read_text(encoding="utf-8"))
    return questions


def time_calls(call: Callable[[T], object], arguments: Sequence[T]) -> list[float]:
    """Return the milliseconds of each call except the first ones."""
    latencies = []
    for argument in arguments:
        started = time.perf_counter()
        call(argument)
        latencies.append((time.perf_counter() - started) * 1000)
    return latencies[WARM:]


def report(latencies: Iterable[float]) -> None:
    """Print latencies for the parent process."""
    json.dump([round(latency, 4) for latency in latencies], sys.stdout)
