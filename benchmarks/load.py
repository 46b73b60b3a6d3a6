"""Clients in a separate process, so that measuring does not slow the server.

`python -m benchmarks.load` reads a JSON object from standard input (`state`, `clients`, `questions`, `options`), lets
that many clients send the queries concurrently, and prints every latency and the total wall time.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.client import Client
from benchmarks.processes import tree_cpu


@dataclass(frozen=True, slots=True)
class Load:
    """Results of a load run.

    Attributes:
        latencies: Milliseconds of each query.
        rate: Queries a second of all clients together.
        cpu: Milliseconds of the server's CPU for a query, on average.
    """

    latencies: tuple[float, ...]
    rate: float
    cpu: float


def run_load(
    state: Mapping[str, Any], questions: Sequence[str], clients: int = 1, options: Mapping[str, Any] | None = None
) -> Load:
    """Send the queries from several concurrent clients in another process.

    Args:
        state: Of the server, its pid included.
        questions: The queries, each sent by one client.
        clients: How many ask at the same time.
        options: Further fields of each request's body.
    """
    order = json.dumps(
        {"state": dict(state), "clients": clients, "questions": list(questions), "options": dict(options or {})}
    )
    argv = [sys.executable, "-m", "benchmarks.load"]
    before = tree_cpu(state["pid"])
    done = subprocess.run(
        argv, input=order, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True
    )
    answer = json.loads(done.stdout)
    used = (tree_cpu(state["pid"]) - before) * 1000 / len(questions)
    return Load(tuple(answer["latencies"]), len(answer["latencies"]) / answer["wall"], used)


def _ask_all(state: Mapping[str, Any], questions: Sequence[str], options: Mapping[str, Any]) -> list[float]:
    with Client(state) as client:
        return [client.time_query(question, options) for question in questions]


def main() -> None:
    """Run the load that standard input describes."""
    order = json.load(sys.stdin)
    clients, questions, options = order["clients"], order["questions"], order["options"]
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        shares = list(pool.map(lambda i: _ask_all(order["state"], questions[i::clients], options), range(clients)))
    wall = time.perf_counter() - started
    json.dump({"latencies": [latency for share in shares for latency in share], "wall": wall}, sys.stdout)


if __name__ == "__main__":
    main()
