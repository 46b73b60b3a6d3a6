"""Labelled query sets."""

import json
from pathlib import Path

import pytest

from benchmarks.retrieval.query_set import LabelledQuery, Target, guess_category, load_query_set


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    repos = [
        {"name": "one", "language": "go", "published_ndcg10": {"tool": 0.5, "other": None}},
        {"name": "two", "language": "c"},
    ]
    (tmp_path / "repos.json").write_text(json.dumps({"repos": repos}))
    (tmp_path / "queries").mkdir()
    queries = [
        {"query": "lock", "relevant": ["a.go"], "secondary": [{"path": "b.go", "start_line": 3, "end_line": 5}]},
        {"query": "how it waits", "relevant": ["c.go"], "category": "semantic"},
    ]
    for name in ("one", "two"):
        (tmp_path / "queries" / f"{name}.json").write_text(json.dumps(queries))
    return tmp_path


def test_query_set_reads_all_targets(directory: Path) -> None:
    one, two = load_query_set(directory)
    assert (one.name, one.language, one.published) == ("one", "go", {"tool": 0.5})
    assert two.published == {}
    assert one.queries == (
        LabelledQuery("lock", "symbol", (Target("a.go"), Target("b.go", 3, 5))),
        LabelledQuery("how it waits", "semantic", (Target("c.go"),)),
    )


def test_query_set_selects_repositories_by_name(directory: Path) -> None:
    assert [repository.name for repository in load_query_set(directory, ["two"])] == ["two"]
    with pytest.raises(ValueError, match="no repository three"):
        load_query_set(directory, ["two", "three"])


@pytest.mark.parametrize(
    ("query", "category"),
    [(" Mutex ", "symbol"), ("How locks are taken", "architecture"), ("taking a lock", "semantic")],
)
def test_query_without_category_gets_one_by_form(query: str, category: str) -> None:
    assert guess_category(query) == category
