"""Measure whether queries about documentation find the section that answers them."""

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from agent_brain_server.project.services import ProjectServices
from benchmarks.retrieval.ablation import ALPHAS, weight_names, without
from benchmarks.retrieval.answering import (
    MODES,
    Answer,
    Candidates,
    Setting,
    ask,
    gather_candidates,
    rank,
    require_agreement,
)
from benchmarks.retrieval.indexes import make_shared_services, open_index
from benchmarks.retrieval.package_docs import (
    WORDINGS,
    DocumentQuestion,
    fetch_package,
    load_questions,
    require_section,
)
from benchmarks.retrieval.reading import Reading, read_in_order
from benchmarks.retrieval.scoring import Passage, covers, first_rank
from benchmarks.retrieval.summary import summarize_reading

RECALL_DEPTH = 5
"""Results that an agent is assumed to read before it rephrases the query."""

DOCUMENTS_ALONE = "hybrid, only documents"
WAYS = (*MODES, DOCUMENTS_ALONE)


@dataclass(frozen=True, slots=True)
class EvaluatedQuestion:
    """A query with its answers, by mode."""

    question: DocumentQuestion
    answers: Mapping[str, Answer]
    candidates: Candidates

    def first_right(self, way: str) -> int | None:
        """Return the rank of the first result from a relevant section, or `None`."""
        return first_rank(self.answers[way].passages, self.question.targets)

    def is_recalled(self, way: str) -> bool:
        """Return whether the section is among the first five results."""
        return _is_early(self.first_right(way))

    def is_recalled_by(self, setting: Setting) -> bool:
        """Return whether it is among the first five candidates as ranked by a setting."""
        return _is_early(first_rank(rank(self.candidates, setting), self.question.targets))

    def is_candidate(self) -> bool:
        """Return whether the section is among all candidates."""
        places = (Passage(chunk.path, chunk.start_line, chunk.end_line) for chunk in self.candidates.metadata.values())
        return any(covers(place, target) for place in places for target in self.question.targets)


def measure_documents(work: Path, *, recut: bool, list_missed: bool, names: Collection[str] = ()) -> dict[str, Any]:
    """Download and index the packages, and evaluate every query.

    Args:
        work: Keeps sources and indexes.
        recut: Cut unchanged files too.
        list_missed: Print the queries whose section is not among the first five.
        names: Packages to use; empty for all.
    """
    packages, questions = load_questions()
    packages = [package for package in packages if not names or package.name in names]
    shared = make_shared_services()
    evaluated: list[EvaluatedQuestion] = []
    files = chunks = 0
    for package in packages:
        sources = fetch_package(package, work / "sources")
        of_package = [question for question in questions if question.package == package.name]
        for section in (section for question in of_package for section in question.sections):
            require_section(section, sources)
        with open_index(sources, work / "indexes" / package.directory, shared, recut=recut) as bundle:
            evaluated += [evaluate_question(bundle, question) for question in of_package]
            counts = bundle.documents.counts()
            files, chunks = files + counts.files, chunks + counts.chunks
        print(f"evaluated: {package.directory}", file=sys.stderr)
    if list_missed:
        print_missed(evaluated)
    names = [package.directory for package in packages]
    return {"packages": names, "files": files, "chunks": chunks, **summarize_questions(evaluated)}


def evaluate_question(bundle: ProjectServices, question: DocumentQuestion) -> EvaluatedQuestion:
    """Ask in every way."""
    by_mode = {mode: ask(bundle, question.text, mode) for mode in MODES}
    candidates = gather_candidates(bundle, question.text)
    require_agreement(candidates, by_mode)
    answers: dict[str, Answer] = {str(mode): answer for mode, answer in by_mode.items()}
    answers[DOCUMENTS_ALONE] = ask(bundle, question.text, "hybrid", ("doc",))
    return EvaluatedQuestion(question, answers, candidates)


def summarize_questions(evaluated: Sequence[EvaluatedQuestion]) -> dict[str, Any]:
    """Return recall@5 by wording and package, and what is read, for each way of asking."""
    wordings = {wording: [each for each in evaluated if each.question.wording == wording] for wording in WORDINGS}
    packages = sorted({each.question.package for each in evaluated})
    shipped = recall_by(evaluated, Setting())
    return {
        "questions": {"all": len(evaluated), **{wording: len(group) for wording, group in wordings.items()}},
        "recall": {way: recall(evaluated, way) for way in WAYS},
        "recall_by_wording": {
            wording: {way: recall(group, way) for way in WAYS} for wording, group in wordings.items() if group
        },
        "recall_by_package": {
            name: {way: recall((each for each in evaluated if each.question.package == name), way) for way in WAYS}
            for name in packages
        },
        "candidates": fmean(each.is_candidate() for each in evaluated),
        "losses": {name: shipped - recall_by(evaluated, without(Setting(), name)) for name in weight_names()},
        "alphas": {alpha: recall_by(evaluated, Setting(alpha=alpha)) for alpha in ALPHAS},
        "reading": {way: summarize_reading(_read(each, way) for each in evaluated) for way in WAYS},
    }


def recall(evaluated: Iterable[EvaluatedQuestion], way: str) -> float:
    """Return the share of queries whose section is among the first five results."""
    return fmean(each.is_recalled(way) for each in evaluated)


def recall_by(evaluated: Iterable[EvaluatedQuestion], setting: Setting) -> float:
    """Return the same share for the candidates as ranked by a setting."""
    return fmean(each.is_recalled_by(setting) for each in evaluated)


def print_missed(evaluated: Iterable[EvaluatedQuestion]) -> None:
    """Print the expected and the actual results."""
    for each in evaluated:
        if not each.is_recalled("hybrid"):
            expected = [f"{place.path}:{place.start_line}-{place.end_line}" for place in each.question.targets]
            ranks = {way: each.first_right(way) for way in WAYS}
            came = [f"{p.path}:{p.start_line}-{p.end_line}" for p in each.answers["hybrid"].passages[:RECALL_DEPTH]]
            print(f"{each.question.package} {each.question.text!r} {ranks}")
            print(f"     expected {expected}\n     got      {came}")


def _is_early(rank: int | None) -> bool:
    return rank is not None and rank <= RECALL_DEPTH


def _read(each: EvaluatedQuestion, way: str) -> Reading:
    answer = each.answers[way]
    return read_in_order(answer.passages, answer.tokens, each.question.targets)
