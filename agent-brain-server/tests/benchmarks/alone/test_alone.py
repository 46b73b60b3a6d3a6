"""The reference runs over a small tree print a latency for each query after the first ones."""

import json
import sys

import numpy as np
import pytest

from benchmarks.alone.timing import WARM, time_calls
from benchmarks.processes import run_command
from benchmarks.references import REPOSITORY
from benchmarks.report import format_alone

COUNT = WARM + 5


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.json"
    path.write_text(json.dumps([f'what does "handle_{number}" AND (do' for number in range(COUNT)]))
    return path


@pytest.fixture
def corpus(tmp_path):
    root = tmp_path / "corpus"
    root.mkdir()
    for number in range(60):
        (root / f"module_{number}.py").write_text(f"def handle_{number}(value):\n    return value\n")
    return root


def run(module, *arguments):
    return json.loads(
        run_command([sys.executable, "-m", f"benchmarks.alone.{module}", *arguments], cwd=REPOSITORY).stdout
    )


@pytest.mark.process
def test_tantivy_answers_queries_with_any_characters(corpus, questions):
    latencies = run("tantivy_alone", corpus, questions)
    assert len(latencies) == COUNT - WARM
    assert all(latency > 0 for latency in latencies)


@pytest.mark.process
def test_model_embeds_each_query(questions):
    assert len(run("onnx_alone", questions)) == COUNT - WARM


@pytest.mark.process
def test_chroma_searches_project_vectors(tmp_path, questions):
    stores = tmp_path / "state" / "data" / "chroma_db"
    stores.mkdir(parents=True)
    np.random.default_rng(0).standard_normal((400, 384)).astype(np.float32).tofile(stores / "matrix-1.f32")
    assert len(run("chroma_alone", tmp_path / "state", questions)) == COUNT - WARM


def test_first_calls_are_not_measured():
    called = []
    assert len(time_calls(called.append, range(WARM + 3))) == 3
    assert len(called) == WARM + 3


def test_table_compares_query_with_its_parts():
    table = format_alone([{"title": "tantivy alone", "p50": 0.5, "p95": 1.25}], 5.0)
    assert table.splitlines()[-1] == "| tantivy alone | 0.5 / 1.25 | 10 |"
