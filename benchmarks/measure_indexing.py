"""Measure first indexes of the corpus, and answers during them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.client import Client
from benchmarks.figures import Measured, measured, percentile
from benchmarks.load import run_load
from benchmarks.probe import Probe
from benchmarks.processes import tree_cpu
from benchmarks.project import Project
from benchmarks.references import bare_server, embedder_alone, plain_index

VECTOR_SECONDS = 15  # long enough for more than a thousand vectors at the target rate
HEALTH_INTERVAL = 0.02  # seconds between probes: short enough to see every pause of 60 ms
QUERY_INTERVAL = 0.1
BARE_SAMPLE = 200  # requests


@dataclass(frozen=True, slots=True)
class FirstIndex:
    """One first index: seconds until keyword answers were complete, and the embedding rate after that."""

    wall: float
    cpu: float
    vectors_rate: float


def index_afresh(project: Project, state: dict[str, Any]) -> FirstIndex:
    """Index the empty project with the command, then watch the vectors for a while."""
    cpu_before = tree_cpu(state["pid"])
    usage = project.run("index", "--json", str(project.root))
    cpu = usage.cpu + tree_cpu(state["pid"]) - cpu_before
    with Client(state) as client:
        before, started = client.call("GET", "/health/status"), time.perf_counter()
        time.sleep(VECTOR_SECONDS)
        after, ended = client.call("GET", "/health/status"), time.perf_counter()
    rate = (after["total_vectors"] - before["total_vectors"]) / (ended - started)
    return FirstIndex(usage.wall, cpu, rate)


def measure_first_index(project: Project, runs: int) -> list[Measured]:
    """Measure first indexes without other load."""
    indexes: list[FirstIndex] = []
    plain: list[tuple[float, float]] = []
    embedder: list[float] = []
    for _ in range(runs):
        project.forget()
        with project.serving() as state:
            indexes.append(index_afresh(project, state))
        usage = plain_index(project.root)
        plain.append((usage.wall, usage.cpu))
        embedder.append(embedder_alone(project.root))
    return [
        measured("keywords_wall", (index.wall for index in indexes), (wall for wall, _ in plain)),
        measured("keywords_cpu", (index.cpu for index in indexes), (cpu for _, cpu in plain)),
        measured("vectors_rate", (index.vectors_rate for index in indexes), embedder),
    ]


def ask_next(client: Client, questions: Iterator[str]) -> float:
    """Send the next query and return its milliseconds."""
    return client.time_query(next(questions))


def measure_answers_meanwhile(project: Project, runs: int, questions: Iterator[str], answer: Path) -> list[Measured]:
    """Measure /health and queries during first indexes; the reference answers without load."""
    healths: list[float] = []
    queries: list[float] = []
    bare_healths: list[float] = []
    bare_queries: list[float] = []
    for _ in range(runs):
        project.forget()
        with project.serving() as state, Client(state) as one, Client(state) as other:
            health = Probe(partial(one.time_call, "GET", "/health"), HEALTH_INTERVAL)
            query = Probe(partial(ask_next, other, questions), QUERY_INTERVAL)
            with health, query:
                index_afresh(project, state)
        healths.append(max(health.samples))
        queries.append(percentile(query.samples, 0.95))
        with bare_server(answer) as bare:
            with Client(bare.state) as client:
                bare_healths.append(max(client.time_call("GET", "/health") for _ in range(BARE_SAMPLE)))
            bare_queries.append(percentile(run_load(bare.state, ["x"] * BARE_SAMPLE).latencies, 0.95))
    return [
        measured("health_longest", healths, bare_healths),
        measured("query_indexing_p95", queries, bare_queries),
    ]
