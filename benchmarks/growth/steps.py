"""The steps of one size and engine: cut, index, vectors, queries. Each continues an earlier run."""

import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent_brain_server.storage_paths import HOME_VARIABLE
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
ENGINE_VARIABLE = "AGENT_BRAIN_VECTOR_ENGINE"
CHROMA_VARIABLE = "AGENT_BRAIN_CHROMA_URL"
ENGINES = ("exact", "chroma", "server")
POLL_S = 0.25
WORKER_END_S = 60.0  # longest wait for the indexing worker, which ends 20 seconds after its last work


class Growth:
    """The run of one size with one engine.

    Args:
        size: Chunks.
        work: Keeps corpora, indexes and findings between runs.
        engine: One of `ENGINES`; each has its own index of the corpus.
        embed_up_to: Chunks up to which the model makes the vectors.
    """

    def __init__(self, size: int, work: Path, *, engine: str = "exact", embed_up_to: int = EMBEDDED_UP_TO) -> None:
        self._embed_up_to = embed_up_to
        self._engine = engine
        self._root = work / f"{size}" / "corpus"
        self._place = work / f"{size}" / engine
        self._wheels = work / "wheels"
        self._results = findings_path(work, size, engine)
        self.found = Findings.load(self._results, size, engine)

    def go_on(self, seconds: float) -> bool:
        """Run the remaining steps for about a given time, but the first index completely; return whether all are done.

        Args:
            seconds: Longest wait for vectors.
        """
        ends = time.monotonic() + seconds
        self._place.mkdir(parents=True, exist_ok=True)
        cut_corpus(self.found.size, self._root, self._wheels)
        with self._using_engine() as chroma:
            if not self.found.chunks:
                self._index(Project(self._root, self._place), [chroma] if chroma else [])
            with self._serving() as (state, client):
                pids = [state["pid"], *([chroma] if chroma else [])]
                if not self._follow_vectors(client, pids, ends):
                    return False
                if not self.found.latencies:
                    self._ask(state, pids)
                    self.found.chroma_rss = tree_memory(chroma).rss if chroma else 0.0
        return True

    @contextmanager
    def _using_engine(self) -> Iterator[int | None]:
        """Select the engine for the servers that are started; yields the process id of the Chroma server, if any."""
        os.environ[ENGINE_VARIABLE] = "exact" if self._engine == "exact" else "chroma"
        os.environ[HOME_VARIABLE] = str(self._place / "home")  # its key marks the index, also for this process
        try:
            if self._engine == "server":
                with run_chroma(self._place / "chroma") as (url, pid):
                    os.environ[CHROMA_VARIABLE] = url
                    yield pid
            else:
                yield None
        finally:
            for variable in (ENGINE_VARIABLE, HOME_VARIABLE, CHROMA_VARIABLE):
                os.environ.pop(variable, None)

    @contextmanager
    def _serving(self) -> Iterator[tuple[dict[str, Any], Client]]:
        with Project(self._root, self._place).serving() as state, Client(state) as client:
            yield state, client
        self.found.save(self._results)

    def _index(self, project: Project, others: Sequence[int]) -> None:
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
            started, cpu = time.perf_counter(), time.process_time() + _sum_cpu(others)
            self.found.vectors = write_generated_vectors(project.state_dir)
            self.found.vectors_wall = time.perf_counter() - started
            self.found.vectors_cpu = time.process_time() + _sum_cpu(others) - cpu
            self.found.save(self._results)

    def _follow_vectors(self, client: Client, pids: Sequence[int], ends: float) -> bool:
        """Wait until every chunk has a vector; return whether that was reached."""
        status = client.call("GET", "/health/status")
        first, started, cpu = status["total_vectors"], time.perf_counter(), _sum_cpu(pids)
        last, moved_at = first, started
        while not _is_complete(status) and time.monotonic() < ends:
            time.sleep(POLL_S)
            status = client.call("GET", "/health/status")
            if status["total_vectors"] != last:
                last, moved_at = status["total_vectors"], time.perf_counter()
        if last > first:
            self.found.vectors += last - first
            self.found.vectors_wall += moved_at - started
            self.found.vectors_cpu += _sum_cpu(pids) - cpu
        return _is_complete(status)

    def _ask(self, state: Mapping[str, Any], pids: Sequence[int]) -> None:
        """Measure queries of each kind, memory and disk."""
        wait_until_childless(state["pid"], WORKER_END_S)
        questions = make_queries(self._root)
        with Client(state) as client:  # a new connection: an idle one was closed
            client.call("POST", "/query", {"query": next(questions)})
        self.found.started_rss = tree_memory(state["pid"]).rss
        half = {"file_paths": choose_half(self._root), "languages": ["python"]}
        for kind, options in (("hybrid", {}), ("filtered", half), ("keywords", {"mode": "bm25"})):
            run_load(state, list(itertools.islice(questions, WARM_QUERIES)), options=options)
            cpu = _sum_cpu(pids)
            load = run_load(state, list(itertools.islice(questions, QUERIES)), options=options)
            self.found.query_cpu[kind] = (_sum_cpu(pids) - cpu) / QUERIES * 1000
            self.found.latencies[kind] = [round(latency, 3) for latency in load.latencies]
        self.found.rss = tree_memory(state["pid"]).rss
        self.found.anonymous = _read_anonymous(state["pid"])
        data = self._place / "state" / "data"
        self.found.disk = {store.name: _measure_disk(store) for store in sorted(data.iterdir()) if store.is_dir()}


def findings_path(work: Path, size: int, engine: str = "exact") -> Path:
    """Return the path of the findings of a run."""
    return work / f"{size}" / f"findings-{engine}.json"


def _is_complete(status: Mapping[str, Any]) -> bool:
    return bool(status["vector_coverage"] >= 1 and not status["indexing_in_progress"])


def _sum_cpu(pids: Sequence[int]) -> float:
    return sum(tree_cpu(pid) for pid in pids)


def _measure_disk(directory: Path) -> float:
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file()) / MEGABYTE


def _read_anonymous(pid: int) -> float:
    """Return the anonymous memory of a process in megabytes."""
    lines = (PROC / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024 / MEGABYTE
