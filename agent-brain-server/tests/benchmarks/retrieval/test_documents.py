"""Recall of document sections."""

from dataclasses import replace

import pytest

from agent_brain_server.types import ChunkMetadata, Hit
from benchmarks.retrieval.answering import Answer, Candidates, Setting
from benchmarks.retrieval.documents import WAYS, EvaluatedQuestion, summarize_questions
from benchmarks.retrieval.package_docs import DocumentQuestion, Section
from benchmarks.retrieval.prose_tables import format_documents
from benchmarks.retrieval.query_set import Target
from benchmarks.retrieval.scoring import Passage


def ask_with_answer_at(rank: int, package: str, wording: str) -> EvaluatedQuestion:
    """Return a query whose section, lines 11 to 20 of a.md, is in the result of one rank."""
    sections = (Section("Other", Target("b.md", 1, 2)), Section("Installing", Target("a.md", 11, 20)))
    passages = [Passage("a.md", 21, 30)] * 10
    passages[rank - 1] = Passage("a.md", 20, 25)
    answer = Answer(tuple(passages), (7,) * 10)
    metadata = {
        key: ChunkMetadata(key, "a.md", line, line + 9, "markdown", "doc", (), None)
        for key, line in enumerate([1, *range(100, 140, 10), 11], 1)
    }
    candidates = Candidates("?", tuple(Hit(key, 1.0 - key / 100) for key in metadata), (), metadata)
    question = DocumentQuestion(package, "?", wording, sections)
    return EvaluatedQuestion(question, dict.fromkeys(WAYS, answer), candidates)


def test_section_recall_counts_first_five() -> None:
    assert ask_with_answer_at(5, "x", "same").is_recalled("hybrid")
    assert not ask_with_answer_at(6, "x", "same").is_recalled("hybrid")


def test_document_candidates_are_ranked_by_setting() -> None:
    evaluated = ask_with_answer_at(1, "x", "same")  # its section is the last of six candidates
    assert evaluated.is_candidate()
    assert not evaluated.is_recalled_by(Setting("bm25"))
    others = dict(list(evaluated.candidates.metadata.items())[1:])
    assert replace(evaluated, candidates=replace(evaluated.candidates, metadata=others)).is_recalled_by(Setting("bm25"))
    without = dict(list(evaluated.candidates.metadata.items())[:-1])
    assert not replace(evaluated, candidates=replace(evaluated.candidates, metadata=without)).is_candidate()


def test_recall_is_counted_by_wording_and_package() -> None:
    evaluated = [
        ask_with_answer_at(1, "x", "same"),
        ask_with_answer_at(2, "x", "other"),
        ask_with_answer_at(6, "y", "other"),
    ]
    figures = summarize_questions(evaluated)
    assert figures["questions"] == {"all": 3, "same": 1, "other": 2}
    assert figures["recall"]["hybrid"] == pytest.approx(2 / 3)
    assert {wording: row["hybrid"] for wording, row in figures["recall_by_wording"].items()} == {
        "same": 1,
        "other": 0.5,
    }
    assert {name: row["bm25"] for name, row in figures["recall_by_package"].items()} == {"x": 1, "y": 0}
    assert figures["reading"]["vector"] == {"median": 14, "mean": 21, "found": 1}


def test_tables_have_every_group() -> None:
    figures = summarize_questions([ask_with_answer_at(1, "x", "same"), ask_with_answer_at(6, "y", "other")])
    text = format_documents({"packages": ["x-1", "y-2"], "files": 3, "chunks": 4, **figures})
    assert "| uses the section's words | 1 | 1.00 |" in text
    assert "| paraphrases it | 1 | 0.00 |" in text
    assert "| **all** | 2 | 0.50 |" in text
