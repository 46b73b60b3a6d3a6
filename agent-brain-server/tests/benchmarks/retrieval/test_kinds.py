"""Figures of further kinds of queries."""

import pytest

from agent_brain_server.types import ChunkMetadata, Hit
from benchmarks.retrieval import commits, docstrings, sentences, titles
from benchmarks.retrieval.answering import Candidates
from benchmarks.retrieval.kinds import FIGURES, KindFigure, KindQuery, evaluate_kind, format_kinds
from benchmarks.retrieval.query_set import Target
from benchmarks.retrieval.scoring import Passage

PASSAGES = [Passage("a.py", 1, 9), Passage("b.py", 1, 9), Passage("b.py", 10, 20)]
QUERY = KindQuery("?", (Target("b.py", 15, 16),), ("b.py", "c.py"))


@pytest.mark.parametrize(
    ("kind", "scores"),
    [
        ("report", [0.0, 1.0, 1.0]),
        ("docstring, 40 functions in a file", [pytest.approx(1 / 3)]),
        ("title of a section", [1.0]),
    ],
)
def test_figures_of_kind_score_answer(kind: str, scores: list[float]) -> None:
    assert [score(PASSAGES, QUERY) for score in FIGURES[kind].values()] == scores
    assert not any(score([Passage("d.py", 1, 9)], QUERY) for score in FIGURES[kind].values())


def test_evaluate_kind_compares_chosen_with_fixed_weights() -> None:
    metadata = {
        key: ChunkMetadata(key, path, 1, 9, "text", "doc", (), None) for key, path in ((1, "a.txt"), (2, "b.txt"))
    }
    nearest = (Hit(2, 0.9), Hit(1, 0.1))
    candidates = Candidates("two words", (Hit(1, 1.0), Hit(2, 0.5)), nearest, metadata, alpha=1.0)
    query = KindQuery("two words", (Target("b.txt"),))
    [figure] = evaluate_kind("docstring, a file for each function", [(query, candidates)])
    assert (figure.queries, figure.chosen, figure.fixed[0.0], figure.fixed[1.0]) == (1, 1.0, 0.5, 1.0)
    assert figure.fixed[figure.best] == 1.0


def test_format_kinds_shows_difference() -> None:
    fixed = {step / 10: 0.5 + step / 100 for step in range(11)}
    table = format_kinds([KindFigure("report", 7, "changed file first", 0.58, fixed)])
    assert "for 0 of 1 figures" in table
    assert "| report | 7 | changed file first | **0.580** | 0.600 (1) | -0.020 | 0.500 |" in table


def test_kinds_have_figures() -> None:
    kinds = {commits.REPORT, commits.TITLE, docstrings.ALONE, docstrings.SHARED, sentences.KIND, titles.KIND}
    assert kinds == set(FIGURES)
