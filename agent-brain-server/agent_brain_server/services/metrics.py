"""Metrics of one server, for Prometheus.

Each server has its own registry. `docs/API.md` explains each metric, and a test compares the two.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from agent_brain_server.models import JobState
from agent_brain_server.types import StoreCounts

LATENCY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.014, 0.02, 0.05, 0.1, 0.5, 2.0)
"""Dense in the expected range of a query (1 to 20 ms), with room for slow ones."""

DISCOVERY_BUCKETS_S = (0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.06, 0.2, 1.0)
"""`/health` answers in a fraction of a millisecond, and within 60 ms during indexing."""


@dataclass(frozen=True, slots=True)
class IndexFigures:
    """Current figures of one open index.

    Attributes:
        counts: Counts of the document store.
        keyword_chunks: Chunks in the keyword index.
        stored_vectors: Chunks in the vector store.
        files_pending: Files that are known to have changed, or are partly indexed.
        jobs_queued: Queued jobs.
        jobs_running: Running jobs, including those that only wait for vectors.
        worker_bytes: Memory of the indexing workers, 0 if there are none.
    """

    counts: StoreCounts
    keyword_chunks: int
    stored_vectors: int
    files_pending: int
    jobs_queued: int
    jobs_running: int
    worker_bytes: int


class Metrics:
    """Counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._make_lifecycle_metrics()
        self._make_query_metrics()
        self._make_indexing_metrics()
        self._make_index_metrics()
        ProcessCollector(registry=self.registry)  # memory, CPU, descriptors and start time of the process

    def count_job_end(self, state: JobState) -> None:
        """Count a job that has ended."""
        self.jobs_ended.labels(state).inc()

    @contextmanager
    def time_indexing(self) -> Iterator[None]:
        """Measure the time of a keyword run, also if it fails."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.indexing_seconds.inc(time.perf_counter() - began)

    @contextmanager
    def time_stage(self, stage: str) -> Iterator[None]:
        """Measure the time of one stage of a query."""
        began = time.perf_counter()
        yield
        self.query_stage_seconds.labels(stage).observe(time.perf_counter() - began)

    def render(self, open_indexes: Iterable[IndexFigures], registered_projects: int) -> bytes:
        """Return all metrics in Prometheus's text format.

        Args:
            open_indexes: Figures of each open index.
            registered_projects: Number of projects that the server serves, open or not.
        """
        held = list(open_indexes)
        self.registered_projects.set(registered_projects)
        self.open_projects.set(len(held))
        self.documents.set(sum(each.counts.files for each in held))
        self.files_pending.set(sum(each.files_pending for each in held))
        self.chunks.set(sum(each.counts.chunks for each in held))
        self.keyword_chunks.set(sum(each.keyword_chunks for each in held))
        self.vectors.set(sum(each.counts.embedded for each in held))
        self.stored_vectors.set(sum(each.stored_vectors for each in held))
        self.jobs.labels("queued").set(sum(each.jobs_queued for each in held))
        self.jobs.labels("running").set(sum(each.jobs_running for each in held))
        self.worker_bytes.set(sum(each.worker_bytes for each in held))
        return generate_latest(self.registry)

    def _make_lifecycle_metrics(self) -> None:
        self.start_seconds = self._gauge("start_seconds", "From the process's start to runtime.json.")
        self.discovery_seconds = Histogram(
            "agent_brain_discovery_seconds",
            "Time to answer GET /health, the one request that a discovery makes.",
            buckets=DISCOVERY_BUCKETS_S,
            registry=self.registry,
        )
        self.requests = self._counter("requests", "Requests, by route, method and status.", "route", "method", "status")
        self.registered_projects = self._gauge("registered_projects", "Projects that the server serves.")
        self.open_projects = self._gauge("open_projects", "Projects whose indexes are open.")

    def _make_query_metrics(self) -> None:
        self.query_seconds = Histogram(
            "agent_brain_query_seconds",
            "Time to answer a query, by search mode.",
            ["mode"],
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.query_stage_seconds = Histogram(
            "agent_brain_query_stage_seconds",
            "Time of one stage of a query.",
            ["stage"],
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )

    def _make_indexing_metrics(self) -> None:
        self.files_indexed = self._counter("files_indexed", "Files read and chunked.")
        self.chunks_indexed = self._counter("chunks_indexed", "Chunks written to the keyword index.")
        self.indexing_seconds = self._counter("indexing_seconds", "Time at work on the keyword half of jobs.")
        self.chunks_embedded = self._counter("chunks_embedded", "Chunks that were given a vector by the model.")
        self.embedding_seconds = self._counter("embedding_seconds", "Time spent waiting for vectors.")
        self.jobs = self._gauge("jobs", "Jobs of the open projects that have not ended, by state.", "state")
        self.jobs_ended = self._counter("jobs_ended", "Jobs that have ended, by state.", "state")
        self.worker_bytes = self._gauge("worker_resident_memory_bytes", "Memory of the indexing workers.")

    def _make_index_metrics(self) -> None:
        self.documents = self._gauge("documents", "Files in the open indexes.")
        self.files_pending = self._gauge("files_pending", "Files whose latest content is not indexed yet.")
        self.chunks = self._gauge("chunks", "Chunks in the document stores.")
        self.keyword_chunks = self._gauge("keyword_chunks", "Chunks in the keyword indexes.")
        self.vectors = self._gauge("vectors", "Chunks that are marked as having a vector.")
        self.stored_vectors = self._gauge("stored_vectors", "Chunks in the vector stores.")

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"agent_brain_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"agent_brain_{name}", meaning, labels, registry=self.registry)
