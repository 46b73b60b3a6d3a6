"""Measure a server with the complete index: queries, memory, and indexing again."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.client import Client
from benchmarks.figures import Measured, measured, percentile
from benchmarks.load import Load, run_load
from benchmarks.probe import Probe
from benchmarks.processes import tree_cpu, tree_memory, wait_until_childless
from benchmarks.project import Project, wait_for_vectors
from benchmarks.references import bare_server, plain_walk

QUERIES = 200  # per run, none repeated
CLIENTS = 8
CLIENTS_QUERIES = 800  # per run: at least five seconds
FILTER = {"languages": ["python"], "file_paths": ["django/contrib/**", "django/db/**"]}  # half of the corpus
KEYWORDS = {"mode": "bm25"}
INDEX_SECONDS = 900  # longest wait for the complete index
MEMORY_INTERVAL = 0.5
WORKER_END_SECONDS = 60  # longest wait for the indexing worker, which ends 20 seconds after its last work


def index_wholly(project: Project, state: dict[str, Any]) -> tuple[dict[str, Any], Measured]:
    """Index the corpus completely; return the last status and the highest memory meanwhile."""
    with Probe(lambda: tree_memory(state["pid"]).pss, MEMORY_INTERVAL) as memory:
        project.run("index", "--json", str(project.root))
        status = wait_for_vectors(state, INDEX_SECONDS)
    return status, measured("memory_peak", [max(memory.samples)])


def save_answer(state: dict[str, Any], question: str, path: Path) -> None:
    """Save a real answer for the bare server."""
    with Client(state) as client:
        path.write_text(json.dumps(client.call("POST", "/query", {"query": question})))


def measure_reindex(project: Project, state: dict[str, Any], runs: int) -> list[Measured]:
    """Measure the CPU of `agent-brain index --wait` without changes, in command and server."""
    used: list[float] = []
    plain: list[float] = []
    for _ in range(runs):
        before = tree_cpu(state["pid"])
        usage = project.run("index", "--wait", "--json", str(project.root))
        used.append(usage.cpu + tree_cpu(state["pid"]) - before)
        plain.append(plain_walk(project.root))
    return [measured("reindex_cpu", used, plain)]


def measure_queries(state: dict[str, Any], runs: int, questions: Iterator[str], answer: Path) -> list[Measured]:
    """Measure hybrid queries of one and of several clients, filtered queries and keywords; no query is repeated."""
    alone: list[Load] = []
    filtered: list[Load] = []
    keywords: list[Load] = []
    together: list[Load] = []
    bare_alone: list[Load] = []
    bare_together: list[Load] = []
    with bare_server(answer) as bare:
        servers = ((state, alone, together), (bare.state, bare_alone, bare_together))
        for _ in range(runs):
            for loads, options in ((filtered, FILTER), (keywords, KEYWORDS)):
                loads.append(run_load(state, list(itertools.islice(questions, QUERIES)), options=options))
            one = list(itertools.islice(questions, QUERIES))
            many = list(itertools.islice(questions, CLIENTS_QUERIES))
            for server, loads_alone, loads_together in servers:
                loads_alone.append(run_load(server, one))
                loads_together.append(run_load(server, many, CLIENTS))
    return [
        measured("query_p50", _percentiles(alone, 0.5), _percentiles(bare_alone, 0.5)),
        measured("query_p95", _percentiles(alone, 0.95), _percentiles(bare_alone, 0.95)),
        measured("query_cpu", (load.cpu for load in alone), (load.cpu for load in bare_alone)),
        measured("filtered_p50", _percentiles(filtered, 0.5), _percentiles(alone, 0.5)),
        measured("keywords_p50", _percentiles(keywords, 0.5), _percentiles(bare_alone, 0.5)),
        measured("keywords_p95", _percentiles(keywords, 0.95), _percentiles(bare_alone, 0.95)),
        measured("query_rate", (load.rate for load in together), (load.rate for load in bare_together)),
    ]


def _percentiles(loads: list[Load], share: float) -> list[float]:
    return [percentile(load.latencies, share) for load in loads]


def measure_memory(state: dict[str, Any], runs: int) -> list[Measured]:
    """Measure the memory of the server after all of the above, once its worker has ended."""
    wait_until_childless(state["pid"], WORKER_END_SECONDS)
    memories = [tree_memory(state["pid"]) for _ in range(runs)]
    with bare_server() as bare:
        bare_memory = tree_memory(bare.pid)
    return [
        measured("memory_indexed", (memory.rss for memory in memories), [bare_memory.rss]),
        measured("memory_indexed_pss", (memory.pss for memory in memories), [bare_memory.pss]),
    ]
