"""The command-line harness with the real indexer over two small repositories."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.report import END
from benchmarks.retrieval.__main__ import CODE_BEGIN, DOCUMENTS_BEGIN, KINDS_BEGIN

REPOSITORY = Path(__file__).parents[4]
LIMIT_S = 600.0

QUERIES = [
    {"query": "parse_http_header", "relevant": ["src/parser.py"], "secondary": ["src/removed.py"]},
    {"query": "how is a lock released", "relevant": [{"path": "src/locks.py", "start_line": 4, "end_line": 12}]},
]


@pytest.fixture
def measure(tmp_path: Path, project: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the harness over two trees."""
    (tmp_path / "queries").mkdir()
    specs = []
    for name in ("one", "two"):
        specs.append({"name": name, "language": "python", "root": "", "published_ndcg10": {"peer": 0.25}})
        (tmp_path / "queries" / f"{name}.json").write_text(json.dumps(QUERIES))
    (tmp_path / "repos.json").write_text(json.dumps({"repos": specs}))
    trees = tmp_path / "trees"
    trees.mkdir()
    project.rename(trees / "one")
    (trees / "two" / "src").mkdir(parents=True)
    (trees / "two" / "src" / "locks.py").write_text((trees / "one" / "src" / "locks.py").read_text())

    def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "benchmarks.retrieval", "--set", tmp_path, "--trees", trees]
        command += ["--work", tmp_path / "work", *options]
        environment = {**os.environ, "AGENT_BRAIN_HOME": str(tmp_path / "home")}
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )

    return run


@pytest.mark.process
def test_main_measures_set_and_writes_results(
    tmp_path: Path, measure: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    document = tmp_path / "QUALITY.md"
    document.write_text(f"# Quality\n\n{CODE_BEGIN}\n\nlast year\n\n{END}\n\nafter\n")
    out = tmp_path / "results.json"
    done = measure("--folds", "2", "--out", out, "--document", document)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())["code"]
    assert (figures["repositories"], figures["questions"]) == (2, 4)
    rows = figures["by_repository"]
    assert rows["one"]["hybrid"] == rows["one"]["bm25"] == 1.0  # labels of missing files are dropped
    assert rows["two"]["hybrid"] == 0.5  # the first question has no answer in that tree
    assert figures["total"]["hybrid"] == 0.75
    assert figures["published"] == {"peer": {"ndcg10": 0.25, "repositories": 2}}
    assert len(figures["cross_validation"]["folds"]) == 2
    assert figures["cross_validation"]["fixed"] == figures["total"]["hybrid"]
    assert figures["ablation"]["alphas"]["0.3"] == figures["total"]["hybrid"]
    assert figures["reading"]["hybrid"]["found"] == 0.75
    text = document.read_text()
    assert "**0.750**" in text
    assert "last year" not in text
    assert text.endswith("\n\nafter\n")


@pytest.mark.process
def test_main_run_again_indexes_nothing(
    tmp_path: Path, measure: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    before = sorted(tmp_path.joinpath("trees").rglob("*"))
    first = measure("--folds", "0", "--repo", "two")
    assert "indexed 1 files of two" in first.stderr, first.stderr
    second = measure("--folds", "0", "--repo", "two", "--poor")
    assert second.returncode == 0, second.stderr
    assert "indexed" not in second.stderr
    assert "0.00 two 'parse_http_header'" in second.stdout
    assert "indexed 1 files of two" in measure("--folds", "0", "--repo", "two", "--recut").stderr
    assert sorted(tmp_path.joinpath("trees").rglob("*")) == before


@pytest.mark.process
def test_main_reports_unmeasurable_repository(measure: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    command = [sys.executable, "-m", "benchmarks.retrieval"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 2
    assert "name --set and --trees" in done.stderr
    assert "no repository three" in measure("--repo", "three").stderr


def test_quality_document_has_the_sections() -> None:
    text = (REPOSITORY / "docs" / "QUALITY.md").read_text()
    for begin in (CODE_BEGIN, DOCUMENTS_BEGIN, KINDS_BEGIN):
        _, found, rest = text.partition(begin)
        assert found
        assert END in rest
