"""Means over repositories, languages and categories."""

import pytest

from benchmarks.retrieval.answering import Setting
from benchmarks.retrieval.cross_validation import Fold
from benchmarks.retrieval.evaluation import EvaluatedRepository
from benchmarks.retrieval.query_set import LabelledRepository
from benchmarks.retrieval.reading import Reading
from benchmarks.retrieval.summary import by_language, mean_published, summarize_folds, summarize_reading


def test_published_mean_is_over_available_repositories() -> None:
    evaluated = [
        EvaluatedRepository(LabelledRepository(name, "go", published, ()), 1, 1, ())
        for name, published in (("a", {"x": 0.2, "y": 0.5}), ("b", {"x": 0.4}))
    ]
    means = mean_published(evaluated)
    assert list(means) == ["y", "x"]
    assert means["x"] == {"ndcg10": pytest.approx(0.3), "repositories": 2}


def test_reading_summary_has_median_mean_and_hit_rate() -> None:
    readings = [Reading(10, is_found=True), Reading(20, is_found=True), Reading(90, is_found=False)]
    assert summarize_reading(readings) == {"median": 20, "mean": 40, "found": pytest.approx(2 / 3)}


def test_language_mean_is_over_its_repositories() -> None:
    rows = {
        "a": {"language": "go", "hybrid": 0.5},
        "b": {"language": "go", "hybrid": 0.7},
        "c": {"language": "c", "hybrid": 0.9},
    }
    table = by_language(rows, ["hybrid"])
    assert list(table) == ["c", "go"]
    assert table["go"] == {"repositories": 2, "hybrid": pytest.approx(0.6)}


def test_summary_lists_folds_with_weights() -> None:
    summary = summarize_folds([Fold(Setting(alpha=0.2), 0.9, {"b": 0.5, "a": 0.7}, {"b": 0.6, "a": 0.6})])
    (fold,) = summary["folds"]
    assert fold["repositories"] == ["a", "b"]
    assert fold["weights"]["alpha"] == 0.2
    assert (fold["fitted"], fold["fixed"], fold["training"]) == pytest.approx((0.6, 0.6, 0.9))
