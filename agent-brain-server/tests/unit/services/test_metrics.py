"""Metrics in Prometheus's text format."""

from prometheus_client.parser import text_string_to_metric_families

from agent_brain_server.services.metrics import IndexFigures, Metrics
from agent_brain_server.types import StoreCounts


def read(metrics: Metrics, *counts: StoreCounts) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    held = [IndexFigures(each, each.chunks, each.embedded, 0, 0, 0, 0) for each in counts]
    text = metrics.render(held, registered_projects=len(held)).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, tuple(sample.labels.items())): sample.value for sample in samples}


def test_render_sums_sizes_over_open_indexes() -> None:
    metrics = Metrics()
    shown = read(metrics, StoreCounts(3, 0, 30, 20), StoreCounts(4, 1, 40, 40))
    assert shown["agent_brain_documents", ()] == 7
    assert shown["agent_brain_chunks", ()] == 70
    assert shown["agent_brain_vectors", ()] == 60
    assert read(metrics)["agent_brain_chunks", ()] == 0


def test_time_stage_labels_each_stage() -> None:
    metrics = Metrics()
    for stage in ("bm25", "rank", "rank"):
        with metrics.time_stage(stage):
            pass
    shown = read(metrics)
    assert shown["agent_brain_query_stage_seconds_count", (("stage", "rank"),)] == 2
    assert shown["agent_brain_query_stage_seconds_count", (("stage", "bm25"),)] == 1
    assert 0 < shown["agent_brain_query_stage_seconds_sum", (("stage", "rank"),)] < 1


def test_metrics_of_two_servers_are_independent() -> None:
    first, second = Metrics(), Metrics()
    first.files_indexed.inc(5)
    assert read(first)["agent_brain_files_indexed_total", ()] == 5
    assert read(second)["agent_brain_files_indexed_total", ()] == 0


def test_render_includes_process_metrics() -> None:
    shown = read(Metrics())
    assert shown["process_resident_memory_bytes", ()] > 10_000_000
    assert shown["process_start_time_seconds", ()] > 0
