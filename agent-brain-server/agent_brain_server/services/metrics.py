"""What the server measures of itself, in Prometheus's terms; one registry per server, no process-wide state."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from agent_brain_server.types import StoreCounts

LATENCY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.014, 0.02, 0.05, 0.1, 0.5, 2.0)
"""Dense where a query should be (1 to 20 ms), with room for the pathological."""


class Metrics:
    """Counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
        self.files_indexed = Counter("agent_brain_files_indexed", "Files read and chunked.", registry=self.registry)
        self.chunks_indexed = Counter(
            "agent_brain_chunks_indexed", "Chunks written to the keyword index.", registry=self.registry
        )
        self.chunks_embedded = Counter(
            "agent_brain_chunks_embedded", "Chunks that were given a vector.", registry=self.registry
        )
        self.embedding_seconds = Counter(
            "agent_brain_embedding_seconds", "Time spent waiting for vectors.", registry=self.registry
        )
        self.documents = Gauge("agent_brain_documents", "Files in the index.", registry=self.registry)
        self.chunks = Gauge("agent_brain_chunks", "Chunks in the index.", registry=self.registry)
        self.vectors = Gauge("agent_brain_vectors", "Chunks that have a vector.", registry=self.registry)
        ProcessCollector(registry=self.registry)  # memory, CPU, descriptors and start time of the process

    @contextmanager
    def time_stage(self, stage: str) -> Iterator[None]:
        """Measure one stage of a query."""
        began = time.perf_counter()
        yield
        self.query_stage_seconds.labels(stage).observe(time.perf_counter() - began)

    def render(self, counts: Iterable[StoreCounts]) -> bytes:
        """Return everything in Prometheus's text format.

        Args:
            counts: What the open indexes hold now.
        """
        held = list(counts)
        self.documents.set(sum(each.files for each in held))
        self.chunks.set(sum(each.chunks for each in held))
        self.vectors.set(sum(each.embedded for each in held))
        return generate_latest(self.registry)
