"""The steps of one size: cut, index, vectors, Chroma, queries. Each continues an earlier run."""

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent_brain_server.storage.exact_engine import EXACT_LIMIT
from benchmarks.client import Client
from benchmarks.growth.chroma_run import run_chroma
from benchmarks.growth.generated import write_generated_vectors
from benchmarks.growth.progress import Findings
from benchmarks.growth.sources import choose_half, cut_corpus, make_queries
from benchmarks.load import run_load
from benchmarks.processes import MEGABYTE, PROC, tree_cpu, tree_memory, wait_until_childless
from benchmarks.project import Project

EMBEDDED_UP_TO = 100_000
"""Largest size that the model embeds: the next one would take most of an hour."""

QUERIES = 200  # of each kind, none repeated
WARM_QUERIES = 20  # before those, not counted: they read pages from disk
CHROMA_VARIABLE = "AGENT_BRAIN_CHROMA_URL"
POLL_S = 0.25
WORKER_END_S = 60.0  # longest wait for the indexing worker, which ends 20 seconds after its last work


class Growth:
    """The run of one size.

    Args:
        size: Chunks.
        work: Keeps corpora, indexes and findings between runs.
        on_server: Go over to a Chroma server with the index that an earlier run has made.
        embed_up_to: Chunks up to which the model makes the vectors.
    """

    def __init__(self, size: int, work: Path, *, on_server: bool = False, embed_up_to: int = EMBEDDED_UP_TO) -> None:
        self._embed_up_to = embed_up_to
        self._place = work / f"{size}"
        self._root = self._place / "corpus"
        self._wheels = work / "wheels"
        self._results = findings_path(work, size, on_server=on_server)
        self._on_server = on_server
        self.found = Findings.load(self._results, size)
        if on_server and not self.found.chunks:
            before = Findings.load(findings_path(work, size), size)
            self.found = replace(before, chroma=0, chroma_wall=0.0, latencies={})

    def go_on(self, seconds: float, *, ask_now: bool = False) -> bool:
        """Run the remaining steps for about a given time, but the first index completely; return whether all are done.

        Args:
            seconds: Longest wait for vectors, and for Chroma.
            ask_now: Ask although Chroma is behind: what the project's users meet until it has caught up.
        """
        ends = time.monotonic() + seconds
        self._place.mkdir(parents=True, exist_ok=True)
        cut_corpus(self.found.size, self._root, self._wheels)
        if not self.found.chunks:
            self._index(Project(self._root, self._place))
            return False
        with self._chroma() as chroma, self._serving() as (state, client):
            if not self._follow(client, "total_vectors", ends):
                return False
            if not self._follow(client, "vectors_behind", ends) and not ask_now:
                return False
            if not self.found.latencies:
                self._ask(state)
                self.found.chroma_rss = tree_memory(chroma).rss if chroma else 0.0
        return True

    @contextmanager
    def _chroma(self) -> Iterator[int | None]:
        """Run the Chroma server if requested; yields its process id."""
        if not self._on_server:
            yield None
            return
        with run_chroma(self._place / "chroma") as (url, pid):
            os.environ[CHROMA_VARIABLE] = url
            yield pid
            del os.environ[CHROMA_VARIABLE]

    @contextmanager
    def _serving(self) -> Iterator[tuple[dict[str, Any], Client]]:
        with Project(self._root, self._place).serving() as state, Client(state) as client:
            yield state, client
        self.found.save(self._results)

    def _index(self, project: Project) -> None:
        """Measure the first index up to its keywords; write generated vectors for large sizes."""
        files = [path for path in self._root.rglob("*") if path.is_file()]
        self.found.files, self.found.bytes = len(files), sum(path.stat().st_size for path in files)
        project.forget()
        with self._serving() as (state, client):
            before = tree_cpu(state["pid"])
            usage = project.run("index", "--json", str(self._root))
            self.found.keywords_wall = usage.wall
            self.found.keywords_cpu = usage.cpu + tree_cpu(state["pid"]) - before
            self.found.chunks = client.call("GET", "/health/status")["total_chunks"]
        if self.found.size > self._embed_up_to:
            self.found.is_embedded = False
            started = time.perf_counter()
            self.found.vectors = write_generated_vectors(project.state_dir)
            self.found.vectors_wall = time.perf_counter() - started
            self.found.save(self._results)

    def _follow(self, client: Client, field: str, ends: float) -> bool:
        """Wait for vectors or for Chroma; return whether both are complete."""
        status = client.call("GET", "/health/status")
        first, started = status[field], time.perf_counter()
        last, moved_at = first, started
        while not _is_complete(status, field) and time.monotonic() < ends:
            time.sleep(POLL_S)
            status = client.call("GET", "/health/status")
            if status[field] != last:
                last, moved_at = status[field], time.perf_counter()
        moved = abs(last - first)
        if moved and field == "total_vectors":
            self.found.vectors += moved
            self.found.vectors_wall += moved_at - started
        elif moved:
            self.found.chroma += moved
            self.found.chroma_wall += moved_at - started
        return _is_complete(status, field)

    def _ask(self, state: Mapping[str, Any]) -> None:
        """Measure queries of each kind, memory and disk."""
        wait_until_childless(state["pid"], WORKER_END_S)
        questions = make_queries(self._root)
        with Client(state) as client:  # a new connection: an idle one was closed
            status = client.call("GET", "/health/status")
            client.call("POST", "/query", {"query": next(questions)})
        self.found.behind = status["vectors_behind"]
        self.found.vectors_at = _who_answers(status)
        self.found.started_rss = tree_memory(state["pid"]).rss
        half = {"file_paths": choose_half(self._root), "languages": ["python"]}
        for kind, options in (("hybrid", {}), ("filtered", half), ("keywords", {"mode": "bm25"})):
            run_load(state, list(itertools.islice(questions, WARM_QUERIES)), options=options)
            load = run_load(state, list(itertools.islice(questions, QUERIES)), options=options)
            self.found.latencies[kind] = [round(latency, 3) for latency in load.latencies]
        self.found.rss = tree_memory(state["pid"]).rss
        self.found.anonymous = _read_anonymous(state["pid"])
        data = self._place / "state" / "data"
        self.found.disk = {store.name: _measure_disk(store) for store in sorted(data.iterdir()) if store.is_dir()}


def findings_path(work: Path, size: int, *, on_server: bool = False) -> Path:
    """Return the path of the results of a run."""
    return work / f"{size}" / ("findings-server.json" if on_server else "findings.json")


def _is_complete(status: Mapping[str, Any], field: str) -> bool:
    if field == "vectors_behind":
        return bool(status[field] == 0 or status["vector_coverage"] < 1)
    return bool(status["vector_coverage"] >= 1 and not status["indexing_in_progress"])


def _who_answers(status: Mapping[str, Any]) -> str:
    """Return who compares vectors: "" for the matrix, "coarse" for its components first, "files" or "server"."""
    if status["vector_engine"] == "chroma":
        return "server" if status["vector_server"] else "files"
    return "coarse" if status["total_vectors"] > EXACT_LIMIT else ""


def _measure_disk(directory: Path) -> float:
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file()) / MEGABYTE


def _read_anonymous(pid: int) -> float:
    """Return the anonymous memory of a process in megabytes."""
    lines = (PROC / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024 / MEGABYTE
