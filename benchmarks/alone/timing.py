"""What the processes of this package have in common: questions in, latencies out."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

CANDIDATES = 150
"""As many as the product asks each of its indexes for."""

WARM = 20
"""First calls that are not counted: they load pages and code."""

T = TypeVar("T")


def read_questions(path: str) -> list[str]:
    """Return the questions of a JSON file."""
    questions: list[str] = json.loads(Path(path).read_text(encoding="utf-8"))
    return questions


def time_calls(call: Callable[[T], object], arguments: Sequence[T]) -> list[float]:
    """Return the milliseconds of each call but the first ones."""
    latencies = []
    for argument in arguments:
        started = time.perf_counter()
        call(argument)
        latencies.append((time.perf_counter() - started) * 1000)
    return latencies[WARM:]


def tell(latencies: Iterable[float]) -> None:
    """Print latencies for the process that waits for them."""
    json.dump([round(latency, 4) for latency in latencies], sys.stdout)
