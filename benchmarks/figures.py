"""The figures that are measured, with their targets and references."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

Unit = Literal["s", "ms", "MB", "/s"]
Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    Attributes:
        goal: Target: a maximum, or a minimum if the unit is a rate; `None` without a target.
        reference: The run that it is compared with, in words.
    """

    id: str
    title: str
    unit: Unit
    goal: float | None
    reference: str

    def is_met(self, value: float) -> bool:
        """Return whether a value reaches the goal."""
        return self.goal is None or (value >= self.goal if self.unit == "/s" else value <= self.goal)


@dataclass(frozen=True, slots=True)
class Measured:
    """The runs of one figure and of its reference; the medians count."""

    figure: Figure
    runs: tuple[float, ...]
    reference_runs: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """Return the median run."""
        return statistics.median(self.runs)

    @property
    def reference(self) -> float | None:
        """Return the median run of the reference."""
        return statistics.median(self.reference_runs) if self.reference_runs else None

    def to_json(self) -> Json:
        """Return the row for the results file."""
        reference = self.reference
        return {
            **asdict(self.figure),
            "value": round(self.value, 4),
            "runs": [round(run, 4) for run in self.runs],
            "reference_value": None if reference is None else round(reference, 4),
            "ratio": round(self.value / reference, 2) if reference else None,
            "met": self.figure.is_met(self.value),
        }


BARE_PYTHON = "python -c pass"
BARE_SERVER = "bare FastAPI on uvicorn"
BARE_ROUTE = "bare FastAPI route of the same bodies"
PLAIN_INDEX = "read, hash, cut every 40 lines, commit to tantivy; one process"
EMBEDDER_ALONE = "the embedder alone, called in this process"
PLAIN_HYBRID = "the same kind of queries without a filter; at most 1.3 times that"
PLAIN_WALK = "stat of every file"

FIGURES: dict[str, Figure] = {
    figure.id: figure
    for figure in (
        Figure("help_cpu", "`agent-brain --help`, CPU", "s", 0.15, BARE_PYTHON),
        Figure("status_cpu", "`agent-brain status`, CPU", "s", 0.30, BARE_PYTHON),
        Figure("start_cpu", "`agent-brain start` until it returns, CPU", "s", 1.5, BARE_SERVER),
        Figure("start_wall", "the same, wall", "s", 2.0, BARE_SERVER),
        Figure("memory_empty", "Memory of a server with nothing indexed (RSS)", "MB", 130, BARE_SERVER),
        Figure("memory_empty_pss", "the same, PSS", "MB", None, BARE_SERVER),
        Figure("memory_indexed", "Memory of a server with Django indexed (RSS)", "MB", 300, BARE_SERVER),
        Figure("memory_indexed_pss", "the same, PSS", "MB", None, BARE_SERVER),
        Figure("memory_peak", "Highest memory while indexing, with the worker (PSS)", "MB", None, ""),
        Figure("keywords_wall", "First index of Django: keyword answers complete, wall", "s", 4, PLAIN_INDEX),
        Figure("keywords_cpu", "the same, CPU", "s", 6, PLAIN_INDEX),
        Figure("vectors_rate", "Embedding, chunks a second", "/s", 90, EMBEDDER_ALONE),
        Figure("reindex_cpu", "Indexing again, nothing changed, CPU", "s", 0.2, PLAIN_WALK),
        Figure("save_visible", "Saving a file: the slowest of 5 until an answer includes it", "s", 1, ""),
        Figure("bulk_visible", "10,000 files written at once: until answers include all of them", "s", None, ""),
        Figure("health_longest", "Longest `GET /health` during indexing", "ms", 60, BARE_ROUTE),
        Figure("query_indexing_p95", "Hybrid query during indexing, p95", "ms", 80, BARE_ROUTE),
        Figure("query_p50", "Hybrid query over HTTP, p50", "ms", 6, BARE_ROUTE),
        Figure("query_p95", "the same, p95", "ms", 14, BARE_ROUTE),
        Figure("query_cpu", "the same, CPU of the server", "ms", None, BARE_ROUTE),
        Figure("filtered_p50", "the same with a filter of language and path, p50", "ms", None, PLAIN_HYBRID),
        Figure("keywords_p50", "Keywords alone over HTTP, p50", "ms", 3, BARE_ROUTE),
        Figure("keywords_p95", "the same, p95", "ms", 8, BARE_ROUTE),
        Figure("query_rate", "Hybrid queries with 8 clients", "/s", 200, BARE_ROUTE),
    )
}


def measured(figure_id: str, runs: Iterable[float], reference_runs: Iterable[float] = ()) -> Measured:
    """Collect the runs of a figure."""
    return Measured(FIGURES[figure_id], tuple(runs), tuple(reference_runs))


def percentile(values: Iterable[float], share: float) -> float:
    """Return a percentile by nearest rank: the smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]
