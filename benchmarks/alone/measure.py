"""Measure each part of a query alone, to compare it with a complete query."""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.alone.peers import SEMBLE, install_peer
from benchmarks.figures import percentile
from benchmarks.processes import run_command
from benchmarks.references import REPOSITORY

TITLES = {
    "tantivy": "tantivy alone: runs of 40 lines, 150 candidates",
    "onnx": "ONNX Runtime alone: the vector of a query, one thread",
    "chroma": "Chroma alone, in the process: the same vectors, n_results=150",
    "semble": f"{SEMBLE.replace('==', ' ')}, its lexical half and ranking, in the process",
}


def measure_alone(
    corpus: Path, state_dir: Path, questions: Sequence[str], scratch: Path, cache: Path
) -> list[dict[str, Any]]:
    """Measure every part.

    Args:
        corpus: The tree that the project's index is of.
        state_dir: Of the project; its vectors are complete.
        questions: None of them queries_file before.
        scratch: Directory for the file of queries.
        cache: Keeps the environments of other tools.
    """
    queries_file = scratch / "queries.json"
    queries_file.write_text(json.dumps(list(questions)), encoding="utf-8")
    module = [sys.executable, "-m"]
    semble = REPOSITORY / "benchmarks" / "alone" / "semble_lexical.py"
    commands: dict[str, list[str | Path]] = {
        "tantivy": [*module, "benchmarks.alone.tantivy_alone", corpus, queries_file],
        "onnx": [*module, "benchmarks.alone.onnx_alone", queries_file],
        "chroma": [*module, "benchmarks.alone.chroma_alone", state_dir, queries_file],
        "semble": [install_peer(SEMBLE, cache), semble, corpus, queries_file],
    }
    found = []
    for name, command in commands.items():
        latencies = json.loads(run_command(command, cwd=REPOSITORY).stdout)
        p50, p95 = statistics.median(latencies), percentile(latencies, 0.95)
        found.append({"id": name, "title": TITLES[name], "p50": round(p50, 4), "p95": round(p95, 4)})
    return found
