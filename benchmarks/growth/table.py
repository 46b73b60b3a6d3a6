"""Format the results as the table of docs/SCALING.md."""

import statistics
from collections.abc import Callable, Sequence

from benchmarks.figures import percentile
from benchmarks.growth.progress import Findings
from benchmarks.report import format_number, format_table

BEGIN = "<!-- begin: written by benchmarks/growth -->"

ENGINE_NAMES = {"exact": "exact", "chroma": "chroma, embedded", "server": "chroma, server"}

ROWS: tuple[tuple[str, Callable[[Findings], str]], ...] = (
    ("chunks", lambda found: f"{found.chunks:,}"),
    ("files, MB of sources", lambda found: f"{found.files:,}, {format_number(found.bytes / 1e6)}"),
    ("first index to keyword answers, wall s", lambda found: format_number(found.keywords_wall)),
    ("the same, CPU s", lambda found: format_number(found.keywords_cpu)),
    ("the same, CPU ms a chunk", lambda found: format_number(found.keywords_cpu / found.chunks * 1000)),
    ("vectors a second", lambda found: _describe_rate(found)),
    ("CPU ms a vector, embedding included if it is measured", lambda found: _vector_cpu(found)),
    ("hybrid query p50 / p95, ms", lambda found: _latency(found, "hybrid")),
    ("filtered (about half) p50 / p95, ms", lambda found: _latency(found, "filtered")),
    ("keywords alone p50 / p95, ms", lambda found: _latency(found, "keywords")),
    ("CPU of these three, ms a query", lambda found: " / ".join(map(format_number, found.query_cpu.values()))),
    ("memory just started, MB", lambda found: format_number(found.started_rss)),
    ("memory after the queries, MB", lambda found: format_number(found.rss)),
    ("of that not pages of files, MB", lambda found: format_number(found.anonymous)),
    ("memory of the Chroma server, MB", lambda found: format_number(found.chroma_rss) if found.chroma_rss else ""),
    ("disk, MB: documents", lambda found: _disk(found, "llamaindex")),
    ("disk, MB: keywords", lambda found: _disk(found, "bm25_index")),
    ("disk, MB: vectors", lambda found: _disk(found, "chroma_db")),
)


def format_growth(columns: Sequence[Findings]) -> str:
    """Return the table: one row for each measurement, one column for each size."""
    heading = ["", *(f"{found.size:,}" for found in columns)]
    engines = ["engine", *(ENGINE_NAMES[found.engine] for found in columns)]
    return format_table([heading, engines, *([title, *map(cell, columns)] for title, cell in ROWS)])


def _latency(found: Findings, kind: str) -> str:
    latencies = found.latencies.get(kind)
    if not latencies:
        return ""
    return f"{format_number(statistics.median(latencies))} / {format_number(percentile(latencies, 0.95))}"


def _rate(count: int, seconds: float) -> str:
    return format_number(count / seconds) if seconds else ""


def _describe_rate(found: Findings) -> str:
    return _rate(found.vectors, found.vectors_wall) if found.is_embedded else "generated, not embedded"


def _vector_cpu(found: Findings) -> str:
    return format_number(found.vectors_cpu / found.vectors * 1000) if found.vectors else ""


def _disk(found: Findings, store: str) -> str:
    return format_number(found.disk.get(store, 0.0))
